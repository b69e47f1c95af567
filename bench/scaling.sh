#!/usr/bin/env bash
# How a training step's time grows: over batch, width and pixels, with the share of the processor's
# measured MAC peak, and two threads against one. Needs only the program; leave the machine alone
# meanwhile.
#
#   bench/scaling.sh [ITERATIONS]
set -euo pipefail
iterations=${1:-7}
cd "$(dirname "$0")/.."
cargo build --release -q
exec python3 - "$iterations" <<'PY'
import json, statistics, subprocess, sys

MIYASAWA = "target/release/miyasawa"


def run(*arguments):
    command = [MIYASAWA, "bench", *map(str, arguments), "--json"]
    out = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(out.stdout)


def step(width, batch, side, threads=2):
    image = f"3x{side}x{side}"
    size = ["--width", width, "--batch", batch, "--image", image]
    return run("train-step", *size, "--threads", threads, "--iters", sys.argv[1])


print("| width | batch | pixels | s a step | ms an image | GFLOP/s | of the peak |")
print("| --- | --- | --- | --- | --- | --- | --- |")
rows = [(16, batch, 32) for batch in (1, 4, 16, 64, 128)]
rows += [(width, 32, 32) for width in (8, 16, 32, 64, 128)]
rows += [(16, 16, side) for side in (32, 64, 128)]
for width, batch, side in rows:
    peak = run("peak", "--threads", 2)["peak_gflops"]
    found = step(width, batch, side)
    seconds, speed = found["median_seconds"], found["achieved_gflops"]
    print(
        f"| {width} | {batch} | {side}x{side} | {seconds:.4f} | {1e3 * seconds / batch:.2f} | "
        f"{speed:.0f} | {speed / peak:.2f} |",
        flush=True,
    )

print("\n| width | batch | one thread s | two threads s | ratio |")
print("| --- | --- | --- | --- | --- |")
for width, batch in ((64, 32), (16, 128)):
    seconds = lambda threads: step(width, batch, 32, threads)["median_seconds"]
    pairs = [[seconds(threads) for threads in (1, 2)] for _ in range(3)]
    one, two = (statistics.median(pair[i] for pair in pairs) for i in (0, 1))
    ratio = statistics.median(one / two for one, two in pairs)
    print(f"| {width} | {batch} | {one:.4f} | {two:.4f} | {ratio:.2f} |", flush=True)
PY
