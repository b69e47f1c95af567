"""Denoisers on the noise of a simulated camera: PSNR of the program and of its peers.

Needs numpy, opencv-python-headless and bm3d from PyPI, and images from the example `camera`:

    cargo run --release -p miyasawa --example camera -- 1600 90 shots/1600 photos/*.png
    python3 bench/photographs/camera_peers.py --program target/release/miyasawa shots/*

Every folder is a row: the mean PSNR in dB over the images (of the centre of 256 by 256 pixels each,
because BM3D takes seconds for that). The program has its bundled model. Each peer has the one
strength of its list that is best for the row, which favours it: nobody knows it beforehand.
`--without bm3d` leaves a peer out.
"""

import argparse
import subprocess
import tempfile
from pathlib import Path

import cv2
import numpy as np

SIDE = 256


def centre(image):
    y, x = ((n - SIDE) // 2 if n > SIDE else 0 for n in image.shape[:2])
    return image[y : y + SIDE, x : x + SIDE]


def psnr(found, truth):
    """Of 8-bit values, against a truth of 16 bits."""
    error = np.asarray(found, np.float64) - truth.astype(np.float64) / 257
    return 10 * np.log10(255**2 / np.mean(error**2))


def bm3d(noisy, sigma):
    import bm3d as peer

    found = peer.bm3d_rgb(noisy[..., ::-1].astype(np.float64) / 255, sigma / 255)
    return 255 * np.clip(found[..., ::-1], 0, 1)


def nlmeans(noisy, strength):
    return cv2.fastNlMeansDenoisingColored(noisy, None, strength, strength, 7, 21)


def bilateral(noisy, sigma):
    return cv2.bilateralFilter(noisy, 9, sigma, 3)


PEERS = {
    "bm3d": (bm3d, [3, 6, 12, 20, 30]),
    "nlmeans": (nlmeans, [1, 2, 4, 6, 9, 13, 18]),
    "bilateral": (bilateral, [5, 10, 20, 35, 50, 70, 100]),
}
# The program asks the image for its noise, or takes it to be white.
WAYS = {"program": ["--noise", "auto"], "program, white": ["--noise", "white"]}


def program(path, noisy, options):
    """The images as the program returns them."""
    with tempfile.TemporaryDirectory() as folder:
        sources = []
        for i, image in enumerate(noisy):
            sources.append(f"{folder}/{i:04}.png")
            cv2.imwrite(sources[-1], image)
        command = [path, "-q", "denoise", *sources, *options, "-o", f"{folder}/out/"]
        subprocess.run(command, check=True)
        return [cv2.imread(f"{folder}/out/{Path(source).name}") for source in sources]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--program", help="the binary to measure; the level is estimated")
    parser.add_argument("--without", nargs="*", default=[], choices=PEERS)
    parser.add_argument("--images", type=int, help="only so many of each folder")
    args = parser.parse_args()
    peers = {name: peer for name, peer in PEERS.items() if name not in args.without}
    names = ["noisy", *peers] + (list(WAYS) if args.program else [])
    print("folder | images | " + " | ".join(names), flush=True)
    for folder in args.folders:
        files = sorted(folder.glob("*-noisy.png"))[: args.images]
        noisy = [centre(cv2.imread(str(file))) for file in files]
        truth = [str(file).replace("-noisy.png", "-truth.png") for file in files]
        truth = [centre(cv2.imread(file, cv2.IMREAD_UNCHANGED)) for file in truth]
        mean = lambda images: np.mean([psnr(a, b) for a, b in zip(images, truth)])
        cells = [f"{mean(noisy):.2f}"]
        for peer, strengths in peers.values():
            rows = [(mean([peer(image, s) for image in noisy]), s) for s in strengths]
            best, strength = max(rows)
            cells.append(f"{best:.2f} ({strength})")
        if args.program:
            ways = [program(args.program, noisy, options) for options in WAYS.values()]
            cells.extend(f"{mean(images):.2f}" for images in ways)
        print(f"{folder.name} | {len(files)} | " + " | ".join(cells), flush=True)


if __name__ == "__main__":
    main()
