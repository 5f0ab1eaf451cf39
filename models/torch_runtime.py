"""PyTorch as what computes a restorer."""

import copy
import math
from collections.abc import Callable
from typing import Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.backbones import BatchNorm, InstanceNorm
from models.backend_choice import GpuCalls
from models.buffered_calls import BufferedCalls, CudaRecorder
from models.device_use import computing
from models.restorer import Restorer
from models.rewrite import rewrite

Images = NDArray[np.uint8]
TorchDtype = Literal["float32", "bfloat16", "float16"]


class RestorerGraph(nn.Module):
    """A restorer from levels to levels, with what shows whether its numbers are finite.

    uint8 (n, h, w, 3) to uint8 of the same shape and the sum of the corrections, a float32. The
    restorer computes in `dtype`; what comes before and after it is in float32.
    """

    def __init__(self, restorer: Restorer, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.restorer = restorer
        self.dtype = dtype

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Restore as `Restorer.forward` does, without its check of sizes: it cannot be traced."""
        x = images.permute(0, 3, 1, 2).float() / 127.5 - 1.0
        given = x if self.dtype == torch.float32 else x.to(self.dtype)
        correction = self.restorer.correction(given).float()
        restored = torch.clamp(torch.tanh(correction) + x, -1.0, 1.0)
        levels = ((restored + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8)
        return levels.permute(0, 2, 3, 1).contiguous(), correction.sum(dtype=torch.float32)


class TorchRuntime:
    """Runs a restorer with PyTorch; on a CPU with the fewest products that give its function.

    Takes uint8 (n, h, w, 3) of sides that the restorer takes and returns the same; raises
    ArithmeticError if the network gives NaN or infinity. `gpu` matters on a GPU only. The restorer
    is moved to the device, and stays in float32 whatever the dtype.
    """

    def __init__(
        self, generator: Restorer, device: str, dtype: TorchDtype, gpu: GpuCalls = "plain"
    ) -> None:
        self._device, self._gpu = torch.device(device), gpu
        generator.to(device=self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        faster = rewrite(generator) if self._device.type == "cpu" else generator
        kind: torch.dtype = getattr(torch, dtype)
        computed = in_dtype(faster, kind).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        graph = RestorerGraph(computed, kind).requires_grad_(False)
        self._restore = _calls_of(graph, self._device, gpu)

    def __call__(self, images: Images) -> Images:
        """Restore pictures."""
        with computing(self._device, len(images)), torch.inference_mode():
            levels, total = self._restore(images)
            if not math.isfinite(total):
                raise ArithmeticError("NaN or infinite")
        return levels

    @property
    def gpu(self) -> GpuCalls:
        """How a GPU is called."""
        return self._gpu


def _calls_of(
    graph: RestorerGraph, device: torch.device, gpu: GpuCalls
) -> Callable[[Images], tuple[Images, float]]:
    """Return what maps pictures in main memory to the graph's results there."""
    if device.type == "cpu" or gpu == "plain":

        def call(images: Images) -> tuple[Images, float]:
            levels, total = graph(torch.from_numpy(images).to(device))
            return cast(Images, levels.cpu().numpy()), total.item()

        return call
    fast = torch.compile(graph, fullgraph=True, dynamic=False) if gpu == "compiled" else graph
    return BufferedCalls(graph, device, CudaRecorder(device), fast)


def in_dtype(network: Restorer, dtype: torch.dtype) -> Restorer:
    """Return a restorer that computes in a dtype; norms keep their statistics in float32.

    In float32 it is the one given, else a copy: the one given stays as precise as it is.
    """
    if dtype == torch.float32:
        return network
    network = copy.deepcopy(network)
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, BatchNorm | InstanceNorm):
                setattr(module, name, _WideNorm(child, dtype))
        if not isinstance(module, BatchNorm | InstanceNorm):
            for parameter in module.parameters(recurse=False):
                parameter.data = parameter.data.to(dtype)
    return network


class _WideNorm(nn.Module):
    """A norm that computes in float32 what comes and goes in another dtype."""

    def __init__(self, norm: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.norm, self.dtype = norm, dtype

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (n, c, h, w)."""
        return cast(Tensor, self.norm(x.float()).to(self.dtype))
