"""Writes the seeds of the fuzz corpora: small intact files of every format.

Usage: fuzz_seeds.py FOLDER
"""

import gzip
import io
import json
import pathlib
import struct
import sys
import tarfile
import zlib

out = pathlib.Path(sys.argv[1])


def write(target, name, data):
    (out / target).mkdir(parents=True, exist_ok=True)
    (out / target / name).write_bytes(data)


def idx(*dims):
    size = 1
    for d in dims:
        size *= d
    header = struct.pack(f">BBBB{len(dims)}I", 0, 0, 8, len(dims), *dims)
    return header + bytes(i % 256 for i in range(size))


def typed(code, size, *dims):
    data = bytearray(idx(*dims))
    data[2] = code
    return bytes(data) + bytes(len(data[4 + 4 * len(dims):]) * (size - 1))


def png(width, height, colour):
    def chunk(kind, data):
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    values = width * (3 if colour else 1)
    rows = [b"\0" + bytes((x * y * 7) % 256 for x in range(values)) for y in range(height)]
    header = struct.pack(">IIBBBBB", width, height, 8, 2 if colour else 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"".join(rows)))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def exr(width, height):
    """Grey in half precision, not compressed, a block for each row."""

    def attribute(name, kind, value):
        return name + b"\0" + kind + b"\0" + struct.pack("<I", len(value)) + value

    window = struct.pack("<4i", 0, 0, width - 1, height - 1)
    channel = b"Y\0" + struct.pack("<IIII", 1, 0, 1, 1) + b"\0"
    header = b"".join([
        attribute(b"channels", b"chlist", channel),
        attribute(b"compression", b"compression", b"\0"),
        attribute(b"dataWindow", b"box2i", window),
        attribute(b"displayWindow", b"box2i", window),
        attribute(b"lineOrder", b"lineOrder", b"\0"),
        attribute(b"pixelAspectRatio", b"float", struct.pack("<f", 1)),
        attribute(b"screenWindowCenter", b"v2f", struct.pack("<ff", 0, 0)),
        attribute(b"screenWindowWidth", b"float", struct.pack("<f", 1)),
    ]) + b"\0"
    start = 8 + len(header) + 8 * height
    values = [[0.3 * x + 2 * y for x in range(width)] for y in range(height)]
    rows = [struct.pack(f"<iI{width}e", y, 2 * width, *row) for y, row in enumerate(values)]
    offsets = b"".join(struct.pack("<Q", start + y * len(rows[0])) for y in range(height))
    return b"\x76\x2f\x31\x01" + struct.pack("<I", 2) + header + offsets + b"".join(rows)


# A grey JPEG of 8x8 without a coefficient: quantisation, frame, tables of one code each, an empty
# scan.
JPEG = (
    b"\xff\xd8\xff\xdb\0\x43\0" + b"\x10" * 64 + b"\xff\xc0\0\x0b\x08\0\x08\0\x08\x01\x01\x11\0"
    + b"\xff\xc4\0\x14\0\x01" + b"\0" * 15 + b"\0" + b"\xff\xc4\0\x14\x10\x01" + b"\0" * 15 + b"\0"
    + b"\xff\xda\0\x08\x01\x01\0\0\x3f\0\x3f\xff\xd9"
)


def tar(files, fmt=tarfile.USTAR_FORMAT):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=fmt) as archive:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    # One end block less than tar's padding to 10 KiB.
    data = buffer.getvalue().rstrip(b"\0")
    return data + b"\0" * (1024 + -len(data) % 512)


def checkpoint(tensors, metadata):
    header, at, body = {"__metadata__": metadata}, 0, b""
    for name, shape in tensors:
        size = 4
        for d in shape:
            size *= d
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + size]}
        at += size
        body += b"\0" * size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + body


