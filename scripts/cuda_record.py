"""What the program asks of a CUDA driver, counted by gpu/recorder.c: scripts/cuda.sh --record.

    python3 scripts/cuda_record.py PROGRAM FOLDER

Runs training steps and predictions on `--device cuda`. Every kernel is generated and compiled by
NVRTC; one that does not compile, or is launched beyond the device's limits, fails the script. What
a step costs is the difference of two runs of different length: launches, transfers and waits. The
counts go to FOLDER/record.json and, as a table, to FOLDER/record.md. Numbers that kernels would
compute are zeros here and are not looked at.
"""
import json
import os
import subprocess
import sys
from pathlib import Path

# Name and arguments.
STEPS = [
    (f"{work}, {dtype}, batch {batch}",
     ["bench", work, "--dtype", dtype, "--width", str(width), "--batch", str(batch)])
    for work, dtype, width, batch in [
        ("train-step", "f32", 64, 32),
        ("train-step", "f32", 64, 256),
        ("train-step", "tf32", 64, 256),
        ("train-step", "bf16", 64, 256),
        ("denoise", "f32", 64, 256),
        ("denoise", "bf16", 64, 256),
        ("classify", "f32", 64, 256),
        ("classify", "bf16", 64, 256),
    ]
]
COUNTS = ["launches", "reads", "writes", "written_bytes", "copies", "waits"]


def run(program, arguments, counts):
    """The counts of one run of the program."""
    counts.unlink(missing_ok=True)
    environment = {**os.environ, "MIYASAWA_RECORD": str(counts)}
    done = subprocess.run([program, *arguments], env=environment, capture_output=True, text=True)
    # `verify` finds zeros and says so.
    if done.returncode not in ((0, 1) if arguments[0] == "verify" else (0,)):
        sys.exit(f"{' '.join(arguments)}: {done.stdout}{done.stderr}")
    if "Compilation Error" in done.stderr or not counts.exists():
        sys.exit(f"{' '.join(arguments)}: {done.stderr[-4000:]}")
    found = json.loads(counts.read_text())
    if found["refused"]:
        sys.exit(f"{' '.join(arguments)}: {found['refused']} launches beyond the device's limits")
    return found


def kind(name):
    """What a kernel does, by its name."""
    for word, what in [
        ("conv", "convolution"), ("matmul", "matrix product"), ("gemm", "matrix product"),
        ("reduce", "sum"), ("sum", "sum"),
    ]:
        if word in name.lower():
            return what
    return "other"


def main():
    program, folder = sys.argv[1], Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    counts = folder / "counts.json"
    checked = run(program, ["verify", "--device", "cuda"], counts)
    print(f"verify: {checked['modules']} kernels compiled for sm_90a, none launched out of bounds")
    rows = []
    for name, arguments in STEPS:
        short, long = (
            run(program, [*arguments, "--device", "cuda", "--iters", str(iters)], counts)
            for iters in (1, 4)
        )
        row = {"name": name, "kernels_compiled": long["modules"]}
        row |= {key: (long[key] - short[key]) / 3 for key in COUNTS}
        kinds = {}
        for sign, found in ((1, long), (-1, short)):
            for kernel in found["kernels"]:
                what = kind(kernel["name"])
                kinds[what] = kinds.get(what, 0) + sign * kernel["launches"] / 3
        rows.append(row | {"kinds": kinds})
        print(name, {key: round(row[key], 1) for key in COUNTS}, kinds, flush=True)
    (folder / "record.json").write_text(json.dumps(rows, indent=1) + "\n")
    table = [
        "| a step of | kernels | launches | of them convolutions and matrix products | reads "
        "| writes | MB written |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        kinds = row["kinds"]
        products = sum(kinds.get(what, 0) for what in ("convolution", "matrix product"))
        numbers = [row["kernels_compiled"], row["launches"], products, row["reads"], row["writes"]]
        cells = [row["name"], *(f"{number:.0f}" for number in numbers)]
        table.append(f"| {' | '.join(cells)} | {row['written_bytes'] / 1e6:.1f} |")
    (folder / "record.md").write_text("\n".join(table) + "\n")
    print("\n".join(table))


if __name__ == "__main__":
    main()
