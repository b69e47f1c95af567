#!/usr/bin/env python3
"""Prints the numbers that the test of crates/miyasawa/src/metrics/detection.rs holds.

They are those of scikit-learn.
"""

import numpy as np
import sklearn
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

print("scikit-learn", sklearn.__version__)
inside = [(17 * i * i + 5 * i) % 41 for i in range(60)]
outside = [(11 * i * i + 3 * i) % 37 - 6 for i in range(45)]
labels, scores = np.r_[np.ones(60), np.zeros(45)], np.r_[inside, outside]
fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)
print(
    f"({roc_auc_score(labels, scores):.12f}, {average_precision_score(labels, scores):.12f}, "
    f"{fpr[np.argmax(tpr >= 0.95)]:.12f})"
)
