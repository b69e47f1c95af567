"""Compares the evaluation pipeline with torchvision's.

That is Resize(256), CenterCrop(224), bilinear and antialiased.

    cargo run --release -p miyasawa --example evaluation_images -- val.tar 224 out.bin
    torchvision_pipeline.py val.tar 224 out.bin      # mean and largest difference in grey levels
    torchvision_pipeline.py val.tar 224              # the numbers in data/tests/real.rs

Needs torch, torchvision, pillow, numpy. The images are taken in the order of their paths.
"""

import io
import sys
import tarfile

import numpy as np
from PIL import Image
from torchvision.transforms import v2 as transforms

archive, size = sys.argv[1], int(sys.argv[2])
bilinear = transforms.InterpolationMode.BILINEAR
resize = transforms.Resize(round(size / 0.875), interpolation=bilinear, antialias=True)
pipeline = transforms.Compose([resize, transforms.CenterCrop(size)])
with tarfile.open(archive) as tar:
    members = sorted((m for m in tar.getmembers() if m.isfile()), key=lambda m: m.name)
    images = [Image.open(io.BytesIO(tar.extractfile(m).read())).convert("RGB") for m in members]

expected = np.stack([np.asarray(pipeline(p)).transpose(2, 0, 1) for p in images])
if len(sys.argv) > 3:
    found = np.fromfile(sys.argv[3], np.uint8).reshape(expected.shape)
    difference = np.abs(found.astype(int) - expected)
    per_image = difference.mean((1, 2, 3))
    print(f"{len(images)} images of {size}x{size}")
    print(f"mean difference {difference.mean():.4f} grey levels, "
          f"worst image {per_image.max():.4f}, "
          f"largest {difference.max()}, above 2: {(difference > 2).mean():.2%}")
    # What is left without the decoder: Pillow's own resize of the same decoded pixels in tensors.
    sys.exit(difference.mean() > 1)

step = size // 4
for i in (0, 50, 100):
    lattice = expected[i][:, step // 2 :: step, step // 2 :: step]
    print(members[i].name, lattice.ravel().tolist())
