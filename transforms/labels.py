"""Labels: the true objects around a window, in its pixels and in the detector's classes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from configs.schema import InputConfig
from transforms.functional.boxes import Labels
from transforms.label_classes import index_classes
from transforms.label_coco import is_coco, parse_coco
from transforms.label_files import JSON_SUFFIXES, MAP_SUFFIXES, read_map
from transforms.label_geojson import load_json, parse_geojson
from transforms.label_text import tell_format
from transforms.map_labels import MapLabels
from transforms.outlines import to_outlines
from transforms.picture_labels import CocoImages, DotaFiles, PictureLabels, YoloFiles
from transforms.records import Scene, Window


class LabelSource(Protocol):
    """Where the labels of a run come from."""

    def around(self, window: Window) -> Labels:
        """Return the labels whose box touches the read rectangle, in its pixels."""

    def outside(self, scenes: Sequence[Scene]) -> int:
        """Check the labels against all scenes of a run; return how many lie in none of them.

        Raises ValueError if the labels cannot belong to the scenes.
        """

    def total(self, scenes: Sequence[Scene]) -> int:
        """Return how many labels there are for these scenes, those outside of them included."""


def open_labels(config: InputConfig, names: tuple[str, ...]) -> LabelSource | None:
    """Return the labels that a config declares, in the detector's classes `names`, or None.

    The format `auto` is told by the suffix, by the content of a `.json`, and by the first lines of
    the files of a folder. Raises ValueError, with the remedy, for a missing or unreadable file, a
    format that cannot be told and for unknown classes.
    """
    path = config.labels
    if path is None:
        return None
    if not path.exists():
        raise ValueError(f"input.labels: {path} does not exist")
    if path.is_dir():
        return PictureLabels(_open_folder(path, config, names))
    return _open_file(path, config, names)


def _open_file(path: Path, config: InputConfig, names: tuple[str, ...]) -> LabelSource:
    form, field, suffix = config.label_format, config.label_field, path.suffix.lower()
    if form in ("yolo", "dota"):
        raise ValueError(f"input.labels: {form} wants a folder of .txt files, got the file {path}")
    if form != "coco" and suffix not in MAP_SUFFIXES:
        raise ValueError(
            f"input.labels: {path} must be {', '.join(MAP_SUFFIXES)} (a COCO file is .json), or a "
            "folder of YOLO or DOTA .txt files"
        )
    content = load_json(path) if form == "coco" or suffix in JSON_SUFFIXES else None
    if form == "coco" or (form == "auto" and is_coco(content)):
        return PictureLabels(CocoImages(parse_coco(content, path), path, config, names))
    known = parse_geojson(content, path, field) if content is not None else read_map(path, field)
    outlines = to_outlines(known, field, path)
    return MapLabels(outlines, index_classes(outlines.classes, config.label_classes, names))


def _open_folder(path: Path, config: InputConfig, names: tuple[str, ...]) -> YoloFiles | DotaFiles:
    form: str | None = config.label_format
    if form in ("map", "coco"):
        raise ValueError(f"input.labels: {form} wants a file, got the folder {path}")
    if form == "auto":
        form = tell_format(path)
    if form == "dota":
        return DotaFiles(path, config, names)
    if config.label_names:
        return YoloFiles(path, index_classes(config.label_names, config.label_classes, names))
    if form is None:
        raise ValueError(
            f"input.labels: no .txt in {path} holds an object, so its format cannot be told: set "
            "input.label_format to yolo (with input.label_names) or dota"
        )
    raise ValueError(
        "input.label_names is empty: name the class numbers of the YOLO files, from 0 on, "
        "such as [car, truck, bus]"
    )
