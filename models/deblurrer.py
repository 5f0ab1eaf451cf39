"""The deblurrer: uint8 images in, uint8 images out."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import numpy.typing as npt

from models.backend_choice import DTYPES, Backend, Dtype, GpuCalls
from models.cards import checked_digest

if TYPE_CHECKING:  # PyTorch takes seconds to import, and not every backend needs it.
    from models.restorer import Restorer

Images = npt.NDArray[np.uint8]
Normalisation = Literal["frozen", "per_image"]

SMALLEST = 64
"""Smallest height and width of an image, in pixels."""


class Runtime(Protocol):
    """What computes a network: uint8 (n, h, w, 3), of sides that it takes, to the same.

    Raises ArithmeticError where the network gives NaN or infinity.
    """

    def __call__(self, images: Images) -> Images:
        """Restore pictures."""


@dataclass(frozen=True)
class WeightFacts:
    """What is known of the weights of a deblurrer.

    `halo_px`: with this margin a tile differs from the whole image by at most half a grey level;
    None where nobody has measured it. Tile origins must be multiples of `stride` px for tiles to
    agree. `smallest` is the network's least height and width in px; smaller images are mirrored.
    """

    path: Path
    sha256: str
    halo_px: int | None
    stride: int
    smallest: int


@dataclass(frozen=True, eq=False)
class Deblurrer:
    """A generator ready to restore images; each result depends on its image alone.

    It takes every network of `models.networks`. `runtime` computes what `generator` says, which
    `prepare` returns: a backend may do without it.
    """

    info: WeightFacts
    normalisation: Normalisation
    device: str
    backend: Backend
    dtype: Dtype
    runtime: Runtime
    prepare: Callable[[], "Restorer"]

    @cached_property
    def generator(self) -> "Restorer":
        """The network, frozen norms folded."""
        return self.prepare()

    @property
    def stride(self) -> int:
        """Tile origins must be multiples of it, in px, for tiles to agree."""
        return self.info.stride

    @property
    def smallest(self) -> int:
        """The network's least height and width in px; smaller images are mirrored up to it."""
        return self.info.smallest

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
        gpu: GpuCalls = "plain",
    ) -> "Deblurrer":
        """Read the weights and place them on the device.

        `device` is "cpu", "cuda" or "cuda:N"; a GPU that is not there is a RuntimeError, never a
        slow CPU. `gpu` is how it is called. Weights without running statistics cannot be `frozen`:
        a ValueError. Backends other than torch run frozen weights, on a CPU. `float16` needs a GPU;
        `bfloat16` and `float16` change results by less than a grey level or two. `int8` needs
        NAME.int8.onnx beside NAME.safetensors: a FileNotFoundError says how it is made.
        """
        _check_runtime(backend, device=device, dtype=dtype, normalisation=normalisation)
        digest = checked_digest(weights, sha256)

        def prepare() -> tuple["Restorer", WeightFacts]:
            from models.prepared import prepare_generator

            generator, halo = prepare_generator(weights, sha256=digest, normalisation=normalisation)
            sides = generator.stride, generator.smallest
            return generator, WeightFacts(weights, digest, halo, *sides)

        if backend == "torch":
            from models.torch_runtime import TorchRuntime

            generator, info = prepare()
            assert dtype != "int8"
            runtime: Runtime = TorchRuntime(generator, device, dtype, gpu)
            return cls(info, normalisation, device, backend, dtype, runtime, lambda: generator)
        from models.cpu_runtimes import open_cpu_runtime

        assert dtype != "float16"
        runtime, info = open_cpu_runtime(weights, digest, prepare, backend, dtype)
        return cls(info, normalisation, device, backend, dtype, runtime, lambda: prepare()[0])

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
        restored = [self._restore(part) for part in parts]
        return np.concatenate(restored) if len(restored) > 1 else np.ascontiguousarray(restored[0])

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


def _padded(images: Images, *, stride: int, smallest: int) -> Images:
    """Return images (n, h, w, 3), mirrored at bottom and right up to a size that the network takes.

    They lie contiguously in memory, and are the caller's own where nothing was missing.
    """
    bottom, right = (max(side + -side % stride, smallest) - side for side in images.shape[1:3])
    if not bottom and not right:
        return np.ascontiguousarray(images)
    return np.pad(images, ((0, 0), (0, bottom), (0, right), (0, 0)), mode="reflect")


def _check_runtime(
    backend: Backend, *, device: str, dtype: Dtype, normalisation: Normalisation
) -> None:
    if device != "cpu":
        from models.prepared import check_device

        check_device(device)
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
