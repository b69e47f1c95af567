"""Robust accuracy of a model by torchattacks beside our own attack: the two agree within a point.

    python scripts/torchattacks_peer.py [MODEL] [--data SET] [--count 500] [--eps 0.25] [--steps 10]

Needs the package miyasawa, torch, torchattacks, Pillow. SET is a tar of images in folders by class
[default: $MIYASAWA_DATA/cifar10/test-a.tar]. Both run PGD in L2 on the same images, with as many
steps and restarts; steps and starts are each one's own. Prints one JSON document.
"""

import argparse
import io
import json
import os
import pathlib
import tarfile
import time

import numpy as np
import torch
import torchattacks
from PIL import Image

import miyasawa
import miyasawa.torch


def images_of(path, count, classes):
    """The first images of every class in turn, in bytes, and their labels."""
    of_class = {name: [] for name in classes}
    with tarfile.open(path) as archive:
        for entry in archive:
            name = pathlib.PurePath(entry.name).parent.name
            if entry.isfile() and len(of_class.get(name, ())) < -(-count // len(classes)):
                content = archive.extractfile(entry).read()
                of_class[name].append(np.asarray(Image.open(io.BytesIO(content)).convert("RGB")))
    pairs = [(image, classes.index(name)) for name in classes for image in of_class[name]]
    images, labels = zip(*pairs[:count])
    return np.stack(images), np.array(labels)


def main():
    default = pathlib.Path(os.environ.get("MIYASAWA_DATA", "data")) / "cifar10/test-a.tar"
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", nargs="?")
    parser.add_argument("--data", default=default)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--eps", type=float, default=0.25)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--batch", type=int, default=50)
    a = parser.parse_args()
    model, module = miyasawa.load(a.model), miyasawa.torch.load(a.model).eval()
    module.requires_grad_(False)
    images, labels = images_of(a.data, a.count, model.classes)
    x = torch.tensor(np.ascontiguousarray(np.moveaxis(images, -1, 1)), dtype=torch.float32) / 255
    y = torch.tensor(labels)

    began = time.time()
    attack = torchattacks.PGDL2(
        module, eps=a.eps, alpha=2.5 * a.eps / a.steps, steps=a.steps, random_start=True
    )
    torch.manual_seed(0)
    clean, robust = 0, 0
    for part in range(0, len(x), a.batch):
        some, truth = x[part : part + a.batch], y[part : part + a.batch]
        right = module(some).argmax(1) == truth
        found = attack(some, truth)
        clean += int(right.sum())
        robust += int((right & (module(found).argmax(1) == truth)).sum())
    theirs = {"clean_accuracy": clean / len(x), "robust_accuracy": robust / len(x)}
    theirs["seconds"] = time.time() - began

    began = time.time()
    found = miyasawa.attack(
        model, (images, labels), norm="l2", eps=[a.eps], method="pgd", steps=a.steps
    )
    ours = {
        "clean_accuracy": found["clean_accuracy"],
        "robust_accuracy": found["rows"][0]["robust_accuracy"],
        "seconds": time.time() - began,
    }
    said = {"count": len(x), "norm": "l2", "eps": a.eps, "steps": a.steps}
    print(json.dumps({**said, "torchattacks": theirs, "miyasawa": ours}))


if __name__ == "__main__":
    main()
