"""The pictures of a training, and patches drawn from them.

A batch is a pure function of the pictures, the seed and the step, so a resumed training draws what
it would have drawn.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset

from configs.train_deblurrer import PictureGroup, SharpPictures
from models.training.deblur_pairs import PairFiles, find_pairs, read_picture
from transforms.functional.blur_sampler import BlurModel, degrade, sample_degradation
from transforms.functional.camera import Image

Patches = tuple[Image, Image]
"""The blurred and the sharp patches of a step: uint8 (n, patch, patch, 3) each."""

# A chip with this share of pure white is partly without data.
_WHITE_SHARE = 0.03


@dataclass(frozen=True, eq=False)
class Pictures:
    """What is drawn from, and how often each is drawn (sums to 1).

    Sharp pictures in memory, uint8 (h, w, 3) RGB of any size, or files of pairs, read when drawn.
    """

    images: tuple[Image | PairFiles, ...]
    shares: npt.NDArray[np.float64]

    @property
    def sharp(self) -> tuple[Image, ...]:
        """The pictures that are sharp only."""
        return tuple(image for image in self.images if isinstance(image, np.ndarray))

    @property
    def pairs(self) -> tuple[PairFiles, ...]:
        """The pictures that come with a blurred counterpart."""
        return tuple(image for image in self.images if isinstance(image, PairFiles))


def load_pictures(
    folder: Path, groups: Sequence[PictureGroup], *, smallest: int, smallest_pair: int | None = None
) -> Pictures:
    """Read all sharp pictures of the groups and find all pairs.

    Within a group a larger picture is drawn more often. Sharp pictures with white areas without
    data, and those smaller than `smallest` px after shrinking, are left out; a group of which none
    is left is an error, and so is a pair smaller than `smallest_pair` (`smallest` unless given).
    """
    images: list[Image | PairFiles] = []
    shares: list[float] = []
    for group in groups:
        found: Sequence[Image | PairFiles]
        if isinstance(group, SharpPictures):
            found = _read_sharp(folder, group, smallest)
        else:
            found = find_pairs(folder, group.pairs, smallest=smallest_pair or smallest)
        areas = np.array([image.shape[0] * image.shape[1] for image in found])
        images += found
        shares += (group.share * areas / areas.sum()).tolist()
    return Pictures(tuple(images), np.array(shares) / np.sum(shares))


def picture_paths(folder: Path, group: SharpPictures) -> list[Path]:
    """The files of a group, in order."""
    return sorted(
        path
        for path in folder.glob(group.pattern)
        if not any(fnmatch(path.name, excluded) for excluded in group.exclude)
    )


def _read_sharp(folder: Path, group: SharpPictures, smallest: int) -> list[Image]:
    paths = picture_paths(folder, group)
    if not paths:
        raise ValueError(f"no picture found for {group.pattern!r} below {folder}")
    complete = [image for path in paths if not _has_missing_areas(image := read_picture(path))]
    scaled = [_shrunk(image, scale) for image in complete for scale in group.scales]
    usable = [image for image in scaled if min(image.shape[:2]) >= smallest]
    if not usable:
        raise ValueError(
            f"no usable picture found for {group.pattern!r} below {folder}: "
            f"{len(paths) - len(complete)} of {len(paths)} have white areas without data, and "
            f"the others' shorter sides are at most "
            f"{max((min(image.shape[:2]) for image in scaled), default=0)} px after shrinking, "
            f"wanted at least {smallest} for a crop with its margin"
        )
    return usable


def _has_missing_areas(image: Image) -> bool:
    return float((image.min(axis=2) == 255).mean()) > _WHITE_SHARE


def _shrunk(image: Image, scale: float) -> Image:
    if scale == 1.0:
        return image
    shrunk: Image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return shrunk


@dataclass(frozen=True, eq=False)
class PairSampler:
    """Draws (blurred, sharp) patches of `patch` px."""

    pictures: Pictures
    blur: BlurModel
    patch: int
    seed: int
    colour_jitter: float = 0.0

    def batch(self, step: int, size: int) -> Patches:
        """The patches of a step."""
        rng = np.random.default_rng([self.seed, step])
        pairs = [self._pair(rng) for _ in range(size)]
        return np.stack([blurred for blurred, _ in pairs]), np.stack([sharp for _, sharp in pairs])

    def _pair(self, rng: np.random.Generator) -> Patches:
        images = self.pictures.images
        picture = images[rng.choice(len(images), p=self.pictures.shares)]
        if isinstance(picture, PairFiles):
            both = np.concatenate(picture.read(), axis=2)
            both = self._jittered(_turned(_textured_crop(both, self.patch, rng), rng), rng)
            return np.ascontiguousarray(both[..., :3]), np.ascontiguousarray(both[..., 3:])
        margin = self.blur.reach
        wide = _turned(_textured_crop(picture, self.patch + 2 * margin, rng), rng)
        wide = self._jittered(wide, rng)
        degradation = sample_degradation(self.blur, rng)
        inner = slice(margin, margin + self.patch)
        return degrade(wide, degradation, rng)[inner, inner], wide[inner, inner]

    def _jittered(self, image: Image, rng: np.random.Generator) -> Image:
        """Gamma, contrast and brightness changed at random, in display values."""
        if not self.colour_jitter:
            return image
        gamma, contrast, brightness = rng.uniform(-self.colour_jitter, self.colour_jitter, 3)
        levels = (np.arange(256) / 255.0) ** np.exp(gamma)
        levels = np.exp(contrast) * (levels - 0.5) + 0.5 + 0.5 * brightness
        table = np.rint(255.0 * levels.clip(0.0, 1.0)).astype(np.uint8)
        jittered: Image = table[image]
        return jittered


def _textured_crop(image: Image, side: int, rng: np.random.Generator) -> Image:
    """The more textured of two random crops: flat ones teach little."""
    height, width = image.shape[:2]
    crops = []
    for _ in range(2):
        top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
        crops.append(image[top : top + side, left : left + side])
    return max(crops, key=_texture)


def _texture(image: Image) -> float:
    return float(np.abs(np.diff(image[::2, :, -2].astype(np.int16), axis=1)).mean())


def _turned(image: Image, rng: np.random.Generator) -> Image:
    """One of the eight turns and reflections of a square image."""
    turned = np.rot90(image, int(rng.integers(4)))
    return np.ascontiguousarray(turned[:, ::-1] if rng.random() < 0.5 else turned)


def draw_batches(
    sampler: PairSampler, size: int, steps: range, *, workers: int = 0
) -> Iterator[Patches]:
    """The batches of some steps in order; made by `workers` processes if there are any."""
    if not workers:
        yield from (sampler.batch(step, size) for step in steps)
        return
    yield from DataLoader(
        _Batches(sampler, size),
        sampler=steps,
        batch_size=None,
        num_workers=workers,
        collate_fn=_unchanged,
        generator=torch.Generator(),
    )


@dataclass(frozen=True, eq=False)
class _Batches(Dataset[Patches]):
    sampler: PairSampler
    size: int

    def __getitem__(self, step: int) -> Patches:
        return self.sampler.batch(step, self.size)


def _unchanged(patches: Any) -> Any:  # noqa: ANN401 - DataLoader's own type
    return patches
