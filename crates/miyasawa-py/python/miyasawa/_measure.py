"""The commands that measure, with their documents as dictionaries."""

from __future__ import annotations

import os
from typing import Any, Callable, Dict, List, Optional, Union

from . import _miyasawa
from ._arrays import as_argument
from ._model import Model, load
from .errors import UsageError

Watch = Optional[Callable[[str, float], Any]]
AnyModel = Union[None, str, os.PathLike, Model]


def _options(options: Dict[str, Any]) -> List[str]:
    """``max_broken=3, sigmas=[0.1, 0.2], stored=True`` as options of the command line."""
    args: List[str] = []
    for name, value in options.items():
        if name in ("help", "version", "data", "model"):
            raise UsageError(f"no option is called {name}")
        option = "--" + name.rstrip("_").replace("_", "-")
        if value is None or value is False:
            continue
        if value is True:
            args.append(option)
        elif isinstance(value, (str, os.PathLike)):
            args += [option, os.fspath(value)]
        elif hasattr(value, "__iter__"):
            args += [option, ",".join(map(str, value))]
        else:
            args += [option, str(value)]
    return args


def _measure(
    command: str, model: AnyModel, data: Any, watch: Watch, layout: Optional[str], options: Dict
) -> Dict[str, Any]:
    if watch is not None and not callable(watch):
        raise UsageError(f"watch is {watch!r}, expected a function")
    model = model if isinstance(model, Model) else load(model)
    with as_argument(data, model.classes, layout) as argument:
        args = ["miyasawa", command, *model._source(), "--data", argument, *_options(options)]
        found = _miyasawa.document(args, watch)
    if not isinstance(data, (str, os.PathLike)):
        found["data"] = "arrays"
    return found


def evaluate(
    model: AnyModel, data: Any, *, watch: Watch = None, layout: Optional[str] = None, **options: Any
) -> Dict[str, Any]:
    """A row for every noise level: accuracy, NLL (nats), ECE, PSNR (dB, peak-to-peak range 2) and
    SSIM of ``D(y)``, and the PSNR of ``D(y, true class)``; ``pandas.DataFrame(found["rows"])``.

    Args:
        model: a ``Model``, or what ``load`` takes.
        data: ``(images, labels)`` in arrays (labels are numbers in the order of ``model.classes``,
            or names), or what the command line takes: a path, or a name such as ``'digits'``.
        watch: called with the task and the share that is done, 0 to 1.
        options: those of ``miyasawa eval``: ``sigmas=[0.1, 0.2]``, ``limit=500``, ``seed=0``, ..

    Returns:
        The document of ``miyasawa eval --json``.

    Raises:
        UsageError: an option or the data does not fit the model.
    """
    return _measure("eval", model, data, watch, layout, options)


def attack(
    model: AnyModel, data: Any, *, watch: Watch = None, layout: Optional[str] = None, **options: Any
) -> Dict[str, Any]:
    """Robust accuracy for every size, with the standard attacks.

    Args:
        model, data, watch: as of ``evaluate``.
        options: those of ``miyasawa attack``: ``norm='l2'``, ``eps=[0.25]`` (in units of the [0, 1]
            range), ``method='pgd'`` or ``'autoattack'``, ``steps=20``, ``limit=500``, ..

    Returns:
        The document of ``miyasawa attack --json``: ``rows`` with ``eps`` and ``robust_accuracy``.
    """
    return _measure("attack", model, data, watch, layout, options)


def certify(
    model: AnyModel, data: Any, *, watch: Watch = None, layout: Optional[str] = None, **options: Any
) -> Dict[str, Any]:
    """Radii within which randomised smoothing guarantees the class.

    Args:
        model, data, watch: as of ``evaluate``.
        options: those of ``miyasawa certify``: ``sigma=0.25``, ``n=1000``, ``limit=100``, ..

    Returns:
        The document of ``miyasawa certify --json``: ``rows`` and ``certificates``.
    """
    return _measure("certify", model, data, watch, layout, options)


def calibrate(
    model: AnyModel, data: Any, *, watch: Watch = None, layout: Optional[str] = None, **options: Any
) -> Dict[str, Any]:
    """Temperatures that make probabilities fit frequencies, and the errors before and after.

    Args:
        model, data, watch: as of ``evaluate``.
        options: those of ``miyasawa calibrate``: ``sigmas=[0.02]``, ``limit=1000``, ..

    Returns:
        The document of ``miyasawa calibrate --json``.
    """
    return _measure("calibrate", model, data, watch, layout, options)


def ood(
    model: AnyModel, data: Any, *, watch: Watch = None, layout: Optional[str] = None, **options: Any
) -> Dict[str, Any]:
    """How well scores of the model tell the images of a set from others.

    Args:
        model, data, watch: as of ``evaluate``.
        options: those of ``miyasawa ood``: ``out_data`` (a path or a name) are the others,
            ``reference`` the training images that kNN and ViM compare with, ..

    Returns:
        The document of ``miyasawa ood --json``.
    """
    return _measure("ood", model, data, watch, layout, options)
