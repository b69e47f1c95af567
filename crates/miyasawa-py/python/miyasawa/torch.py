"""The joint model as a module of PyTorch: ``miyasawa.torch.load()``.

The network and its equations are those of reference/reference.py in the project's repository, which
is the definition that the library is tested against. Every output can be differentiated, for the
images and for the parameters; devices and types are PyTorch's.

    model = miyasawa.torch.load().eval()           # or load("runs/mine/model.safetensors")
    model(x)                                       # logits of images in [0, 1], as attacks want it
    model.denoise(y, sigma)                        # D(y) of images in [-1, 1]
    model.save("tuned.safetensors")                # a checkpoint that the program reads

Needs torch. Images y are (N, C, H, W) in [-1, 1], noise levels in units of that range: a number or
a tensor (N,).
"""

from __future__ import annotations

import copy
import json
import math
import os
from typing import Any, Dict, Optional, Sequence, Union

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import _miyasawa
from .errors import UsageError

CHANNELS_PER_GROUP = 8
FOURIER = 32
EMBEDDING = 64

Sigma = Union[float, Tensor]


class Norm(nn.Module):
    """Group normalisation, or a scale and a shift alone, modulated by the noise embedding."""

    def __init__(self, channels: int, embedding: int, norm: str, epsilon: float):
        super().__init__()
        self.groups, self.norm, self.epsilon = max(1, channels // CHANNELS_PER_GROUP), norm, epsilon
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.modulation = nn.Linear(embedding, 2 * channels) if embedding else None

    def forward(self, x: Tensor, embedding: Optional[Tensor]) -> Tensor:
        if self.norm == "none":
            h = x * self.weight[:, None, None] + self.bias[:, None, None]
        else:
            h = F.group_norm(x, self.groups, self.weight, self.bias, eps=self.epsilon)
        if self.modulation is None:
            return h
        scale, shift = self.modulation(embedding).chunk(2, 1)
        return h * (1 + scale[:, :, None, None]) + shift[:, :, None, None]


class Block(nn.Module):
    """``norm(gelu(conv2(gelu(conv1(x))) + shortcut(x)))``; convolutions have no bias."""

    def __init__(self, cin: int, cout: int, stride: int, embedding: int, norm: str, epsilon: float):
        super().__init__()
        self.conv1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False)
        changes = stride != 1 or cin != cout
        self.shortcut = nn.Conv2d(cin, cout, 1, stride, bias=False) if changes else None
        self.norm = Norm(cout, embedding, norm, epsilon)

    def forward(self, x: Tensor, embedding: Optional[Tensor]) -> Tensor:
        h = self.conv2(F.gelu(self.conv1(x)))
        h = h + (x if self.shortcut is None else self.shortcut(x))
        return self.norm(F.gelu(h), embedding)


