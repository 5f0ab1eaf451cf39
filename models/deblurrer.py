"""The deblurrer: uint8 images in, uint8 images out."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from models.backbones import DepthwiseSeparable, Normalisation, set_normalisation
from models.backend_choice import DTYPES, Backend, Dtype
from models.checkpoints import GeneratorInfo, load_generator
from models.restorer import Restorer
from models.torch_runtime import TorchRuntime

Images = npt.NDArray[np.uint8]

SMALLEST = 64
"""Smallest height and width of an image, in pixels."""


class Runtime(Protocol):
    """What computes a network: uint8 (n, h, w, 3), of sides that it takes, to the same.

    Raises ArithmeticError where the network gives NaN or infinity.
    """

    def __call__(self, images: Images) -> Images:
        """Restore pictures."""


@dataclass(frozen=True, eq=False)
class Deblurrer:
    """A generator ready to restore images; each result depends on its image alone.

    It takes every network of `models.networks`. `halo` (px): with this margin a tile differs from
    the whole image by at most half a grey level; None where nobody has measured it. `runtime`
    computes what `generator` says.
    """

    generator: Restorer
    info: GeneratorInfo
    normalisation: Normalisation
    device: str
    backend: Backend
    dtype: Dtype
    runtime: Runtime

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
        backend: Backend = "torch",
        dtype: Dtype = "float32",
    ) -> "Deblurrer":
        """Read the weights and place them on the device.

        `device` is "cpu", "cuda" or "cuda:N"; a GPU that is not there is a RuntimeError, never a
        slow CPU. Weights without running statistics cannot be `frozen`: a ValueError. Backends
        other than torch run frozen weights, on a CPU. `float16` needs a GPU; `bfloat16` and
        `float16` change results by less than a grey level or two. `int8` needs NAME.int8.onnx
        beside NAME.safetensors: a FileNotFoundError says how it is made.
        """
        _check_device(device)
        _check_runtime(backend, device=device, dtype=dtype, normalisation=normalisation)
        generator, info = load_generator(weights, sha256=sha256)
        set_normalisation(generator, normalisation)
        if normalisation == "frozen":
            fold_norms(generator)
        generator.requires_grad_(False)
        runtime = _open_runtime(generator, info, device=device, backend=backend, dtype=dtype)
        return cls(generator, info, normalisation, device, backend, dtype, runtime)

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
        try:
            restored = self.runtime(_padded(images, stride=self.stride, smallest=self.smallest))
        except ArithmeticError as error:
            # As uint8 NaN would become black.
            raise ValueError(
                f"the network's output is not finite ({error}): the weights do not suit "
                f"dtype={self.dtype} or normalisation={self.normalisation} on this picture"
            ) from error
        return restored[:, :height, :width]


def _open_runtime(
    generator: Restorer, info: GeneratorInfo, *, device: str, backend: Backend, dtype: Dtype
) -> Runtime:
    if backend == "torch":
        assert dtype != "int8"
        return TorchRuntime(generator, device, dtype)
    from models.cpu_runtimes import open_cpu_runtime  # Of two heavy packages one is needed.

    assert dtype != "float16"
    return open_cpu_runtime(generator, info, backend, dtype)


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


def _padded(images: Images, *, stride: int, smallest: int) -> Images:
    """Return images (n, h, w, 3), mirrored at bottom and right up to a size that the network takes.

    They lie contiguously in memory, and are the caller's own where nothing was missing.
    """
    bottom, right = (max(side + -side % stride, smallest) - side for side in images.shape[1:3])
    if not bottom and not right:
        return np.ascontiguousarray(images)
    return np.pad(images, ((0, 0), (0, bottom), (0, right), (0, 0)), mode="reflect")


def _check_device(device: str) -> None:
    kind = torch.device(device).type
    if kind not in ("cpu", "cuda"):
        raise ValueError(f"device must be 'cpu', 'cuda' or 'cuda:N', got {device!r}")
    found = torch.cuda.device_count() if kind == "cuda" and torch.cuda.is_available() else 0
    if kind == "cuda" and (torch.device(device).index or 0) >= found:
        raise RuntimeError(
            f"the deblurrer was promised device={device!r}, got {found} usable CUDA devices: "
            "set device='cpu' or repair the GPU"
        )


def _check_runtime(
    backend: Backend, *, device: str, dtype: Dtype, normalisation: Normalisation
) -> None:
    if dtype not in DTYPES[backend]:
        takes = ", ".join(DTYPES[backend])
        raise ValueError(f"backend {backend} computes in {takes}, got dtype={dtype!r}")
    if dtype == "float16" and device == "cpu":
        raise ValueError("float16 needs a GPU, got device='cpu': choose float32 or bfloat16")
    if backend != "torch" and device != "cpu":
        raise ValueError(f"backend {backend} runs on a CPU here, got device={device!r}")
    if backend != "torch" and normalisation != "frozen":
        raise ValueError(f"backend {backend} takes frozen norms only, got {normalisation!r}")


def _check_images(images: Images) -> None:
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise ValueError(
            f"images must be uint8 (n, h, w, 3), got {images.dtype} {tuple(images.shape)}"
        )
    if min(images.shape[1:3]) < SMALLEST:
        raise ValueError(
            f"images must be at least {SMALLEST} px high and wide, got {images.shape[1:3]}"
        )
