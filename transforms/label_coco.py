"""COCO JSON: the labels of each picture, in its pixels."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transforms.functional.polygons import smallest_boxes

_HEAD = ("images", "annotations", "categories")


@dataclass(frozen=True, eq=False)
class CocoPicture:
    """Labels of one picture in its pixels; all arrays have the same length k.

    corners float64 (k, 4, 2), x y; classes are k category names; crowd and ignored bool (k,);
    numbers int64 (k,), the annotation ids. `size` is (height, width) as the file has it, or None.
    """

    file_name: str
    size: tuple[int, int] | None
    corners: NDArray[np.float64]
    classes: tuple[str, ...]
    ignored: NDArray[np.bool_]
    crowd: NDArray[np.bool_]
    numbers: NDArray[np.int64]


def is_coco(content: object) -> bool:
    """Say whether what a JSON file holds looks like COCO: it has images and annotations."""
    return isinstance(content, dict) and "images" in content and "annotations" in content


def parse_coco(content: object, path: Path) -> tuple[CocoPicture, ...]:
    """Return the pictures of a COCO file, with their labels.

    A label is its `bbox` (x, y, width, height), or the four corners of its `segmentation` if that
    is one quadrilateral that fills the box, or without a bbox the smallest rotated box around its
    polygons. `iscrowd` and `ignore` are 0 or 1. Raises ValueError, naming the annotation by its id,
    for what cannot be a label.
    """
    images, annotations, kinds = (_objects(content, name, path) for name in _HEAD)
    names = {_key(kind, "id", path): str(_key(kind, "name", path)) for kind in kinds}
    marks: dict[Any, list[dict[str, Any]]] = {_key(image, "id", path): [] for image in images}
    if len(marks) < len(images):
        raise ValueError(f"{path}: two images have the same id")
    seen: set[int] = set()
    for mark in annotations:
        _check_references(mark, names, marks, seen, path)
        seen.add(mark["id"])
        marks[mark["image_id"]].append(mark)
    pictures = tuple(_picture(image, marks[image["id"]], names, path) for image in images)
    _check_pixels(pictures, path)
    return pictures


def _objects(content: object, name: str, path: Path) -> list[dict[str, Any]]:
    """Return a list of objects of a COCO file."""
    found = content.get(name) if isinstance(content, dict) else None
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise ValueError(
            f"{path}: COCO wants lists of objects {', '.join(_HEAD)}; missing: {[name]}"
        )
    return found


def _key(thing: dict[str, Any], name: str, path: Path) -> int | str:
    """Return what an object is known by, a number or a text."""
    found = thing.get(name)
    if not isinstance(found, int | str):
        raise ValueError(f"{path}: {thing!r:.80} wants {name}, a whole number or a text")
    return found


def _check_references(
    mark: dict[str, Any],
    names: dict[Any, str],
    images: dict[Any, Any],
    seen: set[int],
    path: Path,
) -> None:
    where = f"{path}: annotation {mark.get('id')!r}"
    if not isinstance(mark.get("id"), int) or mark["id"] in seen or abs(mark["id"]) >= 2**63:
        raise ValueError(f"{where} wants an id of its own, a whole number")
    if not all(isinstance(mark.get(name), int | str) for name in ("category_id", "image_id")):
        raise ValueError(f"{where} wants a category_id and an image_id, whole numbers or texts")
    if mark["category_id"] not in names:
        raise ValueError(
            f"{where} has the category_id {mark.get('category_id')!r}, and the file's categories "
            f"are {names}"
        )
    if mark["image_id"] not in images:
        raise ValueError(
            f"{where} has the image_id {mark.get('image_id')!r}, which no image of the file has"
        )
    for name in ("iscrowd", "ignore"):
        if mark.get(name) not in (None, 0, 1):
            raise ValueError(f"{where} has {name} = {mark[name]!r}, and 0 or 1 is wanted")


def _picture(
    image: dict[str, Any], marks: list[dict[str, Any]], names: dict[Any, str], path: Path
) -> CocoPicture:
    where = f"{path}: image {image['id']!r}"
    height, width = _side(image, "height", where), _side(image, "width", where)
    if not isinstance(image.get("file_name"), str):
        raise ValueError(f"{where} has no file_name")
    corners = [_corners(mark, f"{path}: annotation {mark['id']}") for mark in marks]
    crowd = np.array([bool(mark.get("iscrowd")) for mark in marks], np.bool_)
    return CocoPicture(
        file_name=image["file_name"],
        size=(height, width) if height and width else None,
        corners=np.array(corners, np.float64).reshape(-1, 4, 2),
        classes=tuple(names[mark["category_id"]] for mark in marks),
        ignored=crowd | np.array([bool(mark.get("ignore")) for mark in marks], np.bool_),
        crowd=crowd,
        numbers=np.array([mark["id"] for mark in marks], np.int64),
    )


def _side(image: dict[str, Any], name: str, where: str) -> int | None:
    """Return the height or width of a picture in pixels, None where it is not said."""
    side = image.get(name)
    if not (side is None or isinstance(side, int) or (isinstance(side, float) and side % 1 == 0)):
        raise ValueError(f"{where} has {name} = {side!r}, and a whole number is wanted")
    return None if side is None else int(side)


def _corners(mark: dict[str, Any], where: str) -> NDArray[np.float64]:
    """Return the corners (4, 2) of an annotation."""
    polygons = mark.get("segmentation") or []
    points = _points(polygons, where) if isinstance(polygons, list) else np.zeros((0, 2))
    if not mark.get("bbox"):
        if not len(points):
            raise ValueError(f"{where} has neither a bbox nor polygons in its segmentation")
        return smallest_boxes(points, np.zeros(len(points), np.intp))[0]
    box = _box(mark["bbox"], where)
    reach = np.concatenate([points.min(axis=0), points.max(axis=0)]) if len(points) == 4 else None
    if reach is not None and len(polygons) == 1 and np.abs(reach - box).max() <= 1:
        return points
    x0, y0, x1, y1 = box
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])


def _box(bbox: Any, where: str) -> NDArray[np.float64]:  # noqa: ANN401 (JSON holds anything)
    """Return x0 y0 x1 y1 of a bbox."""
    try:
        x, y, width, height = (float(number) for number in bbox)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{where}: a bbox is x, y, width, height, got {bbox!r}") from error
    if not (np.isfinite([x, y, width, height]).all() and width > 0 and height > 0):
        raise ValueError(
            f"{where}: a bbox is x, y, width, height with a size above 0, got {bbox!r}"
        )
    return np.array([x, y, x + width, y + height])


def _points(polygons: list[Any], where: str) -> NDArray[np.float64]:
    try:
        numbers = [float(number) for polygon in polygons for number in polygon]
        points = np.array(numbers).reshape(-1, 2)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"{where}: polygons of a segmentation are lists x, y, x, y ...: {error}"
        ) from error
    if not np.isfinite(points).all():
        raise ValueError(f"{where} has a vertex that is not finite")
    return points


def _check_pixels(pictures: Sequence[CocoPicture], path: Path) -> None:
    """Raise ValueError if all places are fractions, or most boxes end beyond their picture."""
    boxes = [picture.corners for picture in pictures]
    corners = np.concatenate(boxes) if boxes else np.zeros((0, 4, 2))
    if len(corners) and np.abs(corners).max() <= 2:
        raise ValueError(
            f"{path}: a bbox is in pixels, but no place in this file is beyond 2: multiply by the "
            "width and height of the picture"
        )
    high = [
        picture.corners.max(axis=1) > np.add(picture.size[::-1], 1)
        for picture in pictures
        if picture.size and len(picture.corners)
    ]
    beyond = np.concatenate(high).any(axis=1) if high else np.zeros(0, np.bool_)
    if 2 * beyond.sum() > len(corners):
        raise ValueError(
            f"{path}: {beyond.sum()} of {len(corners)} boxes end beyond their picture: a bbox is x,"
            " y, width, height in pixels, not x0, y0, x1, y1, and of the picture's full size"
        )
