#!/usr/bin/env python3
"""Kills one training run many times with SIGKILL and compares it with an uninterrupted run.

    scripts/kills.py target/release/miyasawa --kills 50

The run is on the embedded digits, with checkpoints every few steps. A third of the kills come after
a random time, a third after a random number of steps, and a third as soon as a half-written file
appears, that is during a save. After the last kill the run is continued to its end. Then
model.safetensors, best.safetensors and the last checkpoint (parameters, moments, average, the
running bound) must be byte-identical to the uninterrupted run's, for every number of threads, and
metrics.jsonl must hold every step once. Exit status 1 if anything differs.
"""
import argparse
import json
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

FILES = [
    "model.safetensors",
    "best.safetensors",
    "checkpoints/step-{steps:08}.safetensors",
    "config.toml",
]


def command(options, out, threads, resume):
    settings = {
        "network.width": 8, "network.blocks": "[1]", "data.limit": 400, "schedule.batch": 32,
        "schedule.steps": options.steps, "eval.limit": 60, "eval.every": options.steps // 10,
        "checkpoint.every": 7, "divergence.snapshot_every": 20,
    }
    new = [f"--set={key}={value}" for key, value in settings.items()]
    return [options.binary, "train", "--out", str(out), "--threads", str(threads), "-q",
            *(["--resume"] if resume else new)]


def partial(out):
    folders = [folder for folder in (out, out / "checkpoints") if folder.exists()]
    return [path for folder in folders for path in folder.glob(".*.partial")]


def lines(out):
    try:
        return (out / "metrics.jsonl").read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def leg(options, out, threads, kind, rng, typical):
    """Runs until the kill; what was seen, or None if the run ended first."""
    process = subprocess.Popen(command(options, out, threads, (out / "config.toml").exists()),
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    start, first = time.monotonic(), lines(out)
    delay, steps, saves = rng.uniform(0.01, typical), rng.randint(1, 40), rng.randint(1, 6)
    seen = set()
    while process.poll() is None:
        if kind == "time" and time.monotonic() - start > delay:
            break
        # A resumed run cuts the log: fewer lines than before are no sign of anything.
        if kind == "steps" and lines(out) >= first + steps:
            break
        if kind == "save":
            seen.update(partial(out))
            if len(seen) >= saves:
                break
        if kind == "steps":
            time.sleep(0.001)
    ended = process.poll()
    process.send_signal(signal.SIGKILL)
    error = process.stderr.read().decode()
    if ended is None:
        ended = process.wait()
    if ended == 0:
        return None
    if ended != -signal.SIGKILL:
        sys.exit(f"the run failed with status {ended}: {error}")
    return {"kind": kind, "in_save": bool(partial(out)), "lines": lines(out)}


def finished(options, out, threads):
    process = subprocess.run(command(options, out, threads, (out / "config.toml").exists()),
                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    if process.returncode != 0:
        sys.exit(f"the run failed with status {process.returncode}: {process.stderr.decode()}")


def contents(options, out):
    found = {name: (out / name.format(steps=options.steps)).read_bytes() for name in FILES}
    text = (out / "metrics.jsonl").read_text().splitlines()
    found["events and losses"] = [
        {k: v for k, v in json.loads(line).items() if k not in ("images_per_second", "time")}
        for line in text
    ]
    return found


def main():
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("binary")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng, expected, bad = random.Random(options.seed), None, False
    with tempfile.TemporaryDirectory() as folder:
        for threads in options.threads:
            names = (f"intact-{threads}", f"killed-{threads}")
            intact, killed = (pathlib.Path(folder) / name for name in names)
            start = time.monotonic()
            finished(options, intact, threads)
            typical = 3 * (time.monotonic() - start) / options.kills
            if expected is None:
                expected = contents(options, intact)
            legs = []
            while len(legs) < options.kills:
                after = ("time", "steps", "save")[len(legs) % 3]
                found = leg(options, killed, threads, after, rng, typical)
                if found is None:
                    sys.exit(f"the run ended after {len(legs)} kills: more --steps are needed")
                legs.append(found)
            at_last_kill = lines(killed)
            finished(options, killed, threads)
            for name, run in (("uninterrupted", intact), ("killed", killed)):
                found = contents(options, run)
                differing = [key for key in expected if found[key] != expected[key]]
                steps = [line["step"] for line in found["events and losses"] if "event" not in line]
                once = steps == list(range(1, options.steps + 1))
                bad |= bool(differing) or not once
                print(f"{threads} threads, {name}: "
                      + (f"differs in {', '.join(differing)}" if differing else "byte-identical")
                      + (", every step once" if once else ", STEPS MISSING OR TWICE"))
            in_save = sum(leg["in_save"] for leg in legs)
            print(f"{threads} threads: {len(legs)} kills, {in_save} of them during a save, "
                  f"the last at line {at_last_kill}; left half-written: {len(partial(killed))}")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
