"""Times reference/reference.py in one process: scripts/gpu_check.py's peer.

    python3 scripts/gpu_check_peer.py f32|tf32|bf16 eager|channels_last [--device cuda]
        [--seconds 60] [--widths 64,32] [--batches 256,32,1] [--iters 7]

Prints a JSON line for each task, width and batch, as reference.py does, until the time is over.
"""
import argparse
import contextlib
import io
import json
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "reference"))
import reference  # noqa: E402


def numbers(text):
    return [int(part) for part in text.split(",")]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dtype", choices=["f32", "tf32", "bf16"])
    parser.add_argument("mode", choices=["eager", "channels_last"])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--widths", type=numbers, default=[64, 32])
    parser.add_argument("--batches", type=numbers, default=[256, 32, 1])
    parser.add_argument("--iters", type=int, default=7)
    a = parser.parse_args()
    start = time.monotonic()
    # PyTorch takes TF32 for convolutions unless it is told not to.
    torch.backends.cudnn.allow_tf32 = a.dtype != "f32"
    torch.backends.cuda.matmul.allow_tf32 = a.dtype != "f32"
    for width in a.widths:
        for batch in a.batches:
            for task in ["train-step", "denoise", "classify"]:
                if time.monotonic() - start > a.seconds:
                    return
                options = argparse.Namespace(
                    command="bench", image=(3, 32, 32), width=width, classes=10, batch=batch,
                    blocks=[2, 2, 2, 2], blind=False, seed=0, sigma_data=0.5, dsm_weight=1.0,
                    dtype="bf16" if a.dtype == "bf16" else "f32", mode=a.mode, task=task,
                    threads=torch.get_num_threads(), iters=a.iters, device=a.device, norm="group",
                    norm_epsilon=1e-5,
                )
                printed = io.StringIO()
                with contextlib.redirect_stdout(printed):
                    (reference.bench if task == "train-step" else reference.infer)(options)
                found = json.loads(printed.getvalue())
                print(json.dumps({**found, "task": task, "dtype": a.dtype}), flush=True)


if __name__ == "__main__":
    main()
