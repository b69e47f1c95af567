#!/usr/bin/env python3
"""Writes the digits that are embedded in the library: crates/miyasawa/assets/digits-*.gz.

Needs scikit-learn, which carries the UCI "Optical Recognition of Handwritten Digits" test set:
1,797 images of 8x8 values from 0 to 16. Written as a pair of gzipped IDX files, the values as they
are. Run from the repository's root.
"""

import gzip
import struct
from pathlib import Path

from sklearn.datasets import load_digits

digits = load_digits()
images = digits.images.astype("uint8")
labels = digits.target.astype("uint8")
assert images.shape == (1797, 8, 8) and images.max() == 16 and labels.max() == 9

assets = Path("crates/miyasawa/assets")
for name, header, values in [
    ("digits-images-idx3-ubyte.gz", struct.pack(">HBBIII", 0, 8, 3, *images.shape), images),
    ("digits-labels-idx1-ubyte.gz", struct.pack(">HBBI", 0, 8, 1, *labels.shape), labels),
]:
    # No time stamp, so that the same digits make the same file.
    (assets / name).write_bytes(gzip.compress(header + values.tobytes(), 9, mtime=0))
    print(name, (assets / name).stat().st_size, "bytes")