write("idx", "images", idx(2, 3, 4))
write("idx", "labels", idx(5))
write("idx", "colour", idx(2, 3, 2, 2))
write("idx", "pixels", idx(2, 2, 4, 3))
write("idx", "labels-int", typed(12, 4, 5))
write("idx", "gzipped", gzip.compress(idx(2, 3, 4), mtime=0))
write("cifar", "ten", bytes([3]) + bytes(3072))
write("cifar", "hundred", bytes([3, 77]) + bytes(3072))
small, grey = png(3, 2, True), png(2, 2, False)
write("picture", "colour.png", small)
write("picture", "grey.png", grey)
write("picture", "grey.jpg", JPEG)
bmp = struct.pack("<IIIIiiHHIIiiII", 70, 0, 54, 40, 2, 2, 1, 24, 0, 16, 0, 0, 0, 0)
write("picture", "colour.bmp", b"BM" + bmp + bytes(range(16)))
gif = b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\1\0\1\0\0\2\2D\1\0;"
write("picture", "one.gif", gif)
frame = b"!\xf9\4\0\5\0\0\0,\0\0\0\0\1\0\1\0\0\2\2D\1\0"
write("picture", "two.gif", b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff" + 2 * frame + b";")
qoi = struct.pack(">4sIIBB", b"qoif", 2, 2, 3, 0) + b"\xfe\x10\x20\x30\xc2" + bytes(7) + b"\1"
write("picture", "colour.qoi", qoi)
write("picture", "wide.pgm", b"P5\n2 2\n65535\n" + bytes(range(8)))
write("picture", "grey.exr", exr(3, 2))
images = pathlib.Path(__file__).parent.parent / "crates/miyasawa/tests/images"
for made in images.glob("*.jxl"):
    write("picture", made.name, made.read_bytes())
tags = [
    (256, 3, 2), (257, 3, 2), (258, 3, 8), (259, 3, 1), (262, 3, 1),
    (273, 4, 8), (277, 3, 1), (278, 3, 2), (279, 4, 4),
]
entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
tiff = struct.pack("<2sHI", b"II", 42, 12) + bytes([9, 80, 160, 250])
write("picture", "grey.tif", tiff + struct.pack("<H", 9) + entries + bytes(4))
shard = [("0.png", small), ("0.cls", b"0"), ("1.png", grey), ("1.cls", b"1\n")]
write("archive", "shard", tar(shard))
named = [
    ("a.0.png", small), ("a.0.CLS", b"cat"), ("a.1.png", grey), ("a.1.CLS", b"dog"),
    ("b.png", grey), ("b.cls", b"cat"), ("b.seg.png", grey),
]
write("archive", "named", tar(named))
labels = [
    ("0.png", small), ("0.json", b'{"label": 1}'), ("1.png", grey), ("1.json", b'{"label": 0}'),
]
write("archive", "json", tar(labels))
write("archive", "concatenated", tar(shard) + tar([("2.png", small), ("2.cls", b"0")]))
parts = [("a/Training/1.png", small), ("a/Testing/2.png", small), ("@eaDir/x.png", grey)]
write("archive", "parts-in-classes", tar(parts))
classes = [("train/a/1.png", small), ("train/b/2.png", small), ("val/a/3.png", grey)]
write("archive", "classes", tar(classes))
write("archive", "long-names", tar([("c" * 120 + "/1.png", small)], tarfile.GNU_FORMAT))
write("archive", "pax", tar([("k\u00e4tzchen/" + "d" * 110 + ".png", small)], tarfile.PAX_FORMAT))
write("archive", "gzipped", gzip.compress(tar(shard), mtime=0))
write("archive", "binary", tar([("x/data_batch_1.bin", bytes([3]) + bytes(3072))]))
write("classnames", "plain", b"cat\ndog, canis\n")
write("classnames", "indexed", b"0: cat\n1: dog\n")
write("classnames", "tabs", b"0\tn0\tcat, felis\n1\tn1\tdog\n")
info = {
    "network": {
        "channels": 1, "classes": 2, "width": 8, "blocks": [1], "blind": True,
        "zero_energy_head": True,
    },
    "data": {
        "name": "x", "channels": 1, "height": 8, "width": 8, "classes": ["a", "b"],
        "mean": 0.0, "std": 0.5,
    },
    "sigma": [0.02, 1.0],
    "training": {"steps": 0, "images": 0, "seed": 0, "loss_weights": [1.0, 1.0], "version": "0"},
}
metadata = {"miyasawa": "1", "info": json.dumps(info), "sha256": ""}
write("checkpoint", "empty", checkpoint([], metadata))
some = [("conv_in.weight", [8, 1, 3, 3]), ("class_head.bias", [2])]
write("checkpoint", "some", checkpoint(some, metadata))
intact = [
    ("stem.weight", [8, 1, 3, 3]),
    ("stages.0.0.conv1.weight", [8, 8, 3, 3]),
    ("stages.0.0.conv2.weight", [8, 8, 3, 3]),
    ("stages.0.0.norm.weight", [8]),
    ("stages.0.0.norm.bias", [8]),
    ("class_head.weight", [2, 8]),
    ("class_head.bias", [2]),
    ("energy_head.weight", [1, 8]),
]
write("checkpoint", "whole", checkpoint(intact, metadata))
write("config", "one", b'seed = 1\n[data]\ntrain = "cifar10"\nsize = [8, 8]\n'
      b'fit = "resize_crop"\nstream = "always"\n'
      b"[augment]\nflip = true\nresized_crop = [0.08, 1.0]\n[network]\nblocks = [1, 2]\n")
write("config", "two", b'[optimizer]\nname = "sgd"\nlr = 1e-3\n[eval]\nsigmas = [0.1, 1]\n'
      b'[loss]\ndsm = "both"\n'
      b'[noise]\ndistribution = "log-normal"\nmin = 0.01\n[schedule]\nsteps = 10\nepochs = 0.5\n')
