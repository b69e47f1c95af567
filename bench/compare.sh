#!/usr/bin/env bash
# Times the same steps here and in PyTorch, alternating the two sides in one run.
#
#   bench/compare.sh REFERENCE.py [ROUNDS]
#
# REFERENCE.py is the project's PyTorch definition (needs torch, numpy, safetensors from PyPI). Each round runs
# each side once (a process each, 3 timed steps after 2 that are not); the table holds the medians over the rounds
# and the ratio of each pair. Two threads each. Leave the machine alone meanwhile.
set -euo pipefail
reference=$1
rounds=${2:-5}
cd "$(dirname "$0")/.."
cargo build --release -q
exec python3 - "$reference" "$rounds" <<'PY'
import json, platform, statistics, subprocess, sys

reference, rounds = sys.argv[1], int(sys.argv[2])
OURS = ["target/release/miyasawa", "bench"]
CASES = [
    ("train-step", 64, 32, ["eager"]),
    ("train-step", 32, 64, ["eager"]),
    ("train-step", 16, 128, ["eager"]),
    ("train-step", 8, 128, ["eager"]),
    ("denoise", 64, 1, ["eager"]),
    ("denoise", 64, 32, ["eager"]),
    ("classify", 64, 1, ["eager"]),
    ("classify", 64, 32, ["eager"]),
]


def run(command):
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(out.strip().splitlines()[-1])


def ours(work, width, batch):
    iters = "3" if work == "train-step" else "15"
    return run(OURS + [work, "--width", str(width), "--batch", str(batch), "--iters", iters, "--threads", "2", "--json"])


def peer(work, width, batch, mode):
    common = ["--width", str(width), "--batch", str(batch), "--threads", "2", "--mode", mode]
    if work == "train-step":
        return run([sys.executable, reference, "bench", "--iters", "3"] + common)
    return run([sys.executable, reference, "infer", "--task", work, "--iters", "15"] + common)


def cpu():
    try:
        for line in open("/proc/cpuinfo"):
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor()


print(f"{cpu()}, {rounds} rounds, 2 threads\n")
print("| work | width | batch | here s | GFLOP/s | PyTorch s | GFLOP/s | ratio | here MiB | PyTorch MiB |")
print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
for work, width, batch, modes in CASES:
    mine, theirs, ratios = [], [], []
    for _ in range(rounds):
        a = ours(work, width, batch)
        b = min((peer(work, width, batch, mode) for mode in modes), key=lambda r: r["median_seconds"])
        mine.append(a)
        theirs.append(b)
        ratios.append(b["median_seconds"] / a["median_seconds"])
    seconds = lambda rows: statistics.median(r["median_seconds"] for r in rows)
    speed = lambda rows: statistics.median(r["achieved_gflops"] for r in rows)
    memory = lambda rows: max(r["peak_rss_bytes"] or 0 for r in rows) / 2**20
    print(
        f"| {work} | {width} | {batch} | {seconds(mine):.4f} | {speed(mine):.0f} | {seconds(theirs):.4f} | "
        f"{speed(theirs):.0f} | {statistics.median(ratios):.2f} | {memory(mine):.0f} | {memory(theirs):.0f} |",
        flush=True,
    )
PY
