"""Classification-denoising networks: one network models the joint density of a noisy image y and
its class c. Classification is a forward pass and a softmax; denoising is the gradient of the same
network, ``D(y) = y + sigma^2 grad log p(y)``.

    import miyasawa
    model = miyasawa.load()                       # the bundled model: CIFAR-10's ten classes
    model.classify("frog.jpg", top=3)             # {"sigma": .., "classes": [{"class": "frog", ..
    denoiser = miyasawa.load("photo")             # the bundled denoiser of photographs
    clean = denoiser.denoise(noisy)               # the noise level is estimated

Images are arrays of NumPy (8 or 16 bits: height, width, channels; floats in [-1, 1]: channels,
height, width), tensors of PyTorch on the CPU, images of Pillow, or paths; see ``Model``. Noise
levels are standard deviations in units of the [-1, 1] range.

``miyasawa.torch`` has the same networks as modules of PyTorch, ``miyasawa.deepinv`` a denoiser for
DeepInverse, ``miyasawa.sklearn`` an estimator for scikit-learn. What the library logs goes to the
logger ``miyasawa`` of the module ``logging``.
"""

from ._measure import attack, calibrate, certify, evaluate, ood
from ._miyasawa import __version__
from ._model import Model, bundled, load
from ._train import train
from .errors import CheckpointError, ImageError, MiyasawaError, TrainingError, UsageError

__all__ = [
    "CheckpointError",
    "ImageError",
    "MiyasawaError",
    "Model",
    "TrainingError",
    "UsageError",
    "__version__",
    "attack",
    "bundled",
    "calibrate",
    "certify",
    "evaluate",
    "load",
    "ood",
    "train",
]
