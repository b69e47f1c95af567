#!/usr/bin/env python3
"""Prints the numbers that the test of crates/miyasawa/src/certify/bounds.rs holds, from SciPy."""

import scipy
from scipy.stats import beta, binomtest, norm

print("SciPy", scipy.__version__)
CASES = [
    (99, 100, 1e-3),
    (10_000, 10_000, 1e-3),
    (0, 100, 1e-3),
    (5_200, 10_000, 1e-3),
    (55, 100, 0.05),
]
for hits, n, alpha in CASES:
    low = beta.ppf(alpha, hits, n - hits + 1) if hits else 0.0
    high = beta.ppf(1 - alpha, hits + 1, n - hits) if hits < n else 1.0
    print(f"({hits}, {n}, {alpha}, {low:.9f}, {high:.12f}),")
for p in [0.5, 0.975, 0.999309463, 0.1]:
    print(f"({p}, {norm.ppf(p):.9f})")
print(f"{binomtest(60, 100).pvalue:.9f}")
