"""Scenes opened and read as a run does it, from one file."""

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from configs.schema import InputConfig, ReadConfig, RunConfig
from transforms.functional.windows import Rectangle
from transforms.headers import open_scene
from transforms.read import read_tile
from transforms.records import Rejected, Scene, Source, Tile, TileRow
from transforms.scene_reader import SceneReader
from transforms.scenes import plan_windows


def open_it(path: Path, read: ReadConfig | None = None, **given: Any) -> Scene:
    """Return the scene of a file; `given` are fields of `InputConfig`."""
    config = RunConfig(read=read or ReadConfig(), input=InputConfig(**given))
    return open_scene(Source(path.name, str(path)), config)


def read_all(
    path: Path, read: ReadConfig | None = None, **given: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Return a whole scene as 8-bit RGB, and its mask."""
    scene = open_it(path, read, **given)
    with closing(SceneReader(InputConfig(**given))) as reader:
        return reader.read(scene, Rectangle(0, 0, scene.width, scene.height))


def read_each(scene: Scene, read: ReadConfig) -> list[Tile | TileRow | Rejected]:
    """Return how each window of a scene is read."""
    with closing(SceneReader(InputConfig())) as reader:
        return [read_tile(window, reader, None, read) for window in plan_windows(scene, read)]
