#!/usr/bin/env bash
# Times the same steps here and in PyTorch (the better of eager and channels-last), classification
# in ONNX Runtime too, alternating the sides in one run.
#
#   bench/compare.sh REFERENCE.py [ROUNDS] [WORK ..]
#
# REFERENCE.py is the project's PyTorch definition (needs torch, numpy, safetensors, onnx,
# onnxruntime from PyPI). Each round runs each side once, a process each, with 3 timed training
# steps or 15 of the others after some that are not; the table holds the medians over the rounds and
# the median of the ratios. WORK picks rows, as `train-step`, `classify` or `bf16`. Two threads
# each. Leave the machine alone meanwhile.
set -euo pipefail
reference=$1
rounds=${2:-7}
shift $(($# < 2 ? $# : 2))
cd "$(dirname "$0")/.."
cargo build --release -q
exec python3 - "$reference" "$rounds" "$@" <<'PY'
import json, platform, statistics, subprocess, sys

reference, rounds = sys.argv[1], int(sys.argv[2])
OURS = ["target/release/miyasawa", "bench"]
TORCH = ["eager", "channels_last"]
CASES = [
    ("train-step", 64, 32, "f32", TORCH),
    ("train-step", 32, 64, "f32", TORCH),
    ("train-step", 16, 128, "f32", TORCH),
    ("train-step", 8, 128, "f32", TORCH),
    ("train-step", 64, 32, "bf16", TORCH),
    ("train-step", 32, 64, "bf16", TORCH),
    ("denoise", 64, 1, "f32", TORCH),
    ("denoise", 64, 32, "f32", TORCH),
    ("classify", 64, 1, "f32", TORCH + ["onnx"]),
    ("classify", 64, 32, "f32", TORCH + ["onnx"]),
]
wanted = sys.argv[3:]


def run(command):
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(out.strip().splitlines()[-1])


def ours(work, width, batch, dtype):
    iters = "3" if work == "train-step" else "15"
    size = ["--width", str(width), "--batch", str(batch), "--dtype", dtype]
    return run(OURS + [work] + size + ["--iters", iters, "--threads", "2", "--json"])


def peer(work, width, batch, dtype, mode):
    iters = "3" if dtype == "f32" or bf16 else "1"
    common = ["--width", str(width), "--batch", str(batch), "--threads", "2"]
    if mode == "onnx":
        return run([sys.executable, "bench/onnx_peer.py", reference, "--iters", "15"] + common)
    common += ["--mode", mode, "--dtype", dtype]
    if work == "train-step":
        return run([sys.executable, reference, "bench", "--iters", iters] + common)
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
columns = ["work", "width", "batch", "type", "here s", "GFLOP/s", "best other s", "GFLOP/s"]
columns += ["which", "ratio", "here MiB", "other MiB"]
print(f"| {' | '.join(columns)} |")
print(f"| {' | '.join('---' for _ in columns)} |")
# Without instructions for it PyTorch takes half a minute a step in bf16: once is enough to see.
bf16 = "avx512_bf16" in open("/proc/cpuinfo").read() if platform.system() == "Linux" else True
for work, width, batch, dtype, modes in CASES:
    if wanted and work not in wanted and dtype not in wanted:
        continue
    mine, theirs, ratios = [], [], []
    for _ in range(1 if dtype == "bf16" and not bf16 else rounds):
        a = ours(work, width, batch, dtype)
        found = (peer(work, width, batch, dtype, mode) for mode in modes)
        b = min(found, key=lambda r: r["median_seconds"])
        mine.append(a)
        theirs.append(b)
        ratios.append(b["median_seconds"] / a["median_seconds"])
    seconds = lambda rows: statistics.median(r["median_seconds"] for r in rows)
    speed = lambda rows: statistics.median(r["achieved_gflops"] for r in rows)
    memory = lambda rows: max(r["peak_rss_bytes"] or 0 for r in rows) / 2**20
    which = statistics.mode(f"{r['peer'].split('-')[0]} {r['mode']}" for r in theirs)
    print(
        f"| {work} | {width} | {batch} | {dtype} | {seconds(mine):.4f} | {speed(mine):.0f} | "
        f"{seconds(theirs):.4f} | {speed(theirs):.0f} | {which} | "
        f"{statistics.median(ratios):.2f} | {memory(mine):.0f} | {memory(theirs):.0f} |",
        flush=True,
    )
PY
