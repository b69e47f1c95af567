"""What SciPy and Pillow compute for the test of image/corruption/tests.rs.

pip install numpy scipy pillow; python scripts/corruptions_oracle.py
"""

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter, zoom

y, x = np.mgrid[0:9, 0:9]
plane = ((7 * y + 3 * x * x) % 11) / 11.0


def clipped_zoom(image, factor):
    """The centre of a square image, magnified: as the script of CIFAR-10-C describes it."""
    side = image.shape[0]
    part = int(np.ceil(side / factor))
    top = (side - part) // 2
    large = zoom(image[top : top + part, top : top + part], factor, order=1)
    trim = (large.shape[0] - side) // 2
    return large[trim : trim + side, trim : trim + side]


def show(name, values):
    print(name, ", ".join(f"{value:.6f}" for value in values[4]))


show("ZOOMED", clipped_zoom(plane, 1.75))
show("BLURRED", gaussian_filter(plane, 0.4, mode="nearest", truncate=4.0))
show("REFLECTED", gaussian_filter(plane, 1.5, mode="reflect", truncate=3.0))
pixels = ((37 * y * x + 11 * (9 * y + x)) % 256).astype(np.uint8)
small = Image.fromarray(pixels).resize((int(9 * 0.65), int(9 * 0.65)), Image.BOX)
print("PIXELATED", ", ".join(str(v) for v in np.asarray(small.resize((9, 9), Image.BOX)).ravel()))