class GradResNet(nn.Module):
    """The network: logits (N, classes) and an energy (N,) of the scaled image."""

    def __init__(
        self,
        channels: int,
        classes: int,
        width: int = 64,
        blocks: Sequence[int] = (2, 2, 2, 2),
        blind: bool = False,
        norm: str = "group",
        epsilon: float = 1e-5,
    ):
        super().__init__()
        embedding = 0 if blind else EMBEDDING
        if not blind:
            logs = torch.linspace(math.log(0.25), math.log(16.0), FOURIER // 2)
            # Computed, not learned: checkpoints of the library give it.
            self.register_buffer("freqs", torch.exp(logs))
            self.embed1 = nn.Linear(FOURIER, embedding)
            self.embed2 = nn.Linear(embedding, embedding)
        self.blind, self.norm = blind, norm
        self.stem = nn.Conv2d(channels, width, 3, 1, 1, bias=False)
        self.stages, cin = nn.ModuleList(), width
        for k, count in enumerate(blocks):
            cout = width * 2**k
            self.stages.append(
                nn.ModuleList(
                    Block(
                        cin if j == 0 else cout,
                        cout,
                        2 if k > 0 and j == 0 else 1,
                        embedding,
                        norm,
                        epsilon,
                    )
                    for j in range(count)
                )
            )
            cin = cout
        features = sum(width * 2**k for k in range(len(blocks)))
        self.class_head = nn.Linear(features, classes)
        self.energy_head = nn.Linear(features, 1, bias=False)

    def forward(self, u: Tensor, sigma: Tensor) -> tuple:
        embedding = None
        if not self.blind:
            t = (sigma.log() / 4)[:, None] * self.freqs[None]
            waves = torch.cat([t.cos(), t.sin()], 1)
            embedding = F.silu(self.embed2(F.silu(self.embed1(waves))))
        h, pixels = F.gelu(self.stem(u)), u.shape[2] * u.shape[3]
        pooled, shares = [], []
        for stage in self.stages:
            for block in stage:
                h = block(h, embedding)
            pooled.append(h.mean((2, 3)))
            shares.append(pooled[-1] * (h.shape[2] * h.shape[3] / pixels))
        phi = torch.cat(pooled, 1)
        summed = torch.cat(shares, 1) if self.norm == "none" else phi
        return self.class_head(phi), self.energy_head(summed)[:, 0] * pixels


class JointModel(nn.Module):
    """``log p(y, c | sigma)`` with its gradients. Called as a module, it is a classifier of clean
    images in [0, 1], conditioned on ``sigma``.

    Attributes:
        net: the network.
        sigma_data: the standard deviation of the data, in units of the [-1, 1] range.
        sigma: the noise level that ``forward`` is conditioned on; the smallest of the training.
        classes: the names of the classes.
        info: what the checkpoint says besides the parameters.
    """

    def __init__(self, info: Dict[str, Any]):
        super().__init__()
        network = info["network"]
        if network.get("kind", "gradresnet") != "gradresnet":
            raise UsageError(f"a network of kind {network['kind']}, expected gradresnet")
        self.info = copy.deepcopy(info)
        self.net = GradResNet(
            network["channels"],
            network["classes"],
            network["width"],
            network["blocks"],
            network.get("blind", False),
            network.get("norm", "group"),
            network.get("norm_epsilon", 1e-5),
        )
        self.sigma_data = float(info["data"]["std"])
        self.sigma = float(info["sigma"][0])
        self.classes = list(info["data"]["classes"])

    def _levels(self, y: Tensor, sigma: Sigma) -> Tensor:
        if isinstance(sigma, (int, float)) and not (math.isfinite(sigma) and sigma > 0):
            raise UsageError(f"sigma is {sigma}, expected a number above 0")
        levels = torch.as_tensor(sigma, dtype=y.dtype, device=y.device)
        return levels.reshape(-1).expand(len(y)) if levels.numel() == 1 else levels.reshape(len(y))

    def parts(self, y: Tensor, sigma: Sigma) -> tuple:
        """The part of ``log p(y, c)`` that all classes share (N,), and the logits (N, classes):
        apart, as adding them in float32 would round the class posterior away."""
        levels = self._levels(y, sigma)
        square = y.pow(2).flatten(1).sum(1)
        if self.net.blind:
            logits, energy = self.net(y, levels)
            return energy - 0.5 * square, logits
        variance = self.sigma_data**2 + levels**2
        logits, energy = self.net(y * variance.rsqrt()[:, None, None, None], levels)
        return self.sigma_data / levels * energy - square / (2 * variance), logits

    def logits(self, y: Tensor, sigma: Sigma) -> Tensor:
        """``f_c``, whose softmax is ``p(c | y)``: (N, classes)."""
        return self.parts(y, sigma)[1]

    def log_prob(self, y: Tensor, sigma: Sigma) -> Tensor:
        """``log p(y)`` in nats up to a constant of the level: (N,)."""
        shared, logits = self.parts(y, sigma)
        return shared + torch.logsumexp(logits, 1)

    def score(self, y: Tensor, sigma: Sigma, labels: Optional[Tensor] = None) -> Tensor:
        """``grad_y log p(y)``, or ``grad_y log p(y, c)`` for labels (N,): (N, C, H, W).

        It can be differentiated again where gradients are enabled.
        """
        graph = torch.is_grad_enabled()
        with torch.enable_grad():
            point = y if y.requires_grad else y.detach().requires_grad_(True)
            shared, logits = self.parts(point, sigma)
            if labels is None:
                value = shared + torch.logsumexp(logits, 1)
            else:
                value = shared + logits.gather(1, labels.reshape(-1, 1))[:, 0]
            (found,) = torch.autograd.grad(value.sum(), point, create_graph=graph)
        return found

    def denoise(self, y: Tensor, sigma: Sigma, labels: Optional[Tensor] = None) -> Tensor:
        """``D(y) = y + sigma^2 score(y)``, or ``D(y, c)`` for labels (N,): (N, C, H, W)."""
        levels = self._levels(y, sigma)[:, None, None, None]
        return y + levels**2 * self.score(y, sigma, labels)

    def forward(self, x: Tensor) -> Tensor:
        """The logits (N, classes) of images in [0, 1], conditioned on ``self.sigma``: what
        torchattacks and RobustBench ask of a model."""
        return self.logits(2 * x - 1, self.sigma)

    def save(self, path: Union[str, os.PathLike], *, bf16: bool = False) -> None:
        """Writes a checkpoint that the program and ``miyasawa.load`` read; with ``bf16`` in
        bfloat16, half the size.

        Raises:
            UsageError: the network is not the one that ``info`` describes.
            CheckpointError: the file cannot be written.
        """
        params = {
            name: np.ascontiguousarray(value.detach().to("cpu", torch.float32).numpy())
            for name, value in self.net.named_parameters()
        }
        _miyasawa.write_checkpoint(os.fspath(path), json.dumps(self.info), params, bf16)


def load(path: Union[None, str, os.PathLike] = None) -> JointModel:
    """A joint model from a checkpoint, a bundled one by its name, or the bundled one: every
    parameter to the last bit (bfloat16 widens to float32).

    Raises:
        CheckpointError: the file is not a checkpoint.
        UsageError: its network is not a joint one.
    """
    name = None
    if isinstance(path, str) and path in _miyasawa.bundled():
        path, name = None, path
    info, params = _miyasawa.read_checkpoint(None if path is None else os.fspath(path), name)
    model = JointModel(info)
    found = {key: torch.from_numpy(value) for key, value in params.items()}
    missing, unexpected = model.net.load_state_dict(found, strict=False)
    if unexpected or set(missing) - {"freqs"}:
        raise UsageError(f"parameters missing {missing} and unknown {unexpected}")
    return model
