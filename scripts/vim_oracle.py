#!/usr/bin/env python3
"""Prints the numbers that the test of crates/miyasawa/src/ood/vim.rs holds.

They follow Wang et al. 2022 step by step: the pseudo-inverse, the covariance around the origin and
its eigenvectors are NumPy's.
"""

import numpy as np


def values(count: int, factor: int, modulus: int) -> np.ndarray:
    return np.array([(factor * i * i + 3 * i) % modulus / 8 - 2 for i in range(count)])


print("NumPy", np.__version__)
IMAGES, WIDTH, CLASSES, DIMENSIONS = 20, 6, 3, 2
training = values(IMAGES * WIDTH, 7, 41).reshape(IMAGES, WIDTH)
others = values(4 * WIDTH, 13, 37).reshape(4, WIDTH)
weight = values(CLASSES * WIDTH, 5, 29).reshape(CLASSES, WIDTH)
bias = values(CLASSES, 11, 23)

origin = -np.linalg.pinv(weight) @ bias
centred = training - origin
eigenvalues, vectors = np.linalg.eigh(centred.T @ centred / IMAGES)
outside = vectors[:, np.argsort(-eigenvalues)[DIMENSIONS:]]


def logits(features: np.ndarray) -> np.ndarray:
    return features @ weight.T + bias


def residual(features: np.ndarray) -> np.ndarray:
    return np.linalg.norm((features - origin) @ outside, axis=1)


alpha = logits(training).max(axis=1).mean() / residual(training).mean()
largest = logits(others).max(axis=1)
log_sum = largest + np.log(np.exp(logits(others) - largest[:, None]).sum(axis=1))
scores = log_sum - alpha * residual(others)
print(f"alpha {alpha:.12f}")
print("scores", ", ".join(f"{score:.12f}" for score in scores))
