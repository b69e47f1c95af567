"""BM3D and OpenCV's non-local means on white noise: PSNR on images of an archive.

Needs numpy, Pillow, opencv-python-headless and bm3d from PyPI:

    python3 bench/photographs/white_peers.py photographs.tar [--stored]

The level is told, in units of 0 to 255. `--stored` rounds and clips the noisy images to 8 bits, as
files hold them; without it BM3D gets floats, and OpenCV, which takes no others, 8 bits. Outputs
are clipped to the range. The program's side is `miyasawa eval --data photographs.tar [--stored]`.
OpenCV has the strength of a list that is best for the row, which favours it.
"""

import argparse
import io
import tarfile

import bm3d
import cv2
import numpy as np
from PIL import Image

STRENGTHS = [4, 7, 10, 15, 22, 30, 45]


def psnr(found, truth):
    return 10 * np.log10(255**2 / np.mean((np.clip(found, 0, 255) - truth) ** 2))


def block_matching(noisy, sigma):
    run = bm3d.bm3d_rgb if noisy.ndim == 3 else bm3d.bm3d
    return 255 * run(noisy / 255, sigma / 255)


def non_local_means(noisy, strength):
    noisy = np.clip(np.round(noisy), 0, 255).astype(np.uint8)
    if noisy.ndim == 2:
        return cv2.fastNlMeansDenoising(noisy, None, strength, 7, 21).astype(float)
    return cv2.fastNlMeansDenoisingColored(noisy, None, strength, strength, 7, 21).astype(float)


def images(path, limit):
    with tarfile.open(path) as archive:
        files = sorted((m for m in archive if m.isfile()), key=lambda m: m.name)[:limit]
        for file in files:
            image = Image.open(io.BytesIO(archive.extractfile(file).read()))
            yield np.asarray(image if image.mode == "L" else image.convert("RGB"), float)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive")
    parser.add_argument("--stored", action="store_true")
    parser.add_argument("--levels", type=float, nargs="*", default=[15, 25, 50])
    parser.add_argument("--limit", type=int)
    args = parser.parse_args()
    clean = list(images(args.archive, args.limit))
    print("level | images | noisy | BM3D | OpenCV non-local means", flush=True)
    for level in args.levels:
        noisy = []
        for i, image in enumerate(clean):
            noise = np.random.default_rng([i, int(level)]).standard_normal(image.shape)
            values = image + level * noise
            noisy.append(np.clip(np.round(values), 0, 255) if args.stored else values)
        mean = lambda found: np.mean([psnr(a, b) for a, b in zip(found, clean)])
        # Noisy values are not clipped in the literature's PSNR of the noisy image.
        errors = [np.mean((a - b) ** 2) for a, b in zip(noisy, clean)]
        before = np.mean(10 * np.log10(255**2 / np.array(errors)))
        peer = mean([block_matching(image, level) for image in noisy])
        best, strength = max((mean([non_local_means(y, s) for y in noisy]), s) for s in STRENGTHS)
        cells = f"{before:.2f} | {peer:.2f} | {best:.2f} ({strength})"
        print(f"{level:g} | {len(clean)} | {cells}", flush=True)


if __name__ == "__main__":
    main()
