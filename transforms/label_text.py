"""Text files of labels, one per picture: YOLO and DOTA, each read as it was written."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

_DOTA_HEADERS = ("imagesource:", "gsd:")


@dataclass(frozen=True, eq=False)
class YoloBoxes:
    """Labelled boxes of one picture in fractions of its width and height.

    corners float64 (k, 4, 2), x y; kinds int32 (k,), the class numbers of the file; lines int64
    (k,), from 0.
    """

    corners: NDArray[np.float64]
    kinds: NDArray[np.int32]
    lines: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class DotaBoxes:
    """Labelled boxes of one picture in its pixels.

    corners float64 (k, 4, 2), x y; classes are k names; difficult bool (k,); lines int64 (k,),
    from 0.
    """

    corners: NDArray[np.float64]
    classes: Sequence[str]
    difficult: NDArray[np.bool_]
    lines: NDArray[np.int64]


def read_yolo(path: Path) -> YoloBoxes:
    """Read a YOLO text file: `class cx cy w h` or `class x1 y1 x2 y2 x3 y3 x4 y4` on each line.

    Raises ValueError, naming the line, for anything else. An empty file holds no objects.
    """
    corners, kinds, lines = [], [], []
    for number, line in _objects(path):
        try:
            kind, box = _parse_yolo(line.split())
        except ValueError as error:
            raise ValueError(f"{path}, line {number + 1}: {error}, got {line!r}") from error
        kinds.append(kind)
        corners.append(box)
        lines.append(number)
    return YoloBoxes(_corners(corners), np.array(kinds, np.int32), np.array(lines, np.int64))


def read_dota(path: Path) -> DotaBoxes:
    """Read a DOTA text file: `x1 y1 x2 y2 x3 y3 x4 y4 class difficult`, in pixels, on each line.

    `difficult` may be left out (0); the header lines `imagesource:` and `gsd:` are skipped. Raises
    ValueError, naming the line, for anything else. An empty file holds no objects.
    """
    corners, classes, difficult, lines = [], [], [], []
    for number, line in _objects(path):
        if line.strip().lower().startswith(_DOTA_HEADERS):
            continue
        try:
            place, name, hard = _parse_dota(line.split())
        except ValueError as error:
            raise ValueError(f"{path}, line {number + 1}: {error}, got {line!r}") from error
        corners.append(place)
        classes.append(name)
        difficult.append(hard)
        lines.append(number)
    boxes = _corners(corners)
    if len(boxes) and np.abs(boxes).max() <= 1.5:
        raise ValueError(
            f"{path}: DOTA places are pixels, but all of these are fractions below 1.5"
        )
    return DotaBoxes(boxes, classes, np.array(difficult, np.bool_), np.array(lines, np.int64))


def tell_format(folder: Path) -> Literal["yolo", "dota"] | None:
    """Tell the format of a folder of text files by their first lines; None if none has an object.

    Files that cannot be labels, such as `classes.txt`, are passed over. Raises ValueError if the
    first line that could be a label could be either.
    """
    odd = None
    for file in sorted(folder.glob("*.txt")):
        line = next((line for _, line in _objects(file)), None)
        words = line.split() if line else []
        if line and (len(words) == 5 or line.strip().lower().startswith(_DOTA_HEADERS)):
            return "yolo" if len(words) == 5 else "dota"
        if len(words) in (9, 10):
            return _tell_nine(words, file)
        odd = odd or (f"{file} begins with {line!r}" if line else None)
    if odd:
        raise ValueError(
            f"input.labels: no .txt in {folder} is YOLO (5 or 9 numbers a line) or DOTA (8 numbers,"
            f" a class, difficult): {odd}; if they are, set input.label_format to yolo or dota"
        )
    return None


def _tell_nine(words: Sequence[str], file: Path) -> Literal["yolo", "dota"]:
    """Tell the format by a line of 9 or 10 words: DOTA has a word as its ninth."""
    if not _is_number(words[8]):
        return "dota"
    numbers = [float(word) for word in words if _is_number(word)]
    fractions = len(numbers) == 9 and all(abs(number) <= 1.5 for number in numbers[1:])
    if len(words) == 9 and fractions:
        return "yolo"
    raise ValueError(
        f"{file} could be YOLO or DOTA, as its first line is {' '.join(words)!r}: set "
        "input.label_format to yolo (class and fractions) or dota (pixels, class, difficult)"
    )


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _objects(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines that are not blank, with their number from 0."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text: {error}") from error
    yield from ((number, line) for number, line in enumerate(lines) if line.strip())


def _corners(rows: list[list[float]]) -> NDArray[np.float64]:
    return np.array(rows, np.float64).reshape(-1, 4, 2)


def _parse_yolo(words: Sequence[str]) -> tuple[int, list[float]]:
    if len(words) not in (5, 9):
        raise ValueError(f"5 or 9 numbers are wanted, not {len(words)}")
    kind, *place = map(float, words)
    if not kind.is_integer() or not 0 <= kind < 2**31:
        raise ValueError("the class must be a whole number from 0")
    if len(place) == 8:
        _check_range(place, -0.5, 1.5)
        return int(kind), place
    _check_range(place, 0, 1)
    x, y, width, height = place
    left, right, top, bottom = x - width / 2, x + width / 2, y - height / 2, y + height / 2
    return int(kind), [left, top, right, top, right, bottom, left, bottom]


def _check_range(values: Iterable[float], low: float, high: float) -> None:
    slack = 1e-3  # writers round
    if not all(math.isfinite(v) and low - slack <= v <= high + slack for v in values):
        raise ValueError("places must be fractions of the picture's width and height")


def _parse_dota(words: Sequence[str]) -> tuple[list[float], str, bool]:
    if len(words) == 8 and all(map(_is_number, words)):
        raise ValueError("the class is missing behind the 8 numbers")
    if len(words) not in (9, 10):
        raise ValueError(f"8 numbers, a class and 0 or 1 (difficult) are wanted, not {len(words)}")
    place = [float(word) for word in words[:8]]
    if not all(map(math.isfinite, place)):
        raise ValueError("places must be finite numbers of pixels")
    difficult = words[9] if len(words) == 10 else "0"
    if not difficult.isdecimal():
        raise ValueError("difficult, behind the class, must be 0 or 1")
    return place, words[8], int(difficult) > 0
