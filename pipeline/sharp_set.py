"""A labelled set as it is, searched by the detector alone: what a threshold is chosen on."""

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from configs.schema import BlurConfig, InputConfig, RunConfig
from models.cards import sha256
from pipeline.identity import truth_files
from pipeline.planning import Weights, find_weights
from transforms.aoi import open_aoi
from transforms.clusters import Clusters
from transforms.detect import FindObjects, detect_tiles, load_detector
from transforms.functional.blur_estimate import BlurEstimate
from transforms.georeference import metres_per_pixel
from transforms.ground import Ground, open_ground
from transforms.measure import Ruler, measure_tiles, settled_of
from transforms.read import read_tile
from transforms.records import DeblurredTile, Rejected, Scene, Settled, Tile, Window
from transforms.scene_reader import SceneReader
from transforms.scenes import plan_scenes, plan_windows

NOT_ESTIMATED = BlurEstimate(length=0.0, angle=0.0, confidence=0.0, sharpness=math.nan)


@dataclass(frozen=True)
class SharpSet:
    """Scenes with labels, read without synthetic blur, and the detector that searches them.

    `rejected` are scenes whose header could not be used; `names` are the detector's classes.
    """

    config: RunConfig
    scenes: tuple[Scene, ...]
    rejected: tuple[Rejected, ...]
    detector: Weights
    find: FindObjects
    names: tuple[str, ...]
    ground: Ground

    @staticmethod
    def open(config: RunConfig) -> "SharpSet":
        """Open what a config names; its blur and its deblurrer are left out.

        Raises ValueError or OSError, naming what was wanted, if scenes, labels or detector are not
        there or do not belong together.
        """
        if config.input.labels is None:
            raise ValueError("labels are needed: give input.labels in the config, or --labels PATH")
        read = config.read.model_copy(update={"blur": BlurConfig()})
        config = config.model_copy(update={"read": read})
        scenes, rejected = plan_scenes(config)
        weights = find_weights(config.detect)
        try:
            detector = load_detector(config.detect)
        except RuntimeError as error:  # a promised GPU that is not there
            raise ValueError(str(error)) from error
        ground = open_ground(config.input, detector.names)
        ground.check(scenes)
        return SharpSet(
            config, tuple(scenes), tuple(rejected), weights, detector, detector.names, ground
        )

    @cached_property
    def windows(self) -> tuple[Window, ...]:
        """Return every planned window."""
        aoi = open_aoi(self.config.input.aoi)
        return tuple(w for scene in self.scenes for w in plan_windows(scene, self.config.read, aoi))

    @property
    def clusters(self) -> Clusters:
        """Return the groups of tiles that intervals take for independent."""
        core, measure = self.config.read.core, self.config.measure
        return Clusters.of(self.scenes, core=core, config=measure.interval)

    @property
    def ruler(self) -> Ruler:
        """Return how detections are judged: as in a run, but at no threshold yet."""
        known = Ruler.of(self.config, self.names)
        return replace(known, threshold=math.inf, ious=known.ious[:1], distances=())

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the names and contents of scenes, labels and areas."""
        files = [Path(scene.path) for scene in self.scenes]
        return _digest([*files, *_truth_files(self.config.input, {path.stem for path in files})])

    def check_ground(self) -> None:
        """Raise ValueError unless every scene's size on the ground is known."""
        for window in self.windows:
            if metres_per_pixel(window.scene, window.core, gsd=self.config.input.gsd) is None:
                raise ValueError(
                    f"false_per_km2 needs the ground, and {window.scene.name} has no CRS: give "
                    "input.gsd (metres per pixel), or a target precision"
                )


def search(sharp: SharpSet, windows: Iterable[Window]) -> Iterator[Settled]:
    """Yield how each window ends, with the detections of the scene as it is in the arm `before`.

    One at a time and in order, before neighbours have a say at its border.
    """
    with closing(SceneReader(sharp.config.input)) as reader:
        for window in windows:
            tile = read_tile(window, reader, sharp.ground, sharp.config.read)
            left = leave_alone(tile) if isinstance(tile, Tile) else tile
            detected = detect_tiles([left], sharp.find)
            yield from map(settled_of, measure_tiles(detected, sharp.ruler))


def leave_alone(tile: Tile) -> DeblurredTile:
    """Return a tile as the skip rule leaves one alone: its `after` is its `before`."""
    return DeblurredTile(tile, {"after": tile.before}, NOT_ESTIMATED, skipped=True, shifted={})


def _truth_files(config: InputConfig, stems: set[str]) -> list[Path]:
    """Return the files of labels and areas; of a folder those that belong to these pictures."""
    return [path for path in truth_files(config) if path.suffix != ".txt" or path.stem in stems]


def _digest(files: Sequence[Path]) -> str:
    lines = sorted(f"{path.name} {sha256(path)}\n" for path in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()
