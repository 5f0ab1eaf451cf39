"""Pictures on disk: reading one, and finding those that belong together."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import PIL.Image

from configs.train_deblurrer import PairGlobs
from transforms.functional.camera import Image

_TIFF = (".tif", ".tiff")


def read_picture(path: Path) -> Image:
    """The picture as uint8 (h, w, 3) RGB.

    Of TIFF files (also GeoTIFF) only those of three 8-bit bands are taken: which bands of others
    are the colours, and which range is shown, is not ours to guess.
    """
    flag = cv2.IMREAD_UNCHANGED if path.suffix.lower() in _TIFF else cv2.IMREAD_COLOR
    picture = cv2.imread(str(path), flag)
    if picture is None:
        raise ValueError(f"not a picture that OpenCV can read: {path}")
    if picture.dtype != np.uint8 or picture.shape[2:] != (3,):
        bands = picture.shape[2] if picture.ndim == 3 else 1
        raise ValueError(
            f"{path} is read as {bands} bands of {picture.dtype}, wanted RGB, 3 bands of uint8: "
            "convert it, e.g. with gdal_translate -b 1 -b 2 -b 3 -ot Byte -scale"
        )
    image: Image = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
    return image


@dataclass(frozen=True)
class PairFiles:
    """Two files with pictures of the same size (height, width)."""

    blurred: Path
    sharp: Path
    shape: tuple[int, int]

    def read(self) -> tuple[Image, Image]:
        """The blurred and the sharp picture, uint8 (h, w, 3) RGB."""
        return read_picture(self.blurred), read_picture(self.sharp)


def find_pairs(folder: Path, globs: PairGlobs, *, smallest: int) -> list[PairFiles]:
    """All pairs below a folder, in order; their headers are read, not their pixels.

    No picture, one without its counterpart, two of different sizes, and one smaller than
    `smallest` px are errors.
    """
    blurred, sharp = _by_key(folder, globs.blurred), _by_key(folder, globs.sharp)
    for glob, found in ((globs.blurred, blurred), (globs.sharp, sharp)):
        if not found:
            raise ValueError(f"no picture found for {glob!r} below {folder}")
    alone = [blurred[key] for key in blurred if key not in sharp]
    alone += [sharp[key] for key in sharp if key not in blurred]
    if alone:
        raise ValueError(
            f"{len(alone)} pictures below {folder} have no counterpart: {_first_three(alone)}"
        )
    pairs = [PairFiles(blurred[key], sharp[key], _size(blurred[key])) for key in blurred]
    mixed = [pair.blurred for pair in pairs if _size(pair.sharp) != pair.shape]
    if mixed:
        raise ValueError(
            f"{len(mixed)} pairs below {folder} differ in size from their sharp counterpart: "
            f"{_first_three(mixed)}"
        )
    small = [pair.blurred for pair in pairs if min(pair.shape) < smallest]
    if small:
        raise ValueError(
            f"{len(small)} pairs below {folder} are smaller than the crop of {smallest} px: "
            f"{_first_three(small)}"
        )
    return pairs


def _by_key(folder: Path, glob: str) -> dict[tuple[str, ...], Path]:
    """The files of a glob by what its wildcards matched, without their ending."""
    parts = PurePosixPath(glob).parts
    wild = [number for number, part in enumerate(parts) if set(part) & set("*?[")]
    return {
        tuple(path.relative_to(folder).with_suffix("").parts[number] for number in wild): path
        for path in sorted(folder.glob(glob))
    }


def _size(path: Path) -> tuple[int, int]:
    try:
        with PIL.Image.open(path) as picture:
            width, height = picture.size
    # Ultralytics, once imported, makes Pillow's `open` look for a HEIF plugin before it gives up.
    except (OSError, ImportError, PIL.Image.DecompressionBombError) as error:
        raise ValueError(f"not a picture: {path}: {error}") from error
    return height, width


def _first_three(paths: Sequence[Path]) -> str:
    return ", ".join(str(path) for path in paths[:3]) + (", ..." if len(paths) > 3 else "")
