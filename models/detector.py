"""YOLO on arrays: uint8 images in, boxes out, each image for itself.

Ultralytics supplies the networks; what happens around them is our own, because its predictor is not
thread safe, rescales tiles and keeps 300 boxes of each, and because its suppression of overlaps
stops at a wall-clock limit and then drops the images that are left.
"""

import threading
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.ops import nms

from models.device_use import computing
from models.yolo import Yolo, load_yolo, probabilistic_iou
from transforms.functional.boxes import Detections

STRIDE = 32
GREY = 114

Images = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Detector:
    """A YOLO that finds objects in equally large tiles, at their own resolution.

    Boxes scored below `score_floor` are left out; of two boxes of one class that overlap by more
    than `nms_iou` the better stays; of each image at most the best `max_detections` are returned.
    `image_size` rescales tiles so that their longer side has that many pixels; None never does.
    """

    network: Yolo
    device: torch.device
    image_size: int | None = None
    score_floor: float = 0.01
    nms_iou: float = 0.5
    max_detections: int = 1000
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @classmethod
    def load(
        cls,
        weights: Path,
        *,
        sha256: str | None = None,
        trust: bool = False,
        names: tuple[str, ...] | None = None,
        device: str = "cpu",
        image_size: int | None = None,
        score_floor: float = 0.01,
        nms_iou: float = 0.5,
        max_detections: int = 1000,
    ) -> "Detector":
        """Load weights: what is accepted, and which errors are raised, is told by `load_yolo`."""
        network = load_yolo(weights, sha256=sha256, trust=trust, names=names, device=device)
        return cls(network, torch.device(device), image_size, score_floor, nms_iou, max_detections)

    @property
    def names(self) -> tuple[str, ...]:
        """The classes, in the order of their indices."""
        return self.network.names

    def __call__(self, images: Images) -> list[Detections]:
        """Detect in uint8 (n, h, w, 3) RGB images; boxes are in the pixels of the images given.

        Scores fall; equal scores stand in the order of the network's cells. On a CPU images run one
        by one: a result then cannot depend on batch mates, not even in its last bit, and a batch
        would be no faster there. On a GPU they run together.
        """
        if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8:
            raise ValueError(
                f"images must be uint8 (n, h, w, 3), got {images.dtype} {images.shape}"
            )
        together = 1 if self.device.type == "cpu" else max(1, len(images))
        return [
            detections
            for start in range(0, len(images), together)
            for detections in self._detect(images[start : start + together])
        ]

    def _detect(self, images: Images) -> list[Detections]:
        height, width = images.shape[1:3]
        scale = 1.0 if self.image_size is None else self.image_size / max(height, width)
        pixels = to_pixels(images, scale, self.network.fixed_size, self.device)
        with self._lock, torch.inference_mode(), computing(self.device, len(images)):
            output = self.network.forward(pixels)
            cells = (output[0] if isinstance(output, list | tuple) else output).float().cpu()
        if not torch.isfinite(cells).all():
            raise FloatingPointError("the detector returned values that are not finite")
        return [self._select(each, (height, width), scale) for each in cells]

    def _select(self, cells: Tensor, size: tuple[int, int], scale: float) -> Detections:
        """Turn the raw cells of one image, (4 + classes [+ 1], k), into detections."""
        channels = 4 + len(self.names) + self.network.oriented
        if len(cells) != channels:
            raise ValueError(
                f"the detector's {len(self.names)} names need {channels} channels, got {len(cells)}"
            )
        best, kinds = cells[4 : 4 + len(self.names)].max(dim=0)
        order = best.argsort(descending=True, stable=True)
        order = order[best[order] >= self.score_floor]
        boxes, scores, classes = cells[:4, order].T / scale, best[order], kinds[order]
        if self.network.oriented:
            boxes = torch.cat([boxes, cells[-1, order, None]], dim=1)
            corners = box_corners(boxes)
        else:
            corners = box_corners(boxes).clip(min=0).minimum(corner_limit(size))
        kept = suppress(boxes, corners, classes, self.nms_iou)
        kept = kept[_area(corners[kept]) > 0][: self.max_detections]
        return Detections(
            corners[kept].numpy(), scores[kept].numpy(), classes[kept].to(torch.int32).numpy()
        )


def to_pixels(
    images: Images,
    scale: float,
    fixed_size: tuple[int, int] | None,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Rescale, pad on the right and below with grey, and scale to float32 (n, 3, h, w) in [0, 1].

    The padded size is `fixed_size` (height, width), else the next multiple of 32. To the device go
    bytes, a quarter of what floats would be.
    """
    if scale != 1:
        size = tuple(max(1, round(side * scale)) for side in images.shape[2:0:-1])
        way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        images = np.stack([cv2.resize(image, size, interpolation=way) for image in images])
    height, width = images.shape[1:3]
    padded = fixed_size or (-(-height // STRIDE) * STRIDE, -(-width // STRIDE) * STRIDE)
    if height > padded[0] or width > padded[1]:
        raise ValueError(
            f"this export takes images up to {padded} (height, width), got {(height, width)}: "
            "export it with dynamic=True, or with imgsz equal to the core and its halos"
        )
    canvas = np.full((len(images), *padded, 3), GREY, np.uint8)
    canvas[:, :height, :width] = images
    return torch.from_numpy(canvas).to(device).permute(0, 3, 1, 2).float().div_(255)


def box_corners(boxes: Tensor) -> Tensor:
    """Corners (k, 4, 2), clockwise from top left, of boxes cx cy w h [angle] (k, 4 or 5)."""
    signs = boxes.new_tensor([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    offsets = boxes[:, None, 2:4] / 2 * signs
    if boxes.shape[1] == 5:
        cos, sin = boxes[:, 4, None].cos(), boxes[:, 4, None].sin()
        x, y = offsets.unbind(dim=2)
        offsets = torch.stack([cos * x - sin * y, sin * x + cos * y], dim=2)
    return boxes[:, None, :2] + offsets


def suppress(boxes: Tensor, corners: Tensor, classes: Tensor, limit: float) -> Tensor:
    """Return the indices of the boxes that survive suppression within their class, ascending.

    Boxes come in falling score. Horizontal ones, (k, 4), are compared by their IoU (from the
    corners), oriented ones, (k, 5), by their probabilistic IoU.
    """
    kept = [torch.zeros(0, dtype=torch.long)]
    for kind in torch.unique(classes):
        members = torch.nonzero(classes == kind)[:, 0]
        if boxes.shape[1] == 5:
            kept.append(members[_suppress_oriented(boxes[members], limit)])
        else:
            flat = torch.cat([corners[members, 0], corners[members, 2]], dim=1)
            falling = torch.arange(len(members), 0, -1, dtype=torch.float32)
            kept.append(members[nms(flat, falling, limit)])
    return torch.cat(kept).sort().values


def _suppress_oriented(boxes: Tensor, limit: float) -> Tensor:
    alive = torch.ones(len(boxes), dtype=torch.bool)
    for index in range(len(boxes)):
        if alive[index]:
            overlap = probabilistic_iou(boxes[index], boxes[index + 1 :])
            alive[index + 1 :] &= overlap <= limit
    return torch.nonzero(alive)[:, 0]


def corner_limit(size: tuple[int, int]) -> Tensor:
    """The largest x and y inside an image of `size` (height, width)."""
    return torch.tensor([size[1], size[0]], dtype=torch.float32)


def _area(corners: Tensor) -> Tensor:
    along, across = corners[:, 1] - corners[:, 0], corners[:, 3] - corners[:, 0]
    return (along[:, 0] * across[:, 1] - along[:, 1] * across[:, 0]).abs()
