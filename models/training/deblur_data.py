"""Sharp pictures in memory, and training pairs made from them.

A batch is a pure function of the pictures, the seed and the step, so a resumed training draws what
it would have drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from configs.train_deblurrer import SharpPictures
from transforms.functional.blur_sampler import BlurModel, degrade, sample_degradation
from transforms.functional.camera import Image

# A chip with this share of pure white is partly without data.
_WHITE_SHARE = 0.03


@dataclass(frozen=True, eq=False)
class Pictures:
    """Sharp pictures, uint8 (h, w, 3) RGB of any size, and how often each is drawn (sums to 1)."""

    images: tuple[Image, ...]
    shares: npt.NDArray[np.float64]


def load_pictures(folder: Path, groups: Sequence[SharpPictures], *, smallest: int) -> Pictures:
    """Read all pictures of the groups; within a group the larger one is drawn more often.

    Pictures with white areas without data, and those smaller than `smallest` px after shrinking,
    are left out. A group that finds no picture is an error.
    """
    images: list[Image] = []
    shares: list[float] = []
    for group in groups:
        found = [
            _shrunk(image, scale)
            for path in _paths(folder, group)
            if not _has_missing_areas(image := read_picture(path))
            for scale in group.scales
        ]
        usable = [image for image in found if min(image.shape[:2]) >= smallest]
        if not usable:
            raise ValueError(f"no usable picture found for {group.pattern!r} below {folder}")
        area = sum(image.shape[0] * image.shape[1] for image in usable)
        images += usable
        shares += [group.share * image.shape[0] * image.shape[1] / area for image in usable]
    return Pictures(tuple(images), np.array(shares) / np.sum(shares))


def read_picture(path: Path) -> Image:
    """The picture as uint8 (h, w, 3) RGB."""
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise ValueError(f"not a picture that OpenCV can read: {path}")
    image: Image = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
    return image


def _paths(folder: Path, group: SharpPictures) -> list[Path]:
    return sorted(
        path
        for path in folder.glob(group.pattern)
        if not any(fnmatch(path.name, excluded) for excluded in group.exclude)
    )


def _has_missing_areas(image: Image) -> bool:
    return float((image.min(axis=2) == 255).mean()) > _WHITE_SHARE


def _shrunk(image: Image, scale: float) -> Image:
    if scale == 1.0:
        return image
    shrunk: Image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return shrunk


@dataclass(frozen=True, eq=False)
class PairSampler:
    """Draws (blurred, sharp) patches."""

    pictures: Pictures
    blur: BlurModel
    patch: int
    seed: int

    def batch(self, step: int, size: int) -> tuple[Image, Image]:
        """The blurred and the sharp patches of a step: uint8 (size, patch, patch, 3) each."""
        rng = np.random.default_rng([self.seed, step])
        pairs = [self._pair(rng) for _ in range(size)]
        return np.stack([blurred for blurred, _ in pairs]), np.stack([sharp for _, sharp in pairs])

    def _pair(self, rng: np.random.Generator) -> tuple[Image, Image]:
        margin = self.blur.reach
        wide = _turned(self._crop(rng, self.patch + 2 * margin), rng)
        degradation = sample_degradation(self.blur, rng)
        inner = slice(margin, margin + self.patch)
        return degrade(wide, degradation, rng)[inner, inner], wide[inner, inner]

    def _crop(self, rng: np.random.Generator, side: int) -> Image:
        """The more textured of two random crops: flat ones teach little."""
        image = self.pictures.images[rng.choice(len(self.pictures.images), p=self.pictures.shares)]
        height, width = image.shape[:2]
        side = min(side, height, width)
        crops = []
        for _ in range(2):
            top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
            crops.append(image[top : top + side, left : left + side])
        return max(crops, key=_texture)


def _texture(image: Image) -> float:
    return float(np.abs(np.diff(image[::2, :, 1].astype(np.int16), axis=1)).mean())


def _turned(image: Image, rng: np.random.Generator) -> Image:
    """One of the eight turns and reflections of a square image."""
    turned = np.rot90(image, int(rng.integers(4)))
    return np.ascontiguousarray(turned[:, ::-1] if rng.random() < 0.5 else turned)
