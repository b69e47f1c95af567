"""Measures the noise level to condition a colour model on for a grey image.

Makes docs/reports/bundled-grey.json.
Usage: grey_in_colour.py MIYASAWA OUT.json, with $MIYASAWA_DATA; needs numpy and pillow. Grey noisy
images (16 bits, clipped to their range) are denoised (Set12) and classified (the test part of
CIFAR-10). The level given to the program is chosen so that the model is conditioned on FACTOR times
the level of the noise.
"""

import io
import json
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile

import numpy as np
from PIL import Image

PROGRAM, OUT = sys.argv[1:]
DATA = pathlib.Path(os.environ["MIYASAWA_DATA"])
# The factor that the program applies to the given level (`GREY_IN_COLOUR` in the library).
PROGRAM_FACTOR = 1.55
FACTORS = [1.0, 1.4, 1.5, 1.55, 1.6, 1.7321]
LARGEST = 1.0


def grey_images(archive, step):
    with tarfile.open(DATA / archive) as tar:
        for member in [m for m in tar.getmembers() if m.isfile()][::step]:
            image = Image.open(io.BytesIO(tar.extractfile(member).read())).convert("L")
            yield member.name, np.asarray(image, dtype=float) / 127.5 - 1


def run(*arguments):
    command = [PROGRAM, *arguments, "--json", "-q"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def save(path, values):
    levels = np.clip(np.round(values * 32767.5 + 32767.5), 0, 65535)
    Image.fromarray(levels.astype(np.uint16)).save(path)


def given(sigma, factor):
    # Beyond its largest level the model is conditioned on the largest.
    return str(min(factor * sigma, LARGEST) / PROGRAM_FACTOR)


report = {"factors": FACTORS, "psnr": {}, "accuracy": {}}
with tempfile.TemporaryDirectory() as folder:
    noisy, clean = pathlib.Path(folder, "noisy.png"), pathlib.Path(folder, "clean.png")
    for sigma in [0.05, 0.1, 0.2, 0.4]:
        rng, found = np.random.default_rng(0), []
        for _, x in grey_images("natural-gray/set12.tar", 1):
            save(noisy, x + sigma * rng.standard_normal(x.shape))
            row = []
            for factor in FACTORS:
                run("denoise", str(noisy), "--sigma", given(sigma, factor), "-o", str(clean))
                error = np.asarray(Image.open(clean), dtype=float) / 32767.5 - 1 - x
                row.append(10 * np.log10(4 / np.mean(error**2)))
            found.append(row)
        report["psnr"][sigma] = np.round(np.mean(found, axis=0), 2).tolist()
    for sigma in [0.1, 0.2, 0.4]:
        rng, paths, labels = np.random.default_rng(1), [], []
        for k, (name, x) in enumerate(grey_images("cifar10/test-a.tar", 5)):
            paths.append(str(pathlib.Path(folder, f"{k}.png")))
            save(paths[-1], x + sigma * rng.standard_normal(x.shape))
            labels.append(name.split("/")[-2])
        row = []
        for factor in FACTORS:
            level = given(sigma, factor)
            answers = run("classify", "--sigma", level, "--top", "1", *paths)["images"]
            pairs = zip(answers, labels, strict=True)
            row.append(float(np.mean([a["classes"][0]["class"] == label for a, label in pairs])))
        report["accuracy"][sigma] = row
        report["pictures"] = len(labels)
pathlib.Path(OUT).write_text(json.dumps(report, indent=1) + "\n")
