"""Training from Python."""

from __future__ import annotations

import json
import os
from typing import Any, Callable, Dict, List, Optional, Sequence, Union

from . import _miyasawa
from ._arrays import Labelled, labelled
from ._images import is_path
from .errors import UsageError

Config = Union[None, str, os.PathLike, Dict[str, Any]]


def _toml(value: Any) -> str:
    """A value in TOML: numbers, truth values, texts and lists of them are written as in JSON."""
    if isinstance(value, dict):
        # Keys with dots, such as names of parameters, are one key each.
        entries = (f"{json.dumps(str(key))} = {_toml(one)}" for key, one in value.items())
        return "{ " + ", ".join(entries) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if is_path(value):
        return json.dumps(os.fspath(value), ensure_ascii=False)
    if hasattr(value, "tolist"):
        return _toml(value.tolist())
    try:
        return json.dumps(value)
    except (TypeError, ValueError):
        kind = type(value).__name__
        raise UsageError(f"a setting of type {kind}, expected a number, a text or a list") from None


def _settings(config: Dict[str, Any], prefix: str = "") -> List[str]:
    """A nested dictionary as settings ``key=value`` in TOML. None leaves a setting out."""
    found = []
    for key, value in config.items():
        names_parameters = isinstance(value, dict) and any("." in str(one) for one in value)
        if isinstance(value, dict) and not names_parameters:
            found += _settings(value, f"{prefix}{key}.")
        elif value is not None:
            found.append(f"{prefix}{key}={_toml(value)}")
    return found


def train(
    config: Config = None,
    data: Any = None,
    *,
    out: Union[str, os.PathLike],
    test: Any = None,
    classes: Optional[Sequence[str]] = None,
    resume: bool = False,
    callback: Optional[Callable[[Dict[str, Any]], Any]] = None,
    device: str = "cpu",
    layout: Optional[str] = None,
) -> Dict[str, Any]:
    """Trains a model, as ``miyasawa train`` does: the same data, configuration and seed give the
    same bytes of weights.

    Args:
        config: a TOML file, or a dictionary of settings, nested or with dots:
            ``{"network": {"width": 32}, "schedule.steps": 1000}``. Without it the defaults; None
            leaves a setting at its default.
        data: ``(images, labels)`` in arrays (see ``Model``; floats are rounded to 8 bits), or a
            path or name as ``data.train`` takes it. Without it, what the configuration says.
        out: the folder of the run, which gets ``model.safetensors``, checkpoints and logs.
        test: as ``data``, to evaluate on; of arrays without it, a tenth of the data is held out.
        classes: the names of the classes of arrays; by default the labels themselves.
        resume: go on with the run in ``out``, and give the same bytes as an uninterrupted run.
        callback: called with a dictionary for every step (``event`` is ``'step'``; ``loss``,
            ``ce``, ``dsm``, ``accuracy``, ``lr``, ``images_per_second``, ..), evaluation
            (``rows``) and rollback; the run waits for it. If it returns True, the run
            ends with a checkpoint.

    Returns:
        The document of ``miyasawa train --json``: ``model`` (the path), ``complete``, ``steps``,
        ``rows`` (the last evaluation), ``best``.

    Raises:
        UsageError: the configuration or the data is wrong.
        TrainingError: the run could not go on.
        KeyboardInterrupt: Ctrl-C, after a checkpoint; ``resume=True`` goes on.
    """
    if callback is not None and not callable(callback):
        raise UsageError(f"callback is {callback!r}, expected a function")
    path, settings = None, []
    if isinstance(config, dict):
        settings = _settings(config)
    elif isinstance(config, (str, os.PathLike)):
        path = os.fspath(config)
    elif config is not None:
        kind = type(config).__name__
        raise UsageError(f"a value of type {kind}, expected a path or a dictionary")
    arrays: List[Optional[Labelled]] = []
    names = classes
    for key, given in (("data.train", data), ("data.test", test)):
        if given is None or is_path(given):
            settings += [] if given is None else [f"{key}={_toml(given)}"]
            arrays.append(None)
            continue
        found = labelled(given, names, layout)
        names = found.classes
        arrays.append(found)
    run = os.fspath(out)
    learned, tested = arrays
    return _miyasawa.train(path, settings, run, resume, device, learned, tested, callback)
