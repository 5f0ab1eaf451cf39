"""Labelled pictures for the detector's training: real ones, rendered ones, and their vehicles.

Boxes are horizontal, so turning a picture must not inflate them. Every vehicle is therefore kept
as a rounded rectangle with an orientation wherever the label implies one (a box clearly longer
than wide lies along an axis; a rendered vehicle has known corners), and its horizontal box is
computed after the turn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from configs.train_detector import PictureSet, RenderedScenes, ScoredPlace
from transforms.functional.render import render_scene

Image = NDArray[np.uint8]
Float = NDArray[np.float32]
Affine = NDArray[np.float64]
Mask = NDArray[np.bool_]

_LONG = 1.8  # a box at least this much longer than wide lies along an axis within about 12 degrees
_ROUNDING = 0.4  # corner radius of a vehicle as a share of its half width
_LEVELS = (1.0, 0.7, 0.5, 0.35, 0.25)


@dataclass(frozen=True, eq=False)
class Vehicles:
    """Vehicles of one picture as oriented rounded rectangles, in its pixels.

    `centres` is float32 (k, 2) x y; `halves` (k, 2) half lengths along the two axes of the vehicle;
    `angles` (k,) radians of the first axis; `oriented` (k,) says whether the angle is known: where
    it is not, the rectangle is only the horizontal box. `classes` is int32 (k,).
    """

    centres: Float
    halves: Float
    angles: Float
    oriented: Mask
    classes: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.classes)

    def select(self, index: Mask | NDArray[np.intp]) -> "Vehicles":
        """Return the vehicles at a mask or an index array."""
        return Vehicles(
            self.centres[index],
            self.halves[index],
            self.angles[index],
            self.oriented[index],
            self.classes[index],
        )


@dataclass(frozen=True, eq=False)
class LabelledPicture:
    """A picture as a pyramid of uint8 (h, w, 3) RGB levels (scale, image), and its vehicles."""

    levels: tuple[tuple[float, Image], ...]
    vehicles: Vehicles
    gsd: float

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in full-scale pixels."""
        height, width = self.levels[0][1].shape[:2]
        return height, width


def vehicles_from_boxes(boxes: Float, classes: NDArray[np.int32]) -> Vehicles:
    """Turn horizontal boxes xyxy (k, 4) into vehicles; long boxes get the angle of their axis."""
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    halves = (boxes[:, 2:] - boxes[:, :2]) / np.float32(2)
    oriented = halves.max(axis=1) >= _LONG * halves.min(axis=1)
    centres = (boxes[:, :2] + boxes[:, 2:]) / np.float32(2)
    return Vehicles(centres, halves, np.zeros(len(boxes), np.float32), oriented, classes)


def vehicles_from_corners(corners: Float, classes: NDArray[np.int32]) -> Vehicles:
    """Turn oriented corners (k, 4, 2) into vehicles with known angles."""
    corners = np.asarray(corners, np.float32).reshape(-1, 4, 2)
    along, across = (corners[:, 1] - corners[:, 0]) / 2, (corners[:, 2] - corners[:, 1]) / 2
    halves = np.stack([np.linalg.norm(along, axis=1), np.linalg.norm(across, axis=1)], axis=1)
    angles = np.arctan2(along[:, 1], along[:, 0]).astype(np.float32)
    oriented = np.ones(len(corners), np.bool_)
    centres: Float = corners.mean(axis=1, dtype=np.float32)
    return Vehicles(centres, halves.astype(np.float32), angles, oriented, classes)


def read_labels(path: Path, size: tuple[int, int], classes: Sequence[int]) -> Vehicles:
    """Read YOLO labels (class cx cy w h, relative) of a picture of `size` (height, width).

    `classes[i]` is the detector's class of label class i. No file means no vehicle.
    """
    rows = np.loadtxt(path, ndmin=2) if path.exists() and path.stat().st_size else np.zeros((0, 5))
    if rows.shape[1] != 5:
        raise ValueError(f"{path}: a label line is 'class cx cy w h', got {rows.shape[1]} values")
    height, width = size
    low, high = rows[:, 1:3] - rows[:, 3:] / 2, rows[:, 1:3] + rows[:, 3:] / 2
    boxes = np.concatenate([low, high], axis=1) * [width, height, width, height]
    mapped = np.array([classes[int(row[0])] for row in rows], np.int32)
    return vehicles_from_boxes(boxes.astype(np.float32), mapped)


