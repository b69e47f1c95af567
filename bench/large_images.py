#!/usr/bin/env python3
"""Times the denoising of photographs of some megapixels, and measures the memory.

    bench/large_images.py [--megapixels 1,12,24,50] [--peers 1] [--threads 2] [--only NAME,..]

Ours is `target/release/miyasawa denoise PHOTO.jpg -o OUT.jpg` with the bundled model and the noise
level estimated: the time and the peak memory of the whole process, file to file. The peers (from
PyPI: bm3d, opencv-python-headless; DRUNet is its architecture with random weights in torch) are
timed from array to array, without their imports, on the sizes of --peers, as they take long; their
memory too is of the whole process. One that is not installed is left out. Needs numpy and Pillow.

The photographs are made: smooth changes, edges and texture, with noise of 25 of 255 in every
channel, stored as JPEG of quality 92.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time

import numpy as np
from PIL import Image

Image.MAX_IMAGE_PIXELS = None
SIGMA = 25
MIYASAWA = os.path.join(os.path.dirname(__file__), "..", "target", "release", "miyasawa")
PEERS = ["bm3d", "opencv", "drunet"]


def photograph(megapixels, path):
    """Writes a noisy image of 3 by 2, band by band."""
    width = int(round((megapixels * 1.5e6) ** 0.5))
    height = int(round(width / 1.5))
    rng = np.random.default_rng(7)
    pixels = np.empty((height, width, 3), np.uint8)
    x = np.arange(width, dtype=np.float32)[None, :, None]
    phase = np.arange(3, dtype=np.float32)[None, None, :]
    for top in range(0, height, 256):
        y = np.arange(top, min(top + 256, height), dtype=np.float32)[:, None, None]
        clean = 128 + 40 * np.sin(x / 97 + phase) + 30 * np.cos(y / 131 - phase)
        clean += 20 * (((x // 160) + (y // 120)) % 2)
        clean += 12 * np.sin(x * y / 9000) * (np.sin(x / 400) > 0)
        noisy = clean + SIGMA * rng.standard_normal(clean.shape, dtype=np.float32)
        pixels[top : top + 256] = np.clip(noisy + 0.5, 0, 255)
    Image.fromarray(pixels).save(path, quality=92)
    return width * height / 1e6


def measured(command, environment=None):
    """Seconds, peak memory in MiB and output of a process; nothing if it fails."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    scale = 1 << 20 if platform.system() == "Darwin" else 1 << 10
    return None if process.returncode else (seconds, usage.ru_maxrss / scale, output)


def drunet(torch):
    """DRUNet (Zhang et al. 2021) for colour with a noise map: 64 to 512 channels, four blocks."""
    from torch import nn

    class Residual(nn.Module):
        def __init__(self, width):
            super().__init__()
            conv = lambda: nn.Conv2d(width, width, 3, padding=1, bias=False)
            self.body = nn.Sequential(conv(), nn.ReLU(inplace=True), conv())

        def forward(self, x):
            return x + self.body(x)

    class UNet(nn.Module):
        def __init__(self, widths=(64, 128, 256, 512), blocks=4):
            super().__init__()
            residuals = lambda width: [Residual(width) for _ in range(blocks)]
            self.head = nn.Conv2d(4, widths[0], 3, padding=1, bias=False)
            pairs = list(zip(widths, widths[1:]))
            down = lambda a, b: nn.Conv2d(a, b, 2, stride=2, bias=False)
            up = lambda a, b: nn.ConvTranspose2d(b, a, 2, stride=2, bias=False)
            self.down = nn.ModuleList(nn.Sequential(*residuals(a), down(a, b)) for a, b in pairs)
            self.body = nn.Sequential(*residuals(widths[-1]))
            self.up = nn.ModuleList(nn.Sequential(up(a, b), *residuals(a)) for a, b in pairs[::-1])
            self.tail = nn.Conv2d(widths[0], 3, 3, padding=1, bias=False)

        def forward(self, x):
            skips = [self.head(x)]
            for down in self.down:
                skips.append(down(skips[-1]))
            x = self.body(skips[-1])
            for up, skip in zip(self.up, skips[::-1]):
                x = up(x + skip)
            return self.tail(x + skips[0])

    return UNet().eval()


def peer(name, path, threads):
    """Runs a peer on an image and prints the seconds."""
    noisy = np.asarray(Image.open(path))
    if name == "bm3d":
        import bm3d

        run = lambda: bm3d.bm3d_rgb(noisy / 255.0, SIGMA / 255)
    elif name == "opencv":
        import cv2

        cv2.setNumThreads(threads)
        # Strengths as in OpenCV's documentation: 3 for little noise, 10 for much.
        run = lambda: cv2.fastNlMeansDenoisingColored(noisy, None, 10, 10, 7, 21)
    else:
        import torch

        torch.set_num_threads(threads)
        net = drunet(torch)
        # Three scales halve the size.
        height, width = (side // 8 * 8 for side in noisy.shape[:2])
        pixels = torch.from_numpy(noisy[:height, :width].copy()).permute(2, 0, 1)[None] / 255
        level = torch.full((1, 1, height, width), SIGMA / 255)

        def run():
            with torch.inference_mode():
                return net(torch.cat([pixels, level], 1))

    start = time.perf_counter()
    run()
    print(time.perf_counter() - start)


def cpu():
    try:
        with open("/proc/cpuinfo") as lines:
            names = [line for line in lines if line.startswith("model name")]
        return names[0].split(":", 1)[1].strip()
    except (OSError, IndexError):
        return platform.processor()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--megapixels", default="1,12,24,50")
    parser.add_argument("--peers", default="1", help="megapixels of the peers' images")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--only", default=",".join(["miyasawa"] + PEERS))
    parser.add_argument("--peer", nargs=2, metavar=("NAME", "IMAGE"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer:
        peer(*args.peer, args.threads)
        return
    numbers = lambda text: [float(number) for number in text.split(",")]
    sizes = {"miyasawa": numbers(args.megapixels)}
    sizes.update({name: numbers(args.peers) for name in PEERS})
    print(f"{cpu()}, {args.threads} threads\n")
    print("| denoiser | megapixels | s | s/MP | peak MiB |")
    print("| --- | --- | --- | --- | --- |")
    threads = {name: str(args.threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    environment = {**os.environ, **threads}
    with tempfile.TemporaryDirectory() as folder:
        for name in args.only.split(","):
            for size in sizes[name]:
                photo, out = os.path.join(folder, "photo.jpg"), os.path.join(folder, "out.jpg")
                pixels = photograph(size, photo)
                if name == "miyasawa":
                    command = [MIYASAWA, "denoise", photo, "-o", out, "-q", "--overwrite"]
                    found = measured(command + ["--threads", str(args.threads)])
                else:
                    command = [sys.executable, __file__, "--threads", str(args.threads)]
                    found = measured(command + ["--peer", name, photo], environment)
                if found is None:
                    print(f"{name}: failed, or not installed", file=sys.stderr)
                    break
                seconds, memory, output = found
                seconds = seconds if name == "miyasawa" else float(output.split()[-1])
                row = [name, f"{pixels:.0f}", f"{seconds:.1f}", f"{seconds / pixels:.2f}"]
                print(f"| {' | '.join(row + [f'{memory:.0f}'])} |", flush=True)


if __name__ == "__main__":
    main()
