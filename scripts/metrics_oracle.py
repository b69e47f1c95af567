#!/usr/bin/env python3
"""Prints the numbers that the tests of crates/miyasawa/src/metrics hold.

They are those of NumPy and scikit-image.
"""

import numpy as np
import skimage
from skimage.metrics import structural_similarity

print("scikit-image", skimage.__version__)


def pair(channels, height, width):
    c, y, x = np.mgrid[0:channels, 0:height, 0:width]
    smooth = (7 * x + 5 * y + 40 * c) % 190 + 20
    rough = (13 * x * x + 29 * y * y + 17 * x * y + 3 * c) % 61
    return smooth / 127.5 - 1, (smooth + rough - 20) / 127.5 - 1


def direct_ssim(a, b):
    """By the definition, window by window; the largest odd window up to 11."""
    total = []
    for a, b in zip(a + 1, b + 1):
        r = min(5, (min(a.shape) - 1) // 2)
        g = np.exp(-np.arange(-r, r + 1) ** 2 / (2 * 1.5**2))
        w = np.outer(g, g) / g.sum() ** 2
        for y in range(r, a.shape[0] - r):
            for x in range(r, a.shape[1] - r):
                p, q = (v[y - r : y + r + 1, x - r : x + r + 1] for v in (a, b))
                mp, mq = (w * p).sum(), (w * q).sum()
                vp, vq = (w * (p - mp) ** 2).sum(), (w * (q - mq) ** 2).sum()
                cov = (w * (p - mp) * (q - mq)).sum()
                c1, c2 = 0.02**2, 0.06**2
                divisor = (mp**2 + mq**2 + c1) * (vp + vq + c2)
                total.append((2 * mp * mq + c1) * (2 * cov + c2) / divisor)
    return np.mean(total)


for shape in [(1, 32, 32), (3, 32, 32), (3, 12, 20), (1, 11, 11)]:
    a, b = pair(*shape)
    value = structural_similarity(
        a + 1,
        b + 1,
        data_range=2,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        channel_axis=0,
    )
    assert abs(value - direct_ssim(a, b)) < 1e-9
    print(f"SSIM {shape}: {value:.9f}")
for shape in [(1, 7, 9), (1, 8, 8), (3, 2, 5)]:
    print(f"SSIM {shape}: {direct_ssim(*pair(*shape)):.9f} (direct sum)")

i, c = np.mgrid[0:40, 0:4]
logits = ((13 * i * i + 7 * i * c + 5 * c * c) % 17) / 4
labels = (3 * np.arange(40)) % 4
p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
best = p.argmax(1)
confidence, correct = p.max(1), best == labels
ece = 0.0
edges = np.linspace(0, 1, 16)
for low, high in zip(edges[:-1], edges[1:]):
    inside = (confidence > low) & (confidence <= high)
    if inside.any():
        ece += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
print("accuracy", correct.mean())
print(f"NLL {-np.log(p[np.arange(40), labels]).mean():.9f}")
print(f"ECE {ece:.9f}")
print(f"Brier {((p - np.eye(4)[labels]) ** 2).sum(1).mean():.9f}")
