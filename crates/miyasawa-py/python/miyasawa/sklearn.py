"""An estimator for scikit-learn: ``miyasawa.sklearn.MiyasawaClassifier()``."""

from __future__ import annotations

import pathlib
import tempfile
from typing import Any, Dict, Optional, Tuple

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets, unique_labels
from sklearn.utils.validation import check_is_fitted, validate_data

from . import _train
from ._model import Model


class MiyasawaClassifier(ClassifierMixin, BaseEstimator):
    """A joint model that is trained from rows of numbers: ``fit``, ``predict``, ``predict_proba``,
    ``score``.

    Rows are images (channels, height, width) that were flattened, as in ``load_digits``. Without a
    shape, a row of a square number of values is a square grey image, and any other an image of one
    row. Every column is mapped from its smallest to its largest value of the training to [-1, 1]
    (``scale='column'``), or all values with one map (``scale='all'``), and stored with 8 bits.

    Args:
        image_shape: (height, width), or (channels, height, width).
        steps: training steps.
        width: channels of the first stage.
        blocks: residual blocks of each stage.
        batch: images of a step.
        lr: the largest learning rate; without it, that of the default configuration.
        scale: 'all' or 'column'.
        config: more settings, as of ``miyasawa.train``.
        random_state: the seed, a whole number; without it 0.

    Attributes:
        classes_: the labels.
        model_: the trained ``miyasawa.Model``, which also denoises.
        result_: the document of the training.
    """

    def __init__(
        self,
        image_shape: Optional[Tuple[int, ...]] = None,
        steps: int = 400,
        width: int = 16,
        blocks: Tuple[int, ...] = (1, 1),
        batch: int = 64,
        lr: Optional[float] = None,
        scale: str = "all",
        config: Optional[Dict[str, Any]] = None,
        random_state: Optional[int] = None,
    ):
        self.image_shape = image_shape
        self.steps = steps
        self.width = width
        self.blocks = blocks
        self.batch = batch
        self.lr = lr
        self.scale = scale
        self.config = config
        self.random_state = random_state

    def _shape(self) -> Tuple[int, int, int]:
        count = self.n_features_in_
        if self.image_shape is None:
            side = int(round(count**0.5))
            return (1, side, side) if side * side == count else (1, 1, count)
        shape = tuple(int(n) for n in self.image_shape)
        shape = (1, *shape) if len(shape) == 2 else shape
        if len(shape) != 3 or int(np.prod(shape)) != count:
            raise ValueError(f"image_shape is {self.image_shape}, expected {count} values")
        return shape

    def _images(self, X: np.ndarray) -> np.ndarray:
        span = np.where(self.high_ > self.low_, self.high_ - self.low_, 1.0)
        share = np.clip((X - self.low_) / span, 0.0, 1.0)
        return np.round(255 * share).astype(np.uint8).reshape(len(X), *self._shape())

    def fit(self, X: Any, y: Any) -> "MiyasawaClassifier":
        """Trains on rows ``X`` (n, values) and labels ``y`` (n,)."""
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        if self.scale not in ("all", "column"):
            raise ValueError(f"scale is {self.scale!r}, expected 'all' or 'column'")
        self.classes_ = unique_labels(y)
        axis = 0 if self.scale == "column" else None
        self.low_, self.high_ = X.min(axis), X.max(axis)
        images, labels = self._images(X), np.searchsorted(self.classes_, y)
        if len(self.classes_) == 1:
            # Nothing to tell apart, nothing to train.
            self.model_, self.result_ = None, {}
            return self
        config = {
            "network": {"width": self.width, "blocks": list(self.blocks)},
            "schedule.steps": self.steps,
            "schedule.batch": min(self.batch, len(X)),
            # Once, at the end: figures of every epoch of a small set would take longer than it.
            "eval.every": self.steps,
            "eval.sigmas": [0.1],
            "seed": int(self.random_state or 0),
            **({} if self.lr is None else {"optimizer.lr": self.lr}),
            **(self.config or {}),
        }
        with tempfile.TemporaryDirectory(prefix="miyasawa-") as folder:
            self.result_ = _train.train(
                config,
                (images, labels),
                # What is held out is only reported: the rows are few, and all are wanted.
                test=(images[:256], labels[:256]),
                classes=list(map(str, range(len(self.classes_)))),
                out=folder,
                layout="channels_first",
            )
            self.checkpoint_ = (pathlib.Path(folder) / "model.safetensors").read_bytes()
        self.model_ = self._load()
        return self

    def _load(self) -> Model:
        with tempfile.TemporaryDirectory(prefix="miyasawa-") as folder:
            path = pathlib.Path(folder) / "model.safetensors"
            path.write_bytes(self.checkpoint_)
            return Model(path)

    def __getstate__(self):
        state = super().__getstate__().copy()
        # It is read again from the checkpoint, which is a part of the estimator.
        state.pop("model_", None)
        return state

    def __setstate__(self, state):
        super().__setstate__(state)
        if "classes_" in state:
            self.model_ = self._load() if len(self.classes_) > 1 else None

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probabilities of the classes: (n, classes)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        if self.model_ is None:
            return np.ones((len(X), 1))
        found = self.model_.probabilities(self._images(X), layout="channels_first")
        found = found.reshape(len(X), -1).astype(np.float64)
        return found / found.sum(1, keepdims=True)

    def predict(self, X: Any) -> np.ndarray:
        """The most probable labels: (n,)."""
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(1)]
