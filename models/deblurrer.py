"""The deblurrer: uint8 images in, uint8 images out."""

import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_weights

from models.backbones import DepthwiseSeparable, Normalisation, set_normalisation
from models.checkpoints import GeneratorInfo, load_generator
from models.device_use import computing
from models.restorer import Restorer

Images = npt.NDArray[np.uint8]
Dtype = Literal["float32", "bfloat16", "float16"]

SMALLEST = 64
"""Smallest height and width of an image, in pixels."""


@dataclass(frozen=True, eq=False)
class Deblurrer:
    """A generator ready to restore images; each result depends on its image alone.

    It takes every network of `models.networks`. `halo` (px): with this margin a tile differs from
    the whole image by at most half a grey level; None where nobody has measured it.
    """

    generator: Restorer
    info: GeneratorInfo
    normalisation: Normalisation
    device: str
    dtype: Dtype

    @property
    def stride(self) -> int:
        """Tile origins must be multiples of it, in px, for tiles to agree."""
        return self.generator.stride

    @property
    def smallest(self) -> int:
        """The network's least height and width in px; smaller images are mirrored up to it."""
        return self.generator.smallest

    @property
    def halo(self) -> int | None:
        """The margin in px that these weights need, from the weight file."""
        return self.info.halo_px

    @classmethod
    def load(
        cls,
        weights: Path,
        *,
        sha256: str | None = None,
        normalisation: Normalisation = "frozen",
        device: str = "cpu",
        dtype: Dtype = "float32",
    ) -> "Deblurrer":
        """Read the weights and place them on the device.

        `device` is "cpu", "cuda" or "cuda:N"; a GPU that is not there is a RuntimeError, never a
        slow CPU. Weights without running statistics cannot be `frozen`: a ValueError. `float16`
        needs a GPU; `bfloat16` and `float16` change results by less than a grey level or two.
        """
        _check_device(device, dtype)
        generator, info = load_generator(weights, sha256=sha256)
        set_normalisation(generator, normalisation)
        if normalisation == "frozen":
            fold_norms(generator)
        generator.to(device=torch.device(device), memory_format=torch.channels_last)  # type: ignore[call-overload]
        generator.requires_grad_(False)
        return cls(generator, info, normalisation, device, dtype)

    def __call__(self, images: Images) -> Images:
        """Restore uint8 RGB images (n, h, w, 3), h and w at least 64; uint8 of the same shape.

        Raises ValueError if the network gives NaN or infinity.
        """
        _check_images(images)
        if len(images) == 0:
            return images.copy()
        # On a CPU batching saves no time, and image by image the arithmetic cannot depend on the
        # batch's size.
        size = len(images) if self.device != "cpu" else 1
        parts = [images[start : start + size] for start in range(0, len(images), size)]
        return np.concatenate([self._restore(part) for part in parts])

    def _restore(self, images: Images) -> Images:
        height, width = images.shape[1:3]
        with (
            computing(self.device, len(images)),
            torch.inference_mode(),
            torch.autocast(
                torch.device(self.device).type,
                dtype=getattr(torch, self.dtype if self.dtype != "float32" else "bfloat16"),
                enabled=self.dtype != "float32",
            ),
        ):
            pixels = torch.from_numpy(images.copy()).to(self.device)
            x = pixels.permute(0, 3, 1, 2).float() / 127.5 - 1.0
            padded = _padded(x, stride=self.stride, smallest=self.smallest)
            restored = self.generator(padded)[:, :, :height, :width]
            # One pass: a sum is finite only if every level is. As uint8 NaN would become black.
            if not math.isfinite(restored.sum(dtype=torch.float32).item()):
                raise ValueError(
                    "the network's output is not finite (NaN or infinite): the weights do not suit "
                    f"dtype={self.dtype} or normalisation={self.normalisation} on this picture"
                )
            levels = ((restored + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8)
            return cast(Images, levels.permute(0, 2, 3, 1).contiguous().cpu().numpy())


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


def _padded(x: Tensor, *, stride: int, smallest: int) -> Tensor:
    """Return x (n, c, h, w), mirrored at bottom and right up to a size that the network takes."""
    bottom, right = (max(side + -side % stride, smallest) - side for side in x.shape[2:])
    while bottom or right:  # A mirror shows at most the image less its border.
        down, along = min(bottom, x.shape[2] - 1), min(right, x.shape[3] - 1)
        x = functional.pad(x, (0, along, 0, down), mode="reflect")
        bottom, right = bottom - down, right - along
    return x


def _check_device(device: str, dtype: Dtype) -> None:
    kind = torch.device(device).type
    if kind not in ("cpu", "cuda"):
        raise ValueError(f"device must be 'cpu', 'cuda' or 'cuda:N', got {device!r}")
    if dtype == "float16" and kind == "cpu":
        raise ValueError("float16 needs a GPU, got device='cpu': choose float32 or bfloat16")
    found = torch.cuda.device_count() if kind == "cuda" and torch.cuda.is_available() else 0
    if kind == "cuda" and (torch.device(device).index or 0) >= found:
        raise RuntimeError(
            f"the deblurrer was promised device={device!r}, got {found} usable CUDA devices: "
            "set device='cpu' or repair the GPU"
        )


def _check_images(images: Images) -> None:
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise ValueError(
            f"images must be uint8 (n, h, w, 3), got {images.dtype} {tuple(images.shape)}"
        )
    if min(images.shape[1:3]) < SMALLEST:
        raise ValueError(
            f"images must be at least {SMALLEST} px high and wide, got {images.shape[1:3]}"
        )
