"""The exceptions of this package. A message names the operation, what was expected, what was found.

``MiyasawaError`` is the base of all. Ctrl-C raises ``KeyboardInterrupt``, as everywhere.
"""


class MiyasawaError(Exception):
    """Something failed. All exceptions of this package are of this class."""


class UsageError(MiyasawaError, ValueError):
    """The call was wrong: what the command line ends with exit status 2 for."""


class ImageError(MiyasawaError, ValueError):
    """An image cannot be read, or has values or a shape that no image has."""


class CheckpointError(MiyasawaError, OSError):
    """A checkpoint cannot be read or written."""


class TrainingError(MiyasawaError, RuntimeError):
    """A run could not go on."""
