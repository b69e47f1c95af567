#!/usr/bin/env python3
"""Prints the numbers that the tests of crates/miyasawa/src/metrics/interval.rs hold, from SciPy."""

import numpy as np
import scipy
from scipy.optimize import brentq
from scipy.stats import binom, binomtest, norm

print("SciPy", scipy.__version__)
for hits, n in [(88, 100), (0, 100), (50, 50), (1, 7), (4437, 5000)]:
    ci = binomtest(hits, n).proportion_ci(0.95, method="wilson")
    print(f"            ({hits}, {n}, [{ci.low:.12f}, {ci.high:.12f}]),")

Z = norm.ppf(0.975)


def variance(a, more_in, more_out, pairs):
    """Hanley & McNeil 1982, eq. 1."""
    q1, q2 = a / (2 - a), 2 * a * a / (1 + a)
    return max((a * (1 - a) + more_in * (q1 - a * a) + more_out * (q2 - a * a)) / pairs, 0.0)


# The first is Hanley and McNeil's own example: 0.893 of 51 abnormal and 58 normal images.
for a, m, n in [(0.893, 51, 58), (0.5, 100, 100), (1.0, 100, 100), (0.2, 30, 60)]:
    error = np.sqrt(variance(a, m - 1, n - 1, m * n))
    more = (m + n) / 2 - 1

    def gap(x):
        return abs(a - x) - Z * np.sqrt(variance(x, more, more, m * n))

    low = 0.0 if a == 0 else brentq(gap, 1e-12, a - 1e-9, xtol=1e-14)
    high = 1.0 if a == 1 else brentq(gap, a + 1e-9, 1 - 1e-12, xtol=1e-14)
    print(f"            ({a}, {m}, {n}, {error:.12f}, [{low:.12f}, {high:.12f}]),")

for n, p in [(1, 0.9), (7, 0.5), (50, 0.93), (200, 0.999)]:
    k = np.arange(n + 1)
    gap = abs(k - n * p)
    mean = (gap * binom.pmf(k, n, p)).sum()
    deviation = np.sqrt((gap**2 * binom.pmf(k, n, p)).sum() - mean**2)
    print(f"            ({n}, {p}, [{mean:.12f}, {deviation:.12f}]),")
