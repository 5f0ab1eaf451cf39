"""Labels of pictures: text files in a folder, or the images of a COCO file."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

import numpy as np

from configs.schema import InputConfig
from transforms.functional.boxes import Labels
from transforms.functional.scene_labels import SceneLabels, place_labels
from transforms.label_classes import Classes, index_classes
from transforms.label_coco import CocoPicture
from transforms.label_text import read_dota, read_yolo
from transforms.records import Scene, Window


class Pictures(Protocol):
    """Where the labels of each picture are, and how they are read."""

    def name(self, scene: Scene) -> str:
        """Return the file or the entry that holds a scene's labels, or would hold them."""

    def holds(self, scene: Scene) -> bool:
        """Say whether a scene has labels; none at all and an empty list are not the same."""

    def read(self, scene: Scene) -> SceneLabels:
        """Return a scene's labels; raises ValueError for what cannot be one."""

    def lost(self, scenes: Sequence[Scene]) -> str:
        """Say what is wrong, and what to do, if these scenes have no labels."""


class PictureLabels:
    """Labels of pictures, each read when a window of it is first asked for."""

    def __init__(self, pictures: Pictures) -> None:
        """Take the pictures; nothing is read yet."""
        self._pictures = pictures
        self._recent: tuple[Scene, SceneLabels] | None = None

    def around(self, window: Window) -> Labels:
        """Return the labels whose box touches the read rectangle, in its pixels."""
        return self._read(window.scene).cut(window.read)

    def outside(self, scenes: Sequence[Scene]) -> int:
        """Read the labels of every scene; return how many boxes have their centre outside.

        Raises ValueError for a scene without labels, for labels that two scenes would share, and
        for a label that cannot be understood.
        """
        lost = [scene for scene in scenes if not self._pictures.holds(scene)]
        if lost:
            raise ValueError(
                f"{len(lost)} of {len(scenes)} pictures have no labels: {self._pictures.lost(lost)}"
            )
        names = Counter(self._pictures.name(scene) for scene in scenes)
        shared = [name for name, times in names.items() if times > 1]
        if shared:
            raise ValueError(f"several scenes would share the labels {first(shared)}")
        return sum(
            self._read(scene).outside(height=scene.height, width=scene.width) for scene in scenes
        )

    def total(self, scenes: Sequence[Scene]) -> int:
        """Return how many labels the scenes have together."""
        return sum(len(self._read(scene)) for scene in scenes)

    def _read(self, scene: Scene) -> SceneLabels:
        if self._recent is None or self._recent[0] != scene:
            if not self._pictures.holds(scene):
                raise ValueError(
                    f"scene {scene.name} has no labels: {self._pictures.lost([scene])}"
                )
            self._recent = scene, self._pictures.read(scene)
        return self._recent[1]


@dataclass(frozen=True)
class TextFiles:
    """A folder with one text file per picture, named after it."""

    folder: Path

    def name(self, scene: Scene) -> str:
        """Return the path of a scene's file."""
        return str(self._file(scene))

    def holds(self, scene: Scene) -> bool:
        """Say whether the file is there."""
        return self._file(scene).is_file()

    def lost(self, scenes: Sequence[Scene]) -> str:
        """List the files that are not there."""
        names = first(self.name(scene) for scene in scenes)
        return f"{names}; an empty file says that a picture holds no objects"

    def _file(self, scene: Scene) -> Path:
        return self.folder / f"{Path(scene.path).stem}.txt"


@dataclass(frozen=True, eq=False)
class YoloFiles(TextFiles):
    """YOLO files; `classes` is the detector's class of each class number: int32 (n,)."""

    classes: Classes

    def read(self, scene: Scene) -> SceneLabels:
        """Return a scene's labels; raises ValueError for a number beyond the named classes."""
        file = self._file(scene)
        boxes = read_yolo(file)
        if len(boxes.kinds) and boxes.kinds.max() >= len(self.classes):
            raise ValueError(
                f"{file} holds class {boxes.kinds.max()}, and input.label_names has "
                f"{len(self.classes)} names, from 0"
            )
        none = np.zeros(len(boxes.kinds), np.bool_)
        return place_labels(
            boxes.corners * (scene.width, scene.height),
            self.classes[boxes.kinds],
            ignored=none,
            crowd=none,
            numbers=boxes.lines,
        )


