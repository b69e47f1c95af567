"""What callers give as images, as arrays of the extension, and the way back to the same kind."""

from __future__ import annotations

import os
from typing import Any, Callable, List, NamedTuple, Optional, Tuple

import numpy as np

from .errors import ImageError, UsageError

LAYOUTS = ("channels_first", "channels_last")


class Prepared(NamedTuple):
    """An input for the extension: an array (images, channels, height, width), or a path."""

    source: Any
    # Whether it is one image and not a batch.
    single: bool
    # An array (images, channels, height, width) as what the caller gave.
    back: Callable[[np.ndarray], Any]


def is_path(value: Any) -> bool:
    return isinstance(value, (str, os.PathLike))


def is_pillow(value: Any) -> bool:
    module = type(value).__module__.split(".")[0]
    return module == "PIL" and hasattr(value, "getbands")


def is_torch(value: Any) -> bool:
    return type(value).__module__.split(".")[0] == "torch" and hasattr(value, "detach")


def _array_of(value: Any) -> Tuple[np.ndarray, Callable[[np.ndarray], Any], bool]:
    """The array, the way back, and whether channels come first whatever the type."""
    if isinstance(value, np.ndarray):
        # Of a subclass, such as a matrix, the plain array: indices mean the same everywhere.
        return np.asarray(value), lambda array: array, False
    if is_torch(value):
        import torch

        if value.device.type != "cpu":
            raise UsageError(f"a tensor on {value.device}, expected one on the CPU: .cpu()")
        value = value.detach()
        dtype = value.dtype
        if dtype in (torch.bfloat16, torch.float16):
            value = value.float()

        def back(array: np.ndarray) -> Any:
            found = torch.from_numpy(np.ascontiguousarray(array))
            floats = dtype.is_floating_point and found.is_floating_point()
            return found.to(dtype) if floats else found

        return value.numpy(), back, True
    if hasattr(value, "__array_namespace__") and hasattr(value, "__dlpack__"):
        space = value.__array_namespace__()
        return np.from_dlpack(value), lambda array: space.asarray(array), True
    if hasattr(value, "__array__") or hasattr(value, "__dlpack__"):
        array = np.asarray(value) if hasattr(value, "__array__") else np.from_dlpack(value)
        return array, lambda array: array, False
    raise UsageError(
        f"a value of type {type(value).__name__}, expected an array, a tensor, an image of Pillow, "
        "a path, or a list of them"
    )


def _channels_axis(array: np.ndarray, first: bool, layout: Optional[str]) -> int:
    if layout is not None and layout not in LAYOUTS:
        raise UsageError(f"layout {layout!r}, expected one of {LAYOUTS}")
    if layout is not None:
        return 1 if layout == "channels_first" else 3
    return 1 if first or array.dtype.kind == "f" else 3


def _as_batch(array: np.ndarray, axis: int) -> Tuple[np.ndarray, bool, Callable]:
    """The array as (images, channels, height, width), whether it was one image, the way back."""
    shape = array.shape
    if array.ndim == 2:
        return array[None, None], True, lambda found: found[0, 0]
    if array.ndim == 3:
        batch = array[None]
        single = True
    elif array.ndim == 4:
        batch, single = array, False
    else:
        raise ImageError(f"an array of shape {shape}, expected two to four dimensions")
    if batch.shape[axis] not in (1, 3):
        names = "(channels, height, width)" if axis == 1 else "(height, width, channels)"
        raise ImageError(
            f"an array of shape {shape} and type {array.dtype}, expected {names} with 1 or 3 "
            "channels, or a batch of such; give layout='channels_first' or 'channels_last'"
        )
    if axis == 3:
        batch = batch.transpose(0, 3, 1, 2)

    def back(found: np.ndarray) -> np.ndarray:
        if axis == 3:
            found = np.ascontiguousarray(found.transpose(0, 2, 3, 1))
        return found[0] if single else found

    return batch, single, back


def _pillow(image: Any) -> Tuple[np.ndarray, Callable[[np.ndarray], Any]]:
    """The array (1, channels, height, width) of an image of Pillow, and the way back. Opacity is
    kept as it is."""
    from PIL import Image

    mode, alpha = image.mode, None
    if mode in ("LA", "RGBA"):
        alpha = image.getchannel("A")
        image = image.convert("L" if mode == "LA" else "RGB")
    elif mode == "1":
        image = image.convert("L")
    elif mode not in ("L", "RGB", "I;16"):
        image = image.convert("RGB")
    array = np.asarray(image)
    array = array[None, None] if array.ndim == 2 else array.transpose(2, 0, 1)[None]

    def back(found: np.ndarray) -> Any:
        planes = found[0]
        planes = planes[0] if len(planes) == 1 else np.ascontiguousarray(planes.transpose(1, 2, 0))
        if planes.dtype.kind == "f":
            # A score has values that no image of Pillow holds.
            return planes
        made = Image.fromarray(planes)
        if alpha is not None:
            made.putalpha(alpha)
        return made

    return array, back


def prepare(value: Any, layout: Optional[str] = None) -> Prepared:
    """An input for the extension. Without a copy where its memory is as the extension reads it:
    contiguous float32 values, channels first."""
    if is_path(value):
        return Prepared(os.fspath(value), True, lambda a: np.moveaxis(a[0], 0, -1))
    if is_pillow(value):
        array, to_pillow = _pillow(value)
        return Prepared(_plain(array), True, to_pillow)
    array, to_kind, first = _array_of(value)
    dtype = array.dtype
    batch, single, reshape = _as_batch(array, _channels_axis(array, first, layout))

    def back(found: np.ndarray) -> Any:
        found = reshape(found)
        if dtype.kind == "f" and found.dtype.kind == "f" and found.dtype != dtype:
            found = found.astype(dtype)
        return to_kind(found)

    return Prepared(_plain(batch), single, back)


def _plain(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind == "u" and array.dtype.itemsize <= 2:
        # In this machine's order of bytes.
        return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    if array.dtype.kind != "f":
        raise ImageError(
            f"values of type {array.dtype}, expected uint8, uint16, or floats in [-1, 1]"
        )
    return np.ascontiguousarray(array, dtype=np.float32)


def prepare_all(value: Any, layout: Optional[str]) -> Tuple[List[Prepared], bool]:
    """All inputs of a list, or the only one; and whether it was a list."""
    if isinstance(value, (list, tuple)):
        return [prepare(item, layout) for item in value], True
    return [prepare(value, layout)], False
