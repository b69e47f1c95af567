"""Checks and times the program on a GPU, beside PyTorch on the same card: scripts/gpu-check.sh.

    python3 scripts/gpu_check.py PROGRAM OUT [--device cuda] [--seconds 450] [--small]

What it does, in this order, each part only while there is time:

 1. the devices, the driver, the program's and PyTorch's versions;
 2. `verify` of every oracle in float32 (1e-4), TF32 (2e-2) and bfloat16 (2e-1);
 3. two runs of 20 steps, compared byte for byte, and 200 steps whose loss follows the CPU's;
 4. steps, denoising and classification at widths 64 and 32 and batches 256, 32 and 1, in float32,
    TF32 and bfloat16, beside reference.py, eager and channels_last, one after the other;
 5. where the time of a step goes, by the framework's profiler.

OUT gets gpu.json and gpu.md. The exit status is 1 where 2 or 3 found something wrong. `--small` is
for devices that compute on the CPU (SwiftShader): a few small cases, no peer.
"""
import argparse
import hashlib
import json
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Largest relative error that passes, by type. TF32 has 10 bits behind the point, bfloat16 7; second
# derivatives through eight blocks multiply the rounding of one product by about 20.
TOLERANCE = {"f32": 1e-4, "tf32": 2e-2, "bf16": 2e-1}


