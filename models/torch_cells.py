"""PyTorch as what computes the cells of a YOLO, and what selects among them on a GPU."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.backend_choice import Dtype

Images = NDArray[np.uint8]
Float = NDArray[np.float32]


class YoloGraph(nn.Module):
    """A network of Ultralytics from pictures, uint8 (n, h, w, 3), to cells."""

    def __init__(self, network: nn.Module, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.network = network
        self.dtype = dtype

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the cells of pictures on the network's device."""
        output = self.network(pictures.permute(0, 3, 1, 2).to(self.dtype) / 255)
        return cast(Tensor, output[0] if isinstance(output, list | tuple) else output)


class TorchCells:
    """Runs a graph on its device: `Cells`, on a GPU with `DeviceCells`."""

    def __init__(self, graph: YoloGraph, device: str) -> None:
        self._graph = graph
        self._device = torch.device(device)

    def __call__(self, pictures: Images) -> Sequence[Any]:
        """Return the cells of each picture."""
        with torch.inference_mode():
            cells = self._graph(self._send(torch.from_numpy(pictures))).float()
        return [DeviceCells(each) if each.is_cuda else each.numpy() for each in cells]

    def _send(self, pictures: Tensor) -> Tensor:
        """Copy bytes to a GPU from where it reads by itself: a quarter of what floats would be."""
        if self._device.type == "cpu":
            return pictures
        return pictures.pin_memory().to(self._device, non_blocking=True)


def place(network: Any, device: str, dtype: Dtype) -> YoloGraph:  # noqa: ANN401 - an untyped package
    """Return the graph of a network on a device, where it computes in a dtype."""
    kind: torch.dtype = getattr(torch, dtype)
    network.to(device=device, dtype=kind)
    if device == "cpu" or kind != torch.float32:
        network.to(memory_format=torch.channels_last)
    if kind != torch.float32:
        _decode_in_float32(network.model[-1])
    return YoloGraph(network, kind)


def _decode_in_float32(head: Any) -> None:  # noqa: ANN401 - an untyped package
    """Let a head that computes in 16 bits turn distances into boxes in 32.

    In 16 bits the pixel 1000 is the same as its neighbours.
    """
    decode = head._inference
    head.dfl.float()

    def decode_wide(seen: Mapping[str, Any]) -> Tensor:
        maps = [level.new_empty(level.shape, dtype=torch.float32) for level in seen["feats"]]
        wide = {name: value.float() for name, value in seen.items() if name != "feats"}
        return cast(Tensor, decode({**wide, "feats": maps}))

    head._inference = decode_wide


def traceable(network: Any) -> tuple[YoloGraph, Tensor]:  # noqa: ANN401 - an untyped package
    """Return the graph of a network that gives its cells alone, and an example of its input."""
    head = network.model[-1]
    head.export = True
    head.dynamic = True  # or it would keep the grid of the example
    return YoloGraph(network).eval(), torch.zeros((1, 64, 96, 3), dtype=torch.uint8)


class DeviceCells:
    """Raw cells (channels, k) of one picture on a GPU."""

    def __init__(self, cells: Tensor) -> None:
        self._cells = cells

    def __len__(self) -> int:
        return len(self._cells)

    def pruned(self, classes: int, *, score_floor: float, nms_iou: float, inside: Float) -> Float:
        """Bring down the cells that a selection would keep, and none that it surely would not.

        `inside` is the greatest (x, y) of horizontal boxes. Raises FloatingPointError where a value
        is not finite. Oriented boxes are not compared here.
        """
        cells = self._cells
        if not torch.isfinite(cells).all():
            raise FloatingPointError("the detector returned values that are not finite")
        best, kinds = cells[4 : 4 + classes].max(dim=0)
        found = torch.nonzero(best >= score_floor)[:, 0]
        if len(cells) == 4 + classes and len(found):
            boxes = _corners(cells[:4, found].T, cells.new_tensor(inside))
            found = found[_suppress(boxes, best[found], kinds[found], nms_iou)]
        return cast(Float, cells[:, found.sort().values].cpu().numpy())


def _corners(boxes: Tensor, inside: Tensor) -> Tensor:
    """Turn cx cy w h (k, 4) into x0 y0 x1 y1 within (0, 0) and `inside`."""
    half = boxes[:, 2:] / 2
    corners = [boxes[:, :2] - half, boxes[:, :2] + half]
    return torch.cat([each.clip(min=0).minimum(inside) for each in corners], dim=1)


def _suppress(boxes: Tensor, scores: Tensor, kinds: Tensor, limit: float) -> Tensor:
    """Return the indices of the boxes x0 y0 x1 y1 (k, 4) that survive suppression in their class.

    Classes are moved apart, in float64: in float32 boxes far away would lose hundredths of a pixel.
    """
    from torchvision.ops import nms  # Its import takes a second, and only GPUs need it.

    apart = boxes.double() + kinds[:, None] * (boxes.max().double() + 1)
    kept: Tensor = nms(apart, scores.double(), limit)
    return kept
