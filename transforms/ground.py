"""What is known of the ground: the labels of a run, and the areas in which they are complete."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from configs.schema import InputConfig
from transforms.areas import JudgedAreas, open_areas
from transforms.functional.boxes import Labels
from transforms.functional.polygons import Mask
from transforms.labels import LabelSource, open_labels
from transforms.records import Scene, Window


@dataclass(frozen=True, eq=False)
class Ground:
    """Labels and judged areas of a run, each None where the run has none."""

    labels: LabelSource | None = None
    areas: JudgedAreas | None = None

    def around(self, window: Window) -> tuple[Labels | None, Mask]:
        """Return the labels around a window, and bool (h, w) where what it reads is judged.

        A label whose centre is not judged is ignored: it may be found, but need not be.
        """
        labels = self.labels.around(window) if self.labels else None
        if self.areas is None:
            return labels, np.ones((window.read.height, window.read.width), np.bool_)
        known = None if labels is None else self.areas.ignore_unjudged(labels, window)
        return known, self.areas.judged(window)

    def check(self, scenes: Sequence[Scene]) -> int:
        """Check labels and areas against all scenes; return how many labels lie in none of them.

        Raises ValueError if they cannot belong to the scenes: not one label lies in one, the area
        touches none, or a scene has no CRS and they are those of a map.
        """
        if self.areas is not None:
            self.areas.check(scenes)
        if self.labels is None:
            return 0
        stray = self.labels.outside(scenes)
        if stray and scenes and stray == self.labels.total(scenes):
            raise ValueError(
                f"none of the {stray} labels lies in a scene, such as {scenes[0].name}: they are "
                "of other scenes, or the CRS that one of the files declares is not the true one"
            )
        return stray


def open_ground(config: InputConfig, names: tuple[str, ...]) -> Ground:
    """Return what a config declares, with labels in the detector's classes `names`.

    Raises ValueError, with the remedy, for files that are missing or cannot be understood.
    """
    return Ground(open_labels(config, names), open_areas(config))
