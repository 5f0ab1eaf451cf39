"""YOLO on arrays: uint8 images in, boxes out, each image for itself.

Ultralytics supplies the networks; what happens around them is our own, because its predictor is not
thread safe, rescales tiles and keeps 300 boxes of each, and because its suppression of overlaps
stops at a wall-clock limit and then drops the images that are left.
"""

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.backend_choice import Backend, Dtype
from models.device_use import computing
from models.suppression import horizontal_iou, probabilistic_iou, suppress
from models.yolo import Yolo, load_yolo
from transforms.functional.boxes import Detections

STRIDE = 32
GREY = 114

Images = NDArray[np.uint8]
Boxes = NDArray[Any]  # float32


@dataclass(frozen=True, eq=False)
class Detector:
    """A YOLO that finds objects in equally large tiles, at their own resolution.

    Boxes scored below `score_floor` are left out; of two boxes of one class that overlap by more
    than `nms_iou` the better stays; of each image at most the best `max_detections` are returned.
    `image_size` rescales tiles so that their longer side has that many pixels; None never does.
    """

    network: Yolo
    device: str = "cpu"
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
        backend: Backend = "torch",
        dtype: Dtype = "float32",
        image_size: int | None = None,
        score_floor: float = 0.01,
        nms_iou: float = 0.5,
        max_detections: int = 1000,
    ) -> "Detector":
        """Load weights: what is accepted, and which errors are raised, is told by `load_yolo`."""
        network = load_yolo(
            weights,
            sha256=sha256,
            trust=trust,
            names=names,
            device=device,
            backend=backend,
            dtype=dtype,
        )
        return cls(network, device, image_size, score_floor, nms_iou, max_detections)

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
        together = 1 if self.device == "cpu" else max(1, len(images))
        return [
            detections
            for start in range(0, len(images), together)
            for detections in self._detect(images[start : start + together])
        ]

    def _detect(self, images: Images) -> list[Detections]:
        height, width = images.shape[1:3]
        scale = 1.0 if self.image_size is None else self.image_size / max(height, width)
        pictures = pad(resize(images, scale), self.network.fixed_size)
        with self._lock, computing(self.device, len(images)):
            return [
                self._select(cells, (height, width), scale)
                for cells in self.network.cells(pictures)
            ]

    def _select(self, cells: Any, size: tuple[int, int], scale: float) -> Detections:  # noqa: ANN401
        """Turn the raw cells of one image, (4 + classes [+ 1], k), into detections."""
        classes, oriented = len(self.names), self.network.oriented
        if len(cells) != 4 + classes + oriented:
            raise ValueError(
                f"the detector's {classes} names need {4 + classes + oriented} channels, "
                f"got {len(cells)}"
            )
        inside = np.array(size[::-1], np.float32)
        if not isinstance(cells, np.ndarray):
            cells = cells.pruned(
                classes,
                score_floor=self.score_floor,
                nms_iou=self.nms_iou,
                inside=inside * np.float32(scale),
            )
        if not np.isfinite(cells).all():
            raise FloatingPointError("the detector returned values that are not finite")
        best, kinds = cells[4 : 4 + classes].max(axis=0), cells[4 : 4 + classes].argmax(axis=0)
        found = np.flatnonzero(best >= self.score_floor)
        order = found[np.argsort(-best[found], kind="stable")]
        boxes = cells[:4, order].T / np.float32(scale)
        if oriented:
            boxes = np.column_stack([boxes, cells[-1, order]])
            corners = box_corners(boxes)
            kept = suppress(boxes, kinds[order], self.nms_iou, probabilistic_iou)
        else:
            corners = np.clip(box_corners(boxes), 0, inside)
            flat = np.concatenate([corners[:, 0], corners[:, 2]], axis=1)
            kept = suppress(flat, kinds[order], self.nms_iou, horizontal_iou)
        kept = kept[_area(corners[kept]) > 0][: self.max_detections]
        return Detections(corners[kept], best[order[kept]], kinds[order[kept]].astype(np.int32))


def resize(images: Images, scale: float) -> Images:
    """Scale uint8 (n, h, w, 3) by a factor; by 1 returns them as they are."""
    if scale == 1:
        return images
    size = tuple(max(1, round(side * scale)) for side in images.shape[2:0:-1])
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.stack([cv2.resize(image, size, interpolation=way) for image in images])


def pad(images: Images, fixed_size: tuple[int, int] | None) -> Images:
    """Pad uint8 (n, h, w, 3) on the right and below with grey, to what a network takes.

    The padded size is `fixed_size` (height, width), else the next multiple of 32.
    """
    height, width = images.shape[1:3]
    padded = fixed_size or (-(-height // STRIDE) * STRIDE, -(-width // STRIDE) * STRIDE)
    if height > padded[0] or width > padded[1]:
        raise ValueError(
            f"this export takes images up to {padded} (height, width), got {(height, width)}: "
            "export it with dynamic=True, or with imgsz equal to the core and its halos"
        )
    canvas = np.full((len(images), *padded, 3), GREY, np.uint8)
    canvas[:, :height, :width] = images
    return canvas


def box_corners(boxes: Boxes) -> Boxes:
    """Corners (k, 4, 2), clockwise from top left, of boxes cx cy w h [angle] (k, 4 or 5)."""
    signs = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float32)
    offsets = boxes[:, None, 2:4] / 2 * signs
    if boxes.shape[1] == 5:
        cos, sin = np.cos(boxes[:, 4, None]), np.sin(boxes[:, 4, None])
        x, y = offsets[..., 0], offsets[..., 1]
        offsets = np.stack([cos * x - sin * y, sin * x + cos * y], axis=2)
    corners: Boxes = boxes[:, None, :2] + offsets
    return corners


def _area(corners: Boxes) -> Boxes:
    along, across = corners[:, 1] - corners[:, 0], corners[:, 3] - corners[:, 0]
    area: Boxes = np.abs(along[:, 0] * across[:, 1] - along[:, 1] * across[:, 0])
    return area
