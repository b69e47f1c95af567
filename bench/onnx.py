"""Times the exported bundled model in ONNX Runtime beside this program.

    cargo build --release
    python3 bench/onnx.py --rounds 7 --threads 2

Both sides compute the same network (3 channels, width 32, blocks 2,2,2,2, float32) on the same
number of threads; the graphs are written by `miyasawa export`. The sides alternate, a process each.
Prints a table of medians over the rounds; the ratio is ONNX Runtime's time over ours, the median of
those of the rounds. Needs onnxruntime and numpy (PyPI). Leave the machine alone meanwhile.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

CASES = [
    # Task, batch, height and width.
    ("classify", 1, 32),
    ("classify", 32, 32),
    ("denoise", 1, 32),
    ("denoise", 32, 32),
    ("denoise", 1, 256),
]


def peer(graph, batch, size, threads, iterations):
    """The median seconds of a call in ONNX Runtime."""
    import numpy as np
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    feed = {
        "image": random.random((batch, 3, size, size), dtype=np.float32),
        "sigma": np.full(batch, 0.1, np.float32),
    }
    seconds = []
    for _ in range(2 + iterations):
        begin = time.perf_counter()
        session.run(None, feed)
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds[2:])


def run(command):
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(found)


def main():
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    p.add_argument("--program", default="target/release/miyasawa")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--iterations", type=int, default=15)
    p.add_argument("--peer", help=argparse.SUPPRESS)
    p.add_argument("--batch", type=int, help=argparse.SUPPRESS)
    p.add_argument("--size", type=int, help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.peer:
        print(json.dumps(peer(a.peer, a.batch, a.size, a.threads, a.iterations)))
        return
    counts = ["--threads", str(a.threads)]
    print("| work | batch | size | here ms | ONNX Runtime ms | ratio |")
    print("| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        graphs = {}
        for task in ("classify", "denoise"):
            graphs[task] = str(pathlib.Path(folder, f"{task}.onnx"))
            export = ["export", "--format", "onnx", "--task", task, "-o", graphs[task]]
            subprocess.run([a.program, *export], check=True, capture_output=True)
        for task, batch, size in CASES:
            shape = ["--batch", str(batch)]
            image = ["--width", "32", "--image", f"3x{size}x{size}", "--json"]
            ours = [a.program, "bench", task, "--iters", str(a.iterations), *shape, *image, *counts]
            theirs = [sys.executable, __file__, "--peer", graphs[task], "--size", str(size)]
            theirs += ["--iterations", str(a.iterations), *shape, *counts]
            rounds = [(run(ours)["median_seconds"], run(theirs)) for _ in range(a.rounds)]
            here, there = (1e3 * statistics.median(times) for times in zip(*rounds))
            ratio = statistics.median(there / here for here, there in rounds)
            print(f"| {task} | {batch} | {size}x{size} | {here:.2f} | {there:.2f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
