"""PyTorch as what computes a restorer."""

import math
from typing import Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.device_use import computing
from models.restorer import Restorer
from models.rewrite import rewrite

Images = NDArray[np.uint8]


class RestorerGraph(nn.Module):
    """A restorer from levels to levels, with what shows whether its numbers are finite.

    uint8 (n, h, w, 3) to uint8 of the same shape and the sum of the corrections, a float32.
    """

    def __init__(self, restorer: Restorer) -> None:
        super().__init__()
        self.restorer = restorer

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Restore as `Restorer.forward` does, without its check of sizes: it cannot be traced."""
        x = images.permute(0, 3, 1, 2).float() / 127.5 - 1.0
        correction = self.restorer.correction(x).float()
        restored = torch.clamp(torch.tanh(correction) + x, -1.0, 1.0)
        levels = ((restored + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8)
        return levels.permute(0, 2, 3, 1).contiguous(), correction.sum(dtype=torch.float32)


class TorchRuntime:
    """Runs a restorer with PyTorch; on a CPU with the fewest products that give its function.

    Takes uint8 (n, h, w, 3) of sides that the restorer takes and returns the same; raises
    ArithmeticError if the network gives NaN or infinity.
    """

    def __init__(
        self, generator: Restorer, device: str, dtype: Literal["float32", "bfloat16", "float16"]
    ) -> None:
        self._device = torch.device(device)
        self._dtype = dtype
        generator.to(device=self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        faster = rewrite(generator) if self._device.type == "cpu" else generator
        faster.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._graph = RestorerGraph(faster).requires_grad_(False)

    def __call__(self, images: Images) -> Images:
        """Restore pictures."""
        with (
            computing(self._device, len(images)),
            torch.inference_mode(),
            torch.autocast(
                self._device.type,
                dtype=getattr(torch, self._dtype if self._dtype != "float32" else "bfloat16"),
                enabled=self._dtype != "float32",
            ),
        ):
            levels, total = self._graph(torch.from_numpy(images).to(self._device))
            if not math.isfinite(total.item()):
                raise ArithmeticError("NaN or infinite")
            return cast(Images, levels.cpu().numpy())