def horizontal_boxes(vehicles: Vehicles, matrix: Affine, tolerance: float) -> tuple[Float, Mask]:
    """Horizontal boxes of the vehicles after the similarity `matrix` (2, 3), and which are tight.

    Returns xyxy float32 (k, 4) and a mask (k,). The box of a rounded rectangle with half axes a, b,
    unit directions u, v and corner radius r reaches (a - r)|u| + (b - r)|v| + r from its centre. A
    vehicle without a known angle keeps its box through quarter turns; it is tight only if the turn
    is within `tolerance` degrees of one.
    """
    linear = matrix[:, :2]
    scale = float(np.sqrt(abs(np.linalg.det(linear))))
    turn = float(np.degrees(np.arctan2(linear[1, 0], linear[0, 0])))
    near_quarter = abs(turn - 90 * round(turn / 90)) <= tolerance
    cos, sin = np.cos(vehicles.angles), np.sin(vehicles.angles)
    u = np.abs(np.stack([cos, sin], axis=1) @ linear.T) / scale
    v = np.abs(np.stack([-sin, cos], axis=1) @ linear.T) / scale
    a, b = (scale * vehicles.halves).T[:, :, None]
    radius = _ROUNDING * np.minimum(a, b)
    reach = (a - radius) * u + (b - radius) * v + radius
    upright = scale * vehicles.halves @ np.round(np.abs(linear) / scale).T
    reach = np.where(vehicles.oriented[:, None], reach, upright)
    centres = vehicles.centres @ linear.T + matrix[:, 2]
    boxes = np.concatenate([centres - reach, centres + reach], axis=1).astype(np.float32)
    return boxes, vehicles.oriented | near_quarter


def load_pictures(
    root: Path, section: PictureSet, classes: Sequence[int], held_out: Sequence[ScoredPlace]
) -> list[LabelledPicture]:
    """Load the pictures of a set; none of the places held out of training may be among them.

    Raises FileNotFoundError where a glob finds no picture, ValueError for a held-out one.
    """
    forbidden = {
        path for place in held_out for pattern in place.globs for path in root.glob(pattern)
    }
    paths = [path for pattern in section.globs for path in find_pictures(root, pattern)]
    leaked = sorted(path.name for path in paths if path in forbidden)
    if leaked:
        raise ValueError(f"held-out pictures must not be trained on, got {leaked}")
    return [read_picture(path, section.gsd, classes) for path in paths]


def find_pictures(root: Path, pattern: str) -> list[Path]:
    """Return the pictures that a glob below `root` names, sorted; label files are left out."""
    paths = sorted(path for path in root.glob(pattern) if path.suffix != ".txt")
    if not paths:
        raise FileNotFoundError(f"no picture matches {pattern!r} below {root}")
    return paths


def read_picture(path: Path, gsd: float, classes: Sequence[int]) -> LabelledPicture:
    """Read a picture and its labels; raises ValueError for a file that is no picture."""
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if pixels is None:
        raise ValueError(f"{path} is not a readable picture")
    image = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    vehicles = read_labels(path.with_suffix(".txt"), image.shape[:2], classes)
    return LabelledPicture(_pyramid(image), vehicles, gsd)


def render_pictures(section: RenderedScenes, folder: Path) -> list[LabelledPicture]:
    """Render the scenes of a set, each with its own ground sampling; all vehicles are class 0.

    Scenes are kept in `folder` and read from there when they exist, so a resumed run goes on with
    the same pictures and does not render twice.
    """
    folder.mkdir(parents=True, exist_ok=True)
    low, high = section.gsd
    pictures = []
    for seed in range(section.first_seed, section.first_seed + section.count):
        gsd = float(np.random.default_rng(seed).uniform(low, high))
        image, corners = _rendered(folder / f"scene-{seed}.npz", seed, section.size, gsd)
        vehicles = vehicles_from_corners(corners, np.zeros(len(corners), np.int32))
        pictures.append(LabelledPicture(((1.0, image),), vehicles, gsd))
    return pictures


def _rendered(path: Path, seed: int, size: int, gsd: float) -> tuple[Image, Float]:
    if not path.exists():
        scene = render_scene(seed=seed, height=size, width=size, gsd=gsd)
        with path.with_suffix(".tmp").open("wb") as file:
            np.savez(file, image=scene.image, corners=scene.corners)
        path.with_suffix(".tmp").replace(path)
    with np.load(path) as stored:
        return stored["image"], stored["corners"]


def _pyramid(image: Image) -> tuple[tuple[float, Image], ...]:
    height, width = image.shape[:2]
    smaller = [
        (
            scale,
            cv2.resize(
                image, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA
            ),
        )
        for scale in _LEVELS[1:]
    ]
    return ((1.0, image), *smaller)
