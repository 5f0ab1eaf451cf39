"""Generators made ready for inference: loaded, with their norms set and folded."""

from itertools import pairwise
from pathlib import Path

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from models.backbones import DepthwiseSeparable, Normalisation, set_normalisation
from models.checkpoints import load_generator
from models.restorer import Restorer


def prepare_generator(
    weights: Path, *, sha256: str | None, normalisation: Normalisation
) -> tuple[Restorer, int | None]:
    """Return the network of a weight file, frozen norms folded, and its halo in px if known."""
    generator, info = load_generator(weights, sha256=sha256)
    set_normalisation(generator, normalisation)
    if normalisation == "frozen":
        fold_norms(generator)
    return generator.requires_grad_(False), info.halo_px


def check_device(device: str) -> None:
    """Raise ValueError for a device that nobody has, RuntimeError for a GPU that is not here."""
    kind = torch.device(device).type
    if kind not in ("cpu", "cuda"):
        raise ValueError(f"device must be 'cpu', 'cuda' or 'cuda:N', got {device!r}")
    found = torch.cuda.device_count() if kind == "cuda" and torch.cuda.is_available() else 0
    if kind == "cuda" and (torch.device(device).index or 0) >= found:
        raise RuntimeError(
            f"the deblurrer was promised device={device!r}, got {found} usable CUDA devices: "
            "set device='cpu' or repair the GPU"
        )


def fold_norms(network: nn.Module) -> None:
    """Fold every norm layer's running statistics into the convolution before it, in place.

    The function stays the same up to rounding, and costs no pass over memory for the norms. A norm
    is folded where its module defines it right after a convolution, as all networks here do.
    """
    for parent in list(network.modules()):
        for (_, conv), (name, norm) in pairwise(list(parent.named_children())):
            if isinstance(conv, DepthwiseSeparable):
                conv = conv.pointwise
            if isinstance(conv, nn.Conv2d | nn.ConvTranspose2d) and isinstance(
                norm, nn.BatchNorm2d | nn.InstanceNorm2d
            ):
                _fold(conv, norm)
                setattr(parent, name, getattr(norm, "act", nn.Identity()))


def _fold(conv: nn.Conv2d | nn.ConvTranspose2d, norm: nn.BatchNorm2d | nn.InstanceNorm2d) -> None:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    conv.weight, conv.bias = fuse_conv_bn_weights(
        conv.weight,
        conv.bias,
        norm.running_mean,
        norm.running_var,
        norm.eps,
        norm.weight,
        norm.bias,
        transpose=isinstance(conv, nn.ConvTranspose2d),
    )