class Check:
    def __init__(self, arguments):
        self.program = str(Path(arguments.program).resolve())
        self.device, self.small, self.out = arguments.device, arguments.small, Path(arguments.out)
        self.out.mkdir(parents=True, exist_ok=True)
        self.end = time.monotonic() + arguments.seconds
        self.cuda = self.device.startswith("cuda")
        self.found = {"device": self.device, "wrong": [], "left_out": []}

    def left(self):
        return self.end - time.monotonic()

    def run(self, arguments, most=120.0, **options):
        """The output of a command; nothing, and a note, where it failed or took too long."""
        try:
            done = subprocess.run(
                [str(part) for part in arguments], capture_output=True, text=True,
                timeout=max(1.0, min(most, self.left())), **options,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return None, f"{type(error).__name__}"
        if done.returncode != 0:
            return (done.stdout or None), (done.stderr or done.stdout).strip()[-600:]
        return done.stdout, ""

    def document(self, arguments, **options):
        """The program's JSON document and what went wrong."""
        arguments = [self.program, *arguments, "--device", self.device, "--json"]
        out, wrong = self.run(arguments, **options)
        try:
            return json.loads(out or ""), wrong
        except json.JSONDecodeError:
            return None, wrong or "no document"

    def skip(self, what, seconds):
        if self.left() < seconds:
            self.found["left_out"].append(what)
            return True
        return False

    def save(self):
        (self.out / "gpu.json").write_text(json.dumps(self.found, indent=1) + "\n")
        (self.out / "gpu.md").write_text(markdown(self.found))

    # 1.
    def devices(self):
        query = "name,driver_version,memory.total,clocks.max.sm,power.limit"
        self.found["card"] = (
            self.run(["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"])[0] or "none"
        ).strip()
        self.found["program"] = (self.run([self.program, "--version"])[0] or "").strip()
        code = "import torch as t; print(t.__version__, t.version.cuda, t.cuda.is_available())"
        self.found["pytorch"] = (self.run([sys.executable, "-c", code])[0] or "none").strip()
        self.found["date"] = time.strftime("%Y-%m-%d")
        opened, wrong = self.run([self.program, "verify", "--device", self.device], most=200)
        print(self.found["card"], opened or wrong, flush=True)

    # 2.
    def oracles(self):
        rows = self.found["oracles"] = []
        files = sorted((ROOT / "crates/miyasawa/tests/oracles").glob("*.safetensors"))
        for dtype in ["f32", "tf32", "bf16"] if self.cuda else ["f32"]:
            for file in files[:2] if self.small else files:
                if self.skip(f"verify {dtype} {file.name}", 5):
                    continue
                report, wrong = self.document(
                    ["verify", file, "--dtype", dtype, "--tolerance", str(TOLERANCE[dtype])]
                )
                passed = bool(report and report["passed"])
                row = {"oracle": file.stem, "dtype": dtype, "passed": passed}
                if report:
                    worst = max(
                        report["quantities"],
                        key=lambda q: float("inf") if q["relative_error"] is None
                        else q["relative_error"],
                    )
                    row |= {"worst": worst["quantity"], "error": worst["relative_error"]}
                else:
                    row["error"] = wrong
                rows.append(row)
                if not row["passed"]:
                    self.found["wrong"].append(f"verify {dtype} {file.stem}: {row}")
        print("oracles", sum(row["passed"] for row in rows), "of", len(rows), flush=True)
        self.save()

    # 3.
    def training(self):
        data = self.out / "data"
        write_images(data, 256 if self.small else 2000)
        width, batch, blocks = (8, 4, "[1]") if self.small else (32, 64, "[2, 2, 2, 2]")
        settings = [
            f"data.train={data}", f"data.test={data}", f"network.width={width}",
            f"network.blocks={blocks}", f"schedule.batch={batch}", "schedule.warmup=10",
            "eval.limit=16", "eval.every=100000", "eval.all_at_end=false", "augment.flip=true",
            "seed=3",
        ]

        def train(name, device, steps, most):
            folder = self.out / name
            subprocess.run(["rm", "-rf", str(folder)], check=True)
            arguments = [self.program, "train", "--out", folder, "--device", device]
            for setting in [*settings, f"schedule.steps={steps}"]:
                arguments += ["--set", setting]
            _, wrong = self.run(arguments, most=most)
            if wrong or not (folder / "model.safetensors").exists():
                return None, wrong or "no model"
            lines = [json.loads(line) for line in (folder / "metrics.jsonl").open()]
            losses = [line["loss"] for line in lines if "loss" in line and "step" in line]
            return losses, hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()

        few, many = (2, 8) if self.small else (20, 200)
        if self.skip("two runs compared", 60):
            return
        one, two = (train(name, self.device, few, 120) for name in ("one", "two"))
        same = one[0] is not None and one[1] == two[1]
        self.found["two_runs"] = {"steps": few, "same_bytes": same, "sha256": one[1]}
        if not same:
            self.found["wrong"].append(f"two runs of {few} steps: {one[1]} and {two[1]}")
        print("two runs", self.found["two_runs"], flush=True)
        self.save()
        if self.skip("200 steps beside the CPU", 90):
            return
        ours, wrong = train("gpu", self.device, many, 120)
        host, wrong_host = train("cpu", "cpu", many, 200)
        if ours is None or host is None:
            self.found["wrong"].append(f"{many} steps: {wrong} {wrong_host}")
            return
        gaps = [abs(a - b) / abs(b) for a, b in zip(ours, host)]
        tail = many // 4
        mean = [sum(losses[-tail:]) / tail for losses in (ours, host)]
        found = {
            "steps": many, "first_gap": gaps[0], "largest_gap_of_first_20": max(gaps[:20]),
            "mean_of_last_quarter": mean, "first_loss": host[0],
        }
        self.found["training"] = found
        # The first steps differ by rounding only, which then grows along another path.
        if gaps[0] > 1e-3 or abs(mean[0] / mean[1] - 1) > 0.05:
            self.found["wrong"].append(f"the loss does not follow the CPU's: {found}")
        print("training", found, flush=True)
        self.save()

    # 4.
    def speed(self):
        rows, peers = [], []
        self.found["speed"], self.found["peer"] = rows, peers
        widths, batches = ([8], [2]) if self.small else ([64, 32], [256, 32, 1])
        for dtype in ["bf16", "tf32", "f32"] if self.cuda else ["f32"]:
            for width in widths:
                for batch in batches:
                    for work in ["train-step", "denoise", "classify"]:
                        name = f"{work} {dtype} width {width} batch {batch}"
                        if self.skip(name, 8):
                            continue
                        found, wrong = self.document(
                            ["bench", work, "--dtype", dtype, "--width", str(width), "--batch",
                             str(batch), "--iters", "1" if self.small else "7"],
                            most=60,
                        )
                        found = found or {"error": wrong}
                        case = {"task": work, "dtype": dtype, "width": width, "batch": batch}
                        rows.append({**found, **case})
                        seconds = found.get("median_seconds")
                        print(name, f"{seconds:.4f} s" if seconds else wrong, flush=True)
            for mode in ["channels_last", "eager"] if self.cuda else []:
                if self.skip(f"PyTorch {dtype} {mode}", 15):
                    continue
                seconds = min(45.0, self.left() / 2)
                out, wrong = self.run(
                    [sys.executable, ROOT / "scripts/gpu_check_peer.py", dtype, mode, "--device",
                     self.device.split(":")[0], "--seconds", str(seconds)],
                    most=seconds + 40,
                )
                peers += [json.loads(line) for line in (out or "").splitlines() if line[:1] == "{"]
                if wrong:
                    self.found["left_out"].append(f"PyTorch {dtype} {mode}: {wrong}")
            self.save()

    # 5.
    def breakdown(self):
        folder = self.out / "profile"
        folder.mkdir(exist_ok=True)
        log = folder / "kernels.log"
        log.unlink(missing_ok=True)
        # The framework reads its settings from the folder in which the program runs.
        (folder / "cubecl.toml").write_text(
            f'[profiling]\nlogger = {{ level = "medium", file = "{log}" }}\n'
        )
        dtype = "bf16" if self.cuda else "f32"
        batch, width = ("2", "8") if self.small else ("256", "64")
        if self.skip("breakdown", 20):
            return
        self.document(
            ["bench", "train-step", "--dtype", dtype, "--width", width, "--batch", batch,
             "--iters", "1"],
            most=90, cwd=folder,
        )
        if not log.exists():
            self.found["left_out"].append("breakdown: the framework's profiler wrote nothing")
            return
        kinds = {}
        for line in log.read_text().splitlines():
            timed = re.match(r"\|\s*([\d.]+)(ns|µs|ms|s)\s*\|\s*(.+)", line.strip())
            if not timed or " | " in timed[3]:
                continue
            seconds = float(timed[1]) * {"ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1.0}[timed[2]]
            row = kinds.setdefault(kind(timed[3]), {"launches": 0, "seconds": 0.0})
            row["launches"] += 1
            row["seconds"] += seconds
        # Three steps: two that warm up, and the timed one.
        for row in kinds.values():
            row["launches"], row["seconds"] = row["launches"] / 3, row["seconds"] / 3
        self.found["breakdown"] = {"dtype": dtype, "batch": batch, "width": width, "kinds": kinds}
        print("breakdown", kinds, flush=True)


def kind(kernel):
    """What a kernel does, by the name of its type."""
    name = kernel.lower()
    for word, what in [
        ("conv", "convolutions"), ("im2col", "convolutions"), ("col2im", "convolutions"),
        ("matmul", "matrix products"), ("gemm", "matrix products"), ("reduce", "sums"),
        ("sum", "sums"), ("cast", "copies and casts"), ("copy", "copies and casts"),
        ("contiguous", "copies and casts"), ("cat", "copies and casts"),
    ]:
        if word in name:
            return what
    return "elementwise"


def write_images(folder, count):
    """CIFAR-10's format: ten classes of a colour and a direction, with noise."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(0)
    for name, images in [("data_batch_1.bin", count), ("test_batch.bin", 100)]:
        out = bytearray()
        for i in range(images):
            label = i % 10
            phase = rng.random() * 6.0
            out.append(label)
            for channel in range(3):
                base = 60 + 15 * ((label * (channel + 3)) % 10)
                for y in range(32):
                    for x in range(32):
                        along = x if label % 2 else y
                        wave = 40 if int(along / (2 + label / 3) + phase) % 2 else 0
                        out.append(min(255, max(0, base + wave + rng.randrange(-20, 20))))
        (folder / name).write_bytes(out)


def markdown(found):
    """The tables of bench/gpu.md."""
    lines = [
        f"Card: {found.get('card')}; {found.get('program')}; PyTorch {found.get('pytorch')}; "
        f"{found.get('date')}.", "",
    ]
    lines += [f"Wrong: {what}" for what in found["wrong"]] or ["Nothing was found wrong."]
    if found["left_out"]:
        lines += ["", "Left out: " + "; ".join(found["left_out"])]
    if found.get("oracles"):
        lines += ["", "| oracles | passed | largest relative error |", "| --- | --- | --- |"]
        for dtype in TOLERANCE:
            rows = [row for row in found["oracles"] if row["dtype"] == dtype]
            errors = [row["error"] for row in rows if isinstance(row.get("error"), float)]
            if rows:
                passed = sum(row["passed"] for row in rows)
                largest = f"{max(errors):.1e}" if errors else "-"
                lines.append(f"| {dtype} | {passed} of {len(rows)} | {largest} |")
    for key in ("two_runs", "training"):
        if key in found:
            lines += ["", f"{key.replace('_', ' ')}: `{json.dumps(found[key])}`"]
    if found.get("speed"):
        lines += [
            "", "Milliseconds (images a second):", "",
            "| task | width | batch | type | miyasawa | PyTorch eager | channels_last | ratio |",
            "| --- | --- | --- | --- | --- | --- | --- | --- |",
        ]
        peers = {
            tuple(row[key] for key in ("task", "dtype", "width", "batch", "mode")):
            row["median_seconds"]
            for row in found.get("peer", [])
        }
        for row in found["speed"]:
            key = (row["task"], row["dtype"], row["width"], row["batch"])
            ours = row.get("median_seconds")
            theirs = [peers.get((*key, mode)) for mode in ("eager", "channels_last")]
            shown = [
                f"{1e3 * s:.2f} ({row['batch'] / s:.0f})" if s else "-" for s in (ours, *theirs)
            ]
            best = min((s for s in theirs if s), default=None)
            ratio = f"{best / ours:.2f}" if best and ours else "-"
            lines.append(
                f"| {key[0]} | {key[2]} | {key[3]} | {key[1]} | {' | '.join(shown)} | {ratio} |"
            )
    if "breakdown" in found:
        what = found["breakdown"]
        lines += [
            "", f"A step in {what['dtype']}, width {what['width']}, batch {what['batch']}:", "",
            "| kernels | launches | ms |", "| --- | --- | --- |",
        ]
        for name, row in sorted(what["kinds"].items(), key=lambda item: -item[1]["seconds"]):
            lines.append(f"| {name} | {row['launches']:.0f} | {1e3 * row['seconds']:.2f} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("program")
    parser.add_argument("out")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=450)
    parser.add_argument("--small", action="store_true")
    check = Check(parser.parse_args())
    for part in (check.devices, check.oracles, check.training, check.speed, check.breakdown):
        part()
        check.save()
    print((check.out / "gpu.md").read_text())
    sys.exit(1 if check.found["wrong"] else 0)


if __name__ == "__main__":
    main()