@dataclass(frozen=True, eq=False)
class DotaFiles(TextFiles):
    """DOTA files, whose class names go through the config to the detector's `names`."""

    config: InputConfig
    names: tuple[str, ...]

    def read(self, scene: Scene) -> SceneLabels:
        """Return a scene's labels; difficult ones are ignored."""
        file = self._file(scene)
        boxes = read_dota(file)
        classes = index_classes(
            boxes.classes, self.config.label_classes, self.names, f"labels in {file}"
        )
        return place_labels(
            boxes.corners / scene.file_pixels,
            classes,
            ignored=boxes.difficult,
            crowd=np.zeros(len(classes), np.bool_),
            numbers=boxes.lines,
        )


class CocoImages:
    """The images of a COCO file: a scene is that with its file name, else that with its stem."""

    def __init__(
        self, pictures: Sequence[CocoPicture], path: Path, config: InputConfig, names: Sequence[str]
    ) -> None:
        """Take the images of the file at `path`; raises ValueError for unknown classes."""
        found = [name for picture in pictures for name in picture.classes]
        index_classes(found, config.label_classes, names)
        self._path, self._mapping, self._names = path, config.label_classes, names
        self._by_name: dict[str, list[CocoPicture]] = defaultdict(list)
        self._by_stem: dict[str, list[CocoPicture]] = defaultdict(list)
        for picture in pictures:
            self._by_name[_pure(picture.file_name).name].append(picture)
            self._by_stem[_pure(picture.file_name).stem].append(picture)

    def name(self, scene: Scene) -> str:
        """Return the file name that the COCO file gives a scene."""
        picture = self._find(scene)
        return picture.file_name if picture else Path(scene.path).name

    def holds(self, scene: Scene) -> bool:
        """Say whether the file lists a scene."""
        return self._find(scene) is not None

    def lost(self, scenes: Sequence[Scene]) -> str:
        """List the scenes that the file does not, and what it lists instead."""
        listed = first(self._by_name) or "no image"
        return (
            f"{self._path} lists {listed}, and not {first(self.name(s) for s in scenes)}; an image "
            "that is listed without annotations is one that holds no objects"
        )

    def read(self, scene: Scene) -> SceneLabels:
        """Return a scene's labels; raises ValueError if the image had another size."""
        picture = self._find(scene)
        assert picture is not None
        size = ((scene.file_grid or scene).height, (scene.file_grid or scene).width)
        if picture.size not in (None, size):
            raise ValueError(
                f"{self._path}: {picture.file_name} is {picture.size} pixels (height, width), and "
                f"scene {scene.name} is {size}: labels and picture must be of the same size"
            )
        return place_labels(
            picture.corners / scene.file_pixels,
            index_classes(picture.classes, self._mapping, self._names),
            ignored=picture.ignored,
            crowd=picture.crowd,
            numbers=picture.numbers,
        )

    def _find(self, scene: Scene) -> CocoPicture | None:
        path = _pure(scene.path)
        found = self._by_name.get(path.name) or self._by_stem.get(path.stem) or []
        if len(found) > 1:
            found = [p for p in found if _ends_with(path, _pure(p.file_name))] or found
        if len(found) > 1:
            raise ValueError(
                f"scene {scene.name} could be any of {first(p.file_name for p in found)} in "
                f"{self._path}: give every picture a file name of its own"
            )
        return found[0] if found else None


def _pure(path: str) -> PurePosixPath:
    return PurePosixPath(path.replace("\\", "/"))


def _ends_with(path: PurePosixPath, end: PurePosixPath) -> bool:
    wanted = end.with_suffix("").parts
    return path.with_suffix("").parts[-len(wanted) :] == wanted


def first(names: Iterable[str]) -> str:
    """Return up to three names in a line."""
    names = list(names)
    return ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
