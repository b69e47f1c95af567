"""Labelled images in arrays, as data sets."""

from __future__ import annotations

import contextlib
import io
import os
import pathlib
import tarfile
import tempfile
from typing import Any, Iterator, List, NamedTuple, Optional, Sequence

import numpy as np

from ._images import is_path, prepare
from .errors import UsageError


class Labelled(NamedTuple):
    """Images in bytes (images, channels, height, width), numbers of classes, and their names."""

    images: np.ndarray
    labels: np.ndarray
    classes: List[str]


def as_bytes(images: Any, layout: Optional[str] = None) -> np.ndarray:
    """A batch in bytes, channels first: sets hold 8 bits. Floats in [-1, 1] are rounded to them."""
    given = prepare(images, layout)
    array = given.source
    if given.single or not isinstance(array, np.ndarray):
        raise UsageError("expected a batch of images: an array (images, ..)")
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.uint16:
        return np.ascontiguousarray((array / 257.0).round().astype(np.uint8))
    if not np.isfinite(array).all() or np.abs(array).max(initial=0.0) > 1.0:
        raise UsageError("floats outside [-1, 1], expected images in that range, or uint8")
    return np.ascontiguousarray(((array + 1.0) * 127.5).round().astype(np.uint8))


def labelled(
    data: Any, classes: Optional[Sequence[str]] = None, layout: Optional[str] = None
) -> Labelled:
    """Checks a pair of images and labels. Labels are numbers of classes, or names."""
    if not isinstance(data, (list, tuple)) or len(data) != 2:
        kind = type(data).__name__
        raise UsageError(f"a value of type {kind}, expected (images, labels), or a path or name")
    images, labels = as_bytes(data[0], layout), np.asarray(data[1])
    if labels.shape != (len(images),):
        raise UsageError(
            f"labels of shape {labels.shape}, expected ({len(images)},): one for each image"
        )
    if len(images) == 0:
        raise UsageError("no images, expected at least one")
    if labels.dtype.kind in "iu":
        least, most = int(labels.min(initial=0)), int(labels.max(initial=0))
        names = list(map(str, range(most + 1))) if classes is None else list(map(str, classes))
        if least < 0 or most >= len(names):
            raise UsageError(f"labels from {least} to {most}, expected 0 to {len(names) - 1}")
        numbers = labels
    else:
        texts = labels.astype(str)
        names = sorted(set(texts.tolist())) if classes is None else list(map(str, classes))
        unknown = sorted(set(texts.tolist()) - set(names))
        if unknown:
            raise UsageError(f"labels {unknown[:5]}, expected some of {names[:5]}")
        of_name = {name: number for number, name in enumerate(names)}
        numbers = np.array([of_name[text] for text in texts.tolist()])
    return Labelled(images, np.ascontiguousarray(numbers, dtype=np.uint32), names)


def _write_shard(path: pathlib.Path, set_: Labelled) -> None:
    """A shard of a WebDataset: an image in PNM and the number of its class in turn."""
    count, channels, height, width = set_.images.shape
    begin = f"P{5 if channels == 1 else 6} {width} {height} 255\n".encode()
    with tarfile.open(path, "w") as shard:
        for number in range(count):
            pixels = begin + set_.images[number].transpose(1, 2, 0).tobytes()
            label = str(set_.labels[number]).encode()
            kind = "pgm" if channels == 1 else "ppm"
            for ending, content in ((kind, pixels), ("cls", label)):
                entry = tarfile.TarInfo(f"{number:08}.{ending}")
                entry.size = len(content)
                shard.addfile(entry, io.BytesIO(content))


@contextlib.contextmanager
def as_argument(data: Any, classes: Sequence[str], layout: Optional[str] = None) -> Iterator[str]:
    """The DATA of a command: a path or a name as it is, arrays as a shard for as long as the
    command works."""
    if is_path(data):
        yield os.fspath(data)
        return
    set_ = labelled(data, classes, layout)
    with tempfile.TemporaryDirectory(prefix="miyasawa-") as folder:
        shard = pathlib.Path(folder) / "test-00000.tar"
        _write_shard(shard, set_)
        names = "".join(f"{name}\n" for name in set_.classes)
        shard.with_name("classes.txt").write_text(names, encoding="utf-8")
        yield str(shard)
