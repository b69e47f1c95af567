#!/usr/bin/env python3
"""The weighted mean of models of one network, parameter by parameter.

    average_models.py OUT 0.9=MODEL 0.1=OTHER
    miyasawa export OUT --dtype bf16 -o model.safetensors

OUT is in float32, described as the first model is, and without a hash, which `miyasawa export`
writes. Between a model and one that was fine-tuned from it the mean can classify better than both
(Wortsman et al. 2022, "Robust fine-tuning of zero-shot models"). Needs NumPy.
"""
import json
import struct
import sys

import numpy as np


def load(path):
    content = open(path, "rb").read()
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size])
    info = header.pop("__metadata__")
    values = {}
    for name, entry in header.items():
        start, end = (8 + size + offset for offset in entry["data_offsets"])
        if entry["dtype"] == "F32":
            value = np.frombuffer(content[start:end], "<f4")
        elif entry["dtype"] == "BF16":
            bits = np.frombuffer(content[start:end], "<u2").astype(np.uint32) << 16
            value = bits.view(np.float32)
        else:
            sys.exit(f"{path}: {name} is {entry['dtype']}, expected F32 or BF16")
        values[name] = (value.astype(np.float64), entry["shape"])
    return info, values


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    out, *parts = sys.argv[1:]
    shares = [float(part.split("=", 1)[0]) for part in parts]
    models = [load(part.split("=", 1)[1]) for part in parts]
    info = models[0][0]
    info.pop("sha256", None)
    header, content = {"__metadata__": info}, b""
    for name, (_, shape) in models[0][1].items():
        mean = sum(share * values[name][0] for share, (_, values) in zip(shares, models))
        raw = mean.astype("<f4").tobytes()
        offsets = [len(content), len(content) + len(raw)]
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": offsets}
        content += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(out, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + content)


if __name__ == "__main__":
    main()
