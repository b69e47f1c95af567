"""A denoiser of DeepInverse (the package ``deepinv``): ``miyasawa.deepinv.Denoiser("photo")``.

DeepInverse has images in [0, 1] and noise levels in units of that range: half of ours.
"""

from __future__ import annotations

import os
from typing import Any, Union

import torch
from deepinv.models import Denoiser as Base
from torch import Tensor

from . import torch as joint


class Denoiser(Base):
    """``forward(x, sigma)`` of DeepInverse: ``D(x)`` for images (N, C, H, W) in [0, 1], with noise
    of the level ``sigma``, a number or a tensor (N,). It can be differentiated.

    Grey images go through a colour model as three equal channels, whose noise is then equal too: a
    model of photographs learned that. Levels are kept within those of the training.

    Args:
        model: a ``miyasawa.torch.JointModel``, or what ``miyasawa.torch.load`` takes.
    """

    def __init__(self, model: Union[None, str, os.PathLike, joint.JointModel] = "photo"):
        super().__init__()
        self.model = model if isinstance(model, joint.JointModel) else joint.load(model)

    def forward(self, x: Tensor, sigma: Any, **_: Any) -> Tensor:
        least, most = self.model.info["sigma"]
        levels = torch.as_tensor(sigma, dtype=x.dtype, device=x.device).reshape(-1)
        levels = (2 * levels).expand(len(x)) if levels.numel() == 1 else 2 * levels
        used = levels.clamp(least, most)
        channels = self.model.info["network"]["channels"]
        grey = x.shape[1] == 1 and channels == 3
        y = 2 * (x.expand(-1, 3, -1, -1) if grey else x) - 1
        found = (self.model.denoise(y, used) + 1) / 2
        if grey:
            found = found.mean(1, keepdim=True)
        # Below the levels of the training the correction is shortened, as the score is the same.
        share = (levels / used).clamp(max=1).pow(2)[:, None, None, None]
        return x + share * (found - x)
