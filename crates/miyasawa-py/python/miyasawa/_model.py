"""Models on arrays, tensors, images of Pillow and files."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

import numpy as np

from . import _miyasawa
from ._images import is_path, prepare, prepare_all
from .errors import UsageError

Noise = Union[float, str]


def bundled() -> List[str]:
    """The names of the bundled models, for ``load``."""
    return _miyasawa.bundled()


def load(
    path: Union[None, str, os.PathLike] = None,
    *,
    device: str = "cpu",
    threads: Optional[int] = None,
    bf16: bool = False,
    views: int = 1,
) -> "Model":
    """A model that is ready to use.

    Args:
        path: a checkpoint (``model.safetensors`` of a run), or the name of a bundled model (see
            ``bundled``; a file of that name is ``./NAME``). Without it, the bundled model of
            CIFAR-10's ten classes.
        device: ``cpu``; others if the package was built for them.
        threads: threads on the CPU; without it, one for each core.
        bf16: round the operands of the convolutions to bfloat16: about twice as fast where the
            processor has such instructions.
        views: the mean over 2, 4 or 8 mirrored and turned views of each image: as many times as
            long, and about 0.1 dB better.

    Raises:
        CheckpointError: the file is not a checkpoint.
    """
    return Model(path, device=device, threads=threads, bf16=bf16, views=views)


def _number(value: Any, name: str, expected: str = "a number") -> float:
    """A number; of NumPy and PyTorch too."""
    try:
        if not isinstance(value, str):
            return float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        pass
    raise UsageError(f"{name} is {value!r}, expected {expected}")


def _count(value: Any, name: str) -> Optional[int]:
    """A whole number of at least 1, or None."""
    if value is None:
        return None
    whole = hasattr(value, "__index__") and not isinstance(value, bool)
    if not whole or not 1 <= value < 2**32:
        raise UsageError(f"{name} is {value!r}, expected a whole number of at least 1")
    return int(value)


def _noise(noise: Noise) -> Tuple[Optional[float], bool]:
    """A level, and whether it is estimated."""
    if isinstance(noise, str) and noise in ("clean", "auto"):
        return None, noise == "auto"
    return _number(noise, "noise", "a number, 'clean' or 'auto'"), False


def _strength(strength: Any) -> Optional[Tuple[float, float]]:
    """Of the luma and of the colour; a number below 1 is that of the luma alone."""
    if strength is None:
        return None
    expected = "a number, or two: of the luma and of the colour"
    if isinstance(strength, (list, tuple)):
        if len(strength) != 2:
            raise UsageError(f"strength is {strength!r}, expected {expected}")
        luma, chroma = (_number(one, "strength", expected) for one in strength)
        return luma, chroma
    luma = _number(strength, "strength", expected)
    return luma, max(1.0, luma)


class Model:
    """A trained model: made by ``load``, or from a path.

    What its methods take as images:

    ==========================  =================================================================
    an array, uint8 or uint16   (height, width), (height, width, channels), or a batch (images,
                                height, width, channels)
    an array of floats          values in [-1, 1]: (height, width), (channels, height, width), or
                                a batch (images, channels, height, width)
    a tensor of PyTorch         on the CPU, channels first, floats in [-1, 1] or uint8
    an image of Pillow          opacity is kept
    a path                      a file; images come back as arrays of its depth
    a list of these             of any sizes; a list comes back
    ==========================  =================================================================

    ``layout='channels_first'`` or ``'channels_last'`` says otherwise where it is not so. There are
    1 or 3 channels. Images come back as what was given. One image gives the numbers of the command
    line to the last bit; images of a batch share forward passes, which rounds differently.

    The interpreter is free during the work, and Ctrl-C ends it. A model may be shared by threads.
    """

    def __init__(
        self,
        path: Union[None, str, os.PathLike] = None,
        *,
        device: str = "cpu",
        threads: Optional[int] = None,
        bf16: bool = False,
        views: int = 1,
    ):
        if path is not None and not is_path(path):
            raise UsageError(f"a value of type {type(path).__name__}, expected a path or a name")
        name = None
        if isinstance(path, str) and path in bundled():
            path, name = None, path
        self._init(path, name, device, threads, bf16, views)

    def _init(self, path, name, device, threads, bf16, views):
        threads, views = _count(threads, "threads"), _count(views, "views") or 1
        self._made = (path, name, str(device), threads, bool(bf16), views)
        self._model = _miyasawa.Model(*self._made)

    def __getstate__(self):
        return self._made

    def __setstate__(self, made):
        # Read again: worker processes of joblib and the like get a model by its path.
        self._init(*made)

    def __repr__(self) -> str:
        return f"<miyasawa.Model {self.name!r}: {self.kind}, {len(self.classes)} classes>"

    @property
    def name(self) -> str:
        """The path of the checkpoint, or what the bundled model is called."""
        return self._model.name

    @property
    def sha256(self) -> str:
        """The hash of the checkpoint's content."""
        return self._model.sha256

    @property
    def kind(self) -> str:
        """The kind of network, such as ``gradresnet``, the joint model."""
        return self._model.kind

    @property
    def classes(self) -> List[str]:
        """The names of the classes in the order of their numbers."""
        return self._model.classes

    @property
    def shape(self) -> Tuple[int, int, int]:
        """Channels, height and width of the images that it was trained on. Images of other sizes
        are resized to classify them, and denoised at their own size."""
        return self._model.shape

    @property
    def noise_levels(self) -> Tuple[float, float]:
        """The smallest and largest noise level of the training, in units of the [-1, 1] range."""
        return self._model.noise_levels

    @property
    def can_classify(self) -> bool:
        """Whether it was trained to classify."""
        return self._model.can_classify

    @property
    def can_denoise(self) -> bool:
        """Whether it was trained to denoise."""
        return self._model.can_denoise

    @property
    def info(self) -> Dict[str, Any]:
        """What the checkpoint says besides the parameters: network, data, levels, training."""
        return self._model.info

    def class_index(self, which: Union[int, str]) -> int:
        """The number of a class, given by its name or number.

        Raises:
            UsageError: there is none.
        """
        return self._model.class_index(str(which))

    def _source(self) -> List[str]:
        """The model as arguments of the command line."""
        path, name, device, threads, bf16, views = self._made
        if bf16:
            raise UsageError("a model in bfloat16, expected one in float32")
        if views > 1:
            raise UsageError(f"a model of {views} views, expected one")
        args = [os.fspath(path)] if path is not None else ["--model", name or "cifar10"]
        args += ["--device", device]
        return args + (["--threads", str(threads)] if threads is not None else [])

    def classify(
        self,
        images: Any,
        noise: Noise = "clean",
        *,
        top: Optional[int] = None,
        layout: Optional[str] = None,
    ) -> Union[Dict[str, Any], List[Dict[str, Any]]]:
        """The probabilities of all classes, ``p(c | y)``, the most probable first.

        Args:
            images: see ``Model``. They are resized and converted to the model's shape.
            noise: their noise level, ``'clean'``, or ``'auto'`` to estimate it of each.
            top: only so many classes.

        Returns:
            ``{"sigma": level, "classes": [{"class": name, "index": number, "probability": p}]}``,
            the document of the command line; a list of them for a batch or a list.
        """
        inputs, many = prepare_all(images, layout)
        top = _count(top, "top")
        found = self._model.classify([one.source for one in inputs], *_noise(noise), top)
        return found if many or not inputs[0].single else found[0]

    def probabilities(
        self, images: Any, noise: Noise = "clean", *, layout: Optional[str] = None
    ) -> np.ndarray:
        """As ``classify``, as an array (images, classes) of float32 in the order of ``classes``; of
        one image an array (classes,)."""
        inputs, many = prepare_all(images, layout)
        found = self._model.probabilities([one.source for one in inputs], *_noise(noise))
        return found if many or not inputs[0].single else found[0]

    def denoise(
        self,
        images: Any,
        noise: Noise = "auto",
        *,
        strength: Union[None, float, Tuple[float, float]] = None,
        with_sigma: bool = False,
        layout: Optional[str] = None,
    ) -> Any:
        """The images without their noise: ``D(y) = y + sigma^2 grad log p(y)``.

        Args:
            images: see ``Model``; of any size.
            noise: the standard deviation of the noise, in units of the [-1, 1] range (25 of 255 is
                ``25 / 127.5``), or ``'auto'`` to estimate it of each image.
            strength: how much of the noise is removed, of the luma and of the colour; 1 is all.
                A number below 1 is that of the luma alone.
            with_sigma: also return the noise levels.

        Returns:
            What was given, denoised. Floats are not clipped to [-1, 1]. With ``with_sigma`` also
            the level, or a list of levels.
        """
        return self._denoise(images, noise, None, strength, with_sigma, layout)

    def class_conditional(
        self,
        images: Any,
        label: Union[int, str],
        noise: Noise = "auto",
        *,
        with_sigma: bool = False,
        layout: Optional[str] = None,
    ) -> Any:
        """``D(y, c)``: the images without their noise, where their class is known. As ``denoise``.

        Args:
            label: the class, by its name or number.
        """
        return self._denoise(images, noise, self.class_index(label), None, with_sigma, layout)

    def _denoise(self, images, noise, label, strength, with_sigma, layout):
        inputs, many = prepare_all(images, layout)
        sources = [one.source for one in inputs]
        arrays, sigmas = self._model.denoise(sources, _noise(noise), label, _strength(strength))
        found = [one.back(array) for one, array in zip(inputs, arrays)]
        found = found if many else found[0]
        if not with_sigma:
            return found
        return found, (sigmas if many or not inputs[0].single else sigmas[0])

    def score(self, images: Any, noise: float, *, layout: Optional[str] = None) -> Any:
        """The score ``grad_y log p(y)`` at a noise level, at the images' own size.

        Returns:
            Floats of the layout of what was given, per unit of the [-1, 1] range:
            ``y + noise**2 * score`` is the plain ``D(y)``.
        """
        inputs, many = prepare_all(images, layout)
        arrays = self._model.score([one.source for one in inputs], _number(noise, "noise"))
        found = [one.back(array) for one, array in zip(inputs, arrays)]
        return found if many else found[0]

    def log_prob(
        self, images: Any, noise: float, *, layout: Optional[str] = None
    ) -> Union[float, np.ndarray]:
        """``log p(y)`` in nats at a noise level, up to a constant that is the same for all images
        at that level. The images are resized to the model's size.

        Returns:
            A number, or an array (images,) of float64.
        """
        inputs, many = prepare_all(images, layout)
        found = self._model.log_prob([one.source for one in inputs], _number(noise, "noise"))
        return found if many or not inputs[0].single else float(found[0])

    def explain(
        self,
        image: Any,
        label: Union[int, str, Sequence[Union[int, str]]],
        noise: float = 0.2,
        *,
        layout: Optional[str] = None,
    ) -> Union[Dict[str, Any], List[Dict[str, Any]]]:
        """What speaks for a class: ``D(y, c) - D(y)``, which is ``sigma^2 grad log p(c | y)``.

        Args:
            image: one image; it is resized to the model's size.
            label: a class by its name or number, or a list of classes.
            noise: the level that the model is conditioned on.

        Returns:
            The document of the command line, with the images: ``class``, ``label``, ``sigma``,
            ``probability``, ``probs``, ``relative_error`` (how well the identity holds),
            ``denoised``, ``class_denoised``, and as floats of the [-1, 1] range ``difference`` and
            ``gradient``. A list of them for a list of classes.
        """
        many = isinstance(label, (list, tuple))
        named: Any = label if many else [label]
        labels = [self.class_index(one) for one in named]
        given = prepare(image, layout)
        if not given.single:
            raise UsageError("a batch of images, expected one image")
        found = self._model.explain(given.source, labels, _number(noise, "noise"))
        for one in found:
            for name in ("denoised", "class_denoised", "difference", "gradient"):
                one[name] = given.back(one[name])
        return found if many else found[0]

    def estimate_noise(
        self, images: Any, *, layout: Optional[str] = None
    ) -> Union[float, List[float]]:
        """The noise levels that ``noise='auto'`` finds, in units of the [-1, 1] range."""
        inputs, many = prepare_all(images, layout)
        found = self._model.estimate_noise([one.source for one in inputs])
        return found if many or not inputs[0].single else found[0]
