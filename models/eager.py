"""The generator as one would run it by hand: what speed and results of ours are compared with."""

from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from models.backbones import BatchNorm, InstanceNorm, set_normalisation
from models.checkpoints import load_generator, save_generator
from models.deblurgan_v2 import GeneratorOptions
from models.networks import build
from models.restorer import Restorer

Images = NDArray[np.uint8]

_CORRECTION = 0.1
"""Of a random last layer: with more, little would be left of the picture."""


class EagerDeblurrer:
    """A generator in eager float32 PyTorch, picture by picture, as the published script runs it.

    Origin: `predict.py` of VITA-Group/DeblurGANv2. Pictures become floats in [-1, 1] and channels
    first in NumPy; the network is the module itself in evaluation mode, with its norms, under
    `no_grad`; its output becomes uint8 in NumPy. Kinder than the script in two ways: a side that
    is a multiple of the stride already gets no padding, and levels are rounded, not cut off.
    """

    def __init__(self, weights: Path, device: str = "cpu") -> None:
        """Load a weight file; errors are those of `load_generator`."""
        self._network, _ = load_generator(weights)
        set_normalisation(self._network, "frozen")
        self._network.to(device)
        self._device = device

    def __call__(self, images: Images) -> Images:
        """Restore uint8 RGB (n, h, w, 3); uint8 of the same shape."""
        return np.stack([self._restore(image) for image in images])

    def _restore(self, image: Images) -> Images:
        height, width = image.shape[:2]
        stride = self._network.stride
        margins = ((0, -height % stride), (0, -width % stride), (0, 0))
        x = np.pad(image.astype(np.float32) / 127.5 - 1.0, margins)
        with torch.no_grad():
            pixels = torch.from_numpy(x.transpose(2, 0, 1)[None].copy()).to(self._device)
            restored = self._network(pixels)[0].cpu().numpy()
        levels = (restored.transpose(1, 2, 0)[:height, :width] + 1.0) * 127.5
        return cast(Images, np.clip(np.rint(levels), 0, 255).astype(np.uint8))


def save_random_generator(path: Path, options: GeneratorOptions | None = None) -> None:
    """Write a generator of random weights, the same every time; as wide as published by default.

    For measurements where trained weights are not at hand: it takes the time of trained ones, and
    changes pictures by some grey levels. Statistics of its norms are those of one random picture.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build(options or GeneratorOptions())
        _randomise(network)
    save_generator(path, network, halo_px=None, dtype=torch.float32)


def _randomise(network: Restorer) -> None:
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    for conv in convolutions:
        nn.init.normal_(conv.weight, std=conv.weight[0].numel() ** -0.5)
    with torch.no_grad():
        convolutions[-1].weight.mul_(_CORRECTION)
    for norm in network.modules():
        if isinstance(norm, BatchNorm | InstanceNorm):
            norm.momentum = 1.0  # the statistics of the one picture below, and of nothing before
    network.train()
    with torch.no_grad():
        network(torch.rand(1, 3, 128, 128) * 2 - 1)
    network.eval()
