"""Writes the test images in formats that nothing in this project encodes.

Usage: test_images.py FOLDER

Needs Pillow and pillow-jxl-plugin from PyPI (13.0.0 and 1.3.7 made the committed files).
"""

import pathlib
import sys

import pillow_jxl  # noqa: F401 (registers the format)
from PIL import Image, ImageCms

out = pathlib.Path(sys.argv[1])
# Columns grow in red, rows in green, as tests/photographs.rs knows.
image = Image.new("RGB", (12, 9))
image.putdata([(20 * x, 25 * y, 90) for y in range(9) for x in range(12)])
exif = Image.Exif()
exif[0x010F] = "TestCam"
exif[0x0112] = 6
xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'
image.save(out / "colour.jxl", lossless=True, exif=exif.tobytes(), xmp=xmp)
image.save(out / "lossy.jxl", quality=90)
clear = image.convert("RGBA")
clear.putalpha(Image.linear_gradient("L").resize((12, 9)))
clear.save(out / "alpha.jxl", lossless=True)
image.convert("L").save(out / "grey.jxl", lossless=True)
