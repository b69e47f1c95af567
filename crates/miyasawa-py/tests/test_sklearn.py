"""The estimator for scikit-learn."""

import pickle

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn")
from sklearn.base import clone  # noqa: E402
from sklearn.datasets import load_digits  # noqa: E402
from sklearn.utils.estimator_checks import estimator_checks_generator  # noqa: E402

from miyasawa.sklearn import MiyasawaClassifier  # noqa: E402


def test_digits_are_learned():
    X, y = load_digits(return_X_y=True)
    names = np.array([f"number {label}" for label in y])
    estimator = MiyasawaClassifier(steps=150, random_state=1)
    estimator.fit(X[:1200], names[:1200])
    assert estimator.score(X[1200:], names[1200:]) > 0.85
    probabilities = estimator.predict_proba(X[1200:1300])
    assert probabilities.shape == (100, 10)
    np.testing.assert_allclose(probabilities.sum(1), 1)
    assert estimator.classes_[3] == "number 3"
    again = pickle.loads(pickle.dumps(estimator))
    assert (again.predict_proba(X[1200:1300]) == probabilities).all()
    # The same model removes noise.
    assert estimator.model_.can_denoise


# What the checks ask of the estimator's parameters: small sets, few steps.
SMALL = MiyasawaClassifier(steps=60, width=8, blocks=(1,), scale="column", random_state=0)


@pytest.mark.parametrize(
    "check",
    [check for _, check in estimator_checks_generator(SMALL)],
    ids=lambda check: getattr(check, "func", check).__name__,
)
def test_the_checks_of_scikit_learn(check):
    check(clone(SMALL))
