#!/usr/bin/env python3
"""Work by several processes against the same by one, under Open MPI's mpirun.

    scripts/mpi_check.py target/release/miyasawa

The program is built with its feature `mpi`. Runs are small, on the embedded digits. Exit status 1
if anything differs from what one process does.
"""
import argparse
import hashlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

STEPS = 40
SETTINGS = {
    "network.width": 8, "network.blocks": "[1]", "data.limit": 400, "schedule.batch": 32,
    "schedule.micro_batch": 4, "schedule.steps": STEPS, "eval.limit": 40, "eval.every": 20,
    "checkpoint.every": 4,
}
# Small enough for a machine with fewer cores than ranks; as root in containers.
MPIRUN = ["mpirun", "-q", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none"]
FILES = ["model.safetensors", "best.safetensors", f"checkpoints/step-{STEPS:08}.safetensors"]


class Check:
    def __init__(self, binary, folder):
        self.binary, self.folder, self.bad = binary, folder, 0

    def train(self, out, threads=1, settings=None, resume=False):
        """The arguments of a run."""
        new = SETTINGS | (settings or {})
        given = [] if resume else [f"--set={key}={value}" for key, value in new.items()]
        return [self.binary, "train", "--out", str(self.folder / out), "--threads", str(threads),
                "-q", *(["--resume"] if resume else []), *given]

    def call(self, ranks, args):
        """Exit status, standard output and standard error."""
        launcher = [*MPIRUN, "-n", str(ranks)] if ranks else []
        done = subprocess.run([*launcher, *args], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    def done(self, ranks, args):
        status, output, error = self.call(ranks, args)
        if status != 0:
            sys.exit(f"{ranks} ranks: status {status}: {' '.join(args)}\n{output}{error}")
        return output

    def hashes(self, out):
        of = lambda name: hashlib.sha256((self.folder / out / name).read_bytes()).hexdigest()
        return [of(name) for name in FILES]

    def say(self, good, text):
        self.bad += not good
        print(f"{'ok ' if good else 'BAD'} {text}", flush=True)


def same_bytes(check):
    """Every kind of run by every number of ranks."""
    check.done(0, [check.binary, "data", "convert", "digits", "--shards", "3", "--out",
                   str(check.folder / "shards"), "-q"])
    streamed = {"data.train": check.folder / "shards", "data.stream": "always"}
    kinds = [("f32", {}), ("bf16", {"dtype": "bf16"}), ("f32, streamed", streamed),
             ("bf16, streamed", streamed | {"dtype": "bf16"})]
    for name, settings in kinds:
        check.done(0, check.train(f"{name} 0", 1, settings))
        expected = check.hashes(f"{name} 0")
        for ranks in (1, 2, 3, 4):
            for threads in (1, 2):
                out = f"{name} {ranks} {threads}"
                output = check.done(ranks, check.train(out, threads, settings))
                same = check.hashes(out) == expected
                once = output.count(f"{STEPS} steps, done") == 1
                check.say(same and once, f"{name}: {ranks} ranks with {threads} threads: sha256 "
                          f"{check.hashes(out)[0][:12]} of the weights, {expected[0][:12]} by one "
                          "process" + ("" if once else "; more than one rank speaks"))


def started(ranks, args, step, options=()):
    """A run that has written the checkpoint of a step."""
    process = subprocess.Popen([*MPIRUN, *options, "-n", str(ranks), *args], text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    folder = pathlib.Path(args[args.index("--out") + 1]) / "checkpoints"
    while not list(folder.glob(f"step-{step:08}.safetensors")):
        if process.poll() is not None:
            sys.exit(f"ended too early: {process.communicate()}")
        time.sleep(0.005)
    return process


def children(process):
    """The processes of the ranks."""
    path = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(pid) for pid in path.read_text().split()]


def a_rank_is_killed(check):
    """kill -9 of one rank, then on with another number of ranks."""
    settings = {"schedule.steps": 150, "eval.every": 150, "checkpoint.every": 10}
    # Longer than usual before mpirun kills the others, for a machine that is busy.
    patient = ("--mca", "odls_base_sigkill_timeout", "3")
    process = started(2, check.train("killed", settings=settings), 10, patient)
    os.kill(children(process)[-1], signal.SIGKILL)
    start = time.monotonic()
    output, error = process.communicate()
    seconds = time.monotonic() - start
    said = f"continue from the last checkpoint: miyasawa train --resume --out {check.folder}"
    good = process.returncode != 0 and error.count(said) == 1
    check.say(good, f"a rank is killed: status {process.returncode} after {seconds:.1f} s: "
              f"{(output + error).splitlines()}")
    check.done(3, check.train("killed", resume=True))
    check.done(0, check.train("intact", settings=settings))
    of = lambda out: (check.folder / out / "model.safetensors").read_bytes()
    check.say(of("killed") == of("intact"), "resumed by 3 ranks: the bytes of an intact run")


def a_signal_ends_all(check):
    """SIGTERM and Ctrl-C of mpirun, and SIGTERM of one rank."""
    settings = {"schedule.steps": 4000, "eval.every": 4000, "checkpoint.every": 10}
    # How long mpirun waits, in any case, before it kills.
    patient = ("--mca", "odls_base_sigkill_timeout", "5")
    for name in ("SIGTERM", "SIGINT", "SIGTERM of rank 1"):
        process = started(2, check.train(name, settings=settings), 10, patient)
        to = children(process)[-1] if name.endswith("1") else process.pid
        os.kill(to, getattr(signal, name.split()[0]))
        output, error = process.communicate()
        paths = (check.folder / name / "checkpoints").glob("step-*.safetensors")
        step = max(int(path.stem.split("-")[1]) for path in paths)
        said = f"stopped at step {step};" in output and output.count("stopped at") == 1
        once = error.count("stopping with a checkpoint") <= 1
        check.say(said and once, f"{name}: {output.strip()!r} {error.strip()!r}")


def calls_are_refused(check):
    """A rank that was started otherwise, more ranks than parts, commands for one process."""
    one = check.train("refused")
    other = check.train("refused", settings={"seed": 7})
    cases = [
        ("another configuration", 1, [*one, ":", "-n", "1", *other],
         "rank 1: its configuration is not that of rank 0", 2),
        ("more ranks than parts", 3, check.train("refused", settings={"schedule.batch": 8}),
         "3 ranks: a batch of 8 has 2 parts", 2),
        ("a wrong setting", 2, check.train("refused", settings={"network.widht": 1}),
         "unknown field `widht`", 2),
        ("a wrong option", 2, [check.binary, "train", "--nonsense"], "unexpected argument", 2),
        ("info", 2, [check.binary, "info"], "started by a launcher as 2 processes", 2),
    ]
    for name, ranks, args, expected, code in cases:
        status, output, error = check.call(ranks, args)
        text = output + error
        good = status == code and text.count(expected) == 1
        check.say(good, f"{name}: status {status}, {expected!r} {text.count(expected)} times"
                  + ("" if good else f": {text}"))
    check.say(not (check.folder / "refused").exists(), "nothing was written by what was refused")


def measured_alike(check):
    """The documents of commands that divide batches, by every number of ranks."""
    check.done(0, check.train("model"))
    model = str(check.folder / "model/model.safetensors")
    attack = ["attack", model, "--data", "digits", "--limit", "100", "--norm", "l2",
              "--eps", "0.2,0.5", "--method", "pgd", "--steps", "4"]
    calls = {
        "eval": ["eval", model, "--data", "digits", "--limit", "100", "--sigmas", "0.1,0.3"],
        "attack": [*attack, "--out"],
        "certify": ["certify", model, "--data", "digits", "--limit", "4", "--n", "500",
                    "--sigma", "0.5"],
        "calibrate": ["calibrate", model, "--data", "digits", "--limit", "100", "--steps", "2"],
        "ood": ["ood", model, "--data", "digits", "--limit", "100", "--out-data", "noise",
                "--reference", "digits"],
        "trust": ["trust", model, "--data", "digits", "--limit", "40", "--method", "pgd",
                  "--steps", "2", "--out-data", "noise", "--out"],
    }

    def numbers(value):
        """Without what depends on time, and on the folder."""
        if isinstance(value, dict):
            other = ("seconds", "provenance", "forecast", "call")
            return {key: numbers(inner) for key, inner in value.items() if key not in other}
        return [numbers(inner) for inner in value] if isinstance(value, list) else value

    for name, args in calls.items():
        found = {}
        for ranks in (0, 1, 2, 3):
            more = [str(check.folder / f"{name} {ranks}")] if args[-1] == "--out" else []
            output = check.done(ranks, [check.binary, *args, *more, "--json", "--threads", "1"])
            found[ranks] = numbers(json.loads(output))
        same = all(found[ranks] == found[0] for ranks in (1, 2, 3))
        check.say(same, f"{name}: the document of one process from 1, 2 and 3 ranks")
    lines = lambda ranks: [re.sub('"seconds":[^,}]*', "", line) for line in
                           (check.folder / f"attack {ranks}/attack.jsonl").read_text().split("\n")]
    check.say(lines(3) == lines(0), "attack: the journal of one process from 3 ranks")
    # What is left of a journal, by another number of ranks.
    path = check.folder / "attack 3/attack.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:130]))
    call = [check.binary, *attack, "--out", str(path.parent), "--resume", "--json"]
    check.done(2, call)
    check.say(lines(3) == lines(0), "attack: continued by 2 ranks")
    status, output, error = check.call(2, [check.binary, *attack, "--out", str(path.parent)])
    text = output + error
    good = status == 2 and text.count("holds an attack already") == 1
    check.say(good, "attack: a folder that is taken is refused" + ("" if good else f": {text}"))
    other = [check.binary, *attack, "--seed", "1", ":", "-n", "1", check.binary, *attack]
    status, output, error = check.call(1, other)
    good = status == 2 and (output + error).count("command line is not that of rank 0") == 1
    check.say(good, "another call is refused" + ("" if good else f": {output + error}"))


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--only", help="name of one check")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        check = Check(str(pathlib.Path(options.binary).resolve()), pathlib.Path(folder))
        for part in (calls_are_refused, measured_alike, a_rank_is_killed, a_signal_ends_all,
                     same_bytes):
            if options.only in (None, part.__name__):
                start = time.monotonic()
                part(check)
                print(f"   {part.__name__}: {time.monotonic() - start:.0f} s", flush=True)
    sys.exit(1 if check.bad else 0)


if __name__ == "__main__":
    main()
