"""Mosaics of small scenes, made by the plain loop with networks of one line."""

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from scenes import textured

from configs.schema import RunConfig
from transforms.assemble import assemble_mosaics
from transforms.cores import CoreReader, write_cores
from transforms.functional.blur_estimate import BlurEstimate
from transforms.read import read_tile
from transforms.records import DeblurredTile, Image, Rejected, Scene, Settled, Tile, TileRow
from transforms.scene_mosaic import Mosaic
from transforms.scene_reader import SceneReader
from transforms.scenes import plan_scenes, plan_windows
from transforms.workplace import Workplace

Change = Callable[[Image], Image]
Outcome = DeblurredTile | Settled
CORE = 64
NO_BLUR = BlurEstimate(0.0, 0.0, 0.0, 0.0)
TAGS = {"AERIAL_DEBLUR_RUN_ID": "0123456789ab"}
HEIGHT, WIDTH = 150, 200
"""Of the scenes: three by four cores, those at the right and below smaller."""


def picture(dtype: str = "uint8", bands: int = 3, seed: int = 1) -> np.ndarray:
    """Return bands (b, h, w) of which every type's range is used; integers hold no 0."""
    base = np.concatenate([textured(HEIGHT, WIDTH, seed + n) for n in range(-(-bands // 3))], -1)
    array = base[..., :bands].transpose(2, 0, 1)
    if dtype == "uint8":
        return np.ascontiguousarray(array)
    if np.dtype(dtype).kind == "f":
        return (array.astype(dtype) - 100) / 7
    return (array.astype(np.int64) * 16 - (1000 if dtype.startswith("int") else 0)).astype(dtype)


def configure(path: str | Path, output: Path, **sections: Any) -> RunConfig:
    """Return the configuration of a run that writes mosaics."""
    read = {"core": CORE, "halo": 32} | sections.pop("read", {})
    mosaic = {"write": True} | sections.pop("mosaic", {})
    scenes = {"scenes": [str(path)]} | sections.pop("input", {})
    engine = {"read_seconds": None} | sections.pop("engine", {})
    return RunConfig(
        input=scenes, read=read, mosaic=mosaic, engine=engine, output=output, **sections
    )


def keep(image: Image) -> Image:
    """Be a network that changes nothing."""
    return image


def brighten(image: Image) -> Image:
    """Be a network that adds ten grey levels, and stays in range."""
    return (image.astype(np.int16) + 10).clip(0, 255).astype(np.uint8)


def deblur(tile: Tile | Settled, change: Change) -> Outcome:
    """Return a deblurred tile, whose estimated blur means nothing."""
    if not isinstance(tile, Tile):
        return tile
    return DeblurredTile(tile, {"after": change(tile.before)}, NO_BLUR, False, {})


def deblur_scene(scene: Scene, config: RunConfig, change: Change) -> list[Outcome]:
    """Read and deblur every window of a scene."""
    with closing(SceneReader(config.input)) as reader:
        return [
            deblur(read_tile(window, reader, None, config.read), change)
            for window in plan_windows(scene, config.read)
        ]


def row_of(outcome: Outcome) -> Settled:
    """Return how a window ends, if nothing goes wrong later."""
    if not isinstance(outcome, DeblurredTile):
        return outcome
    row = TileRow.empty(outcome.tile.window, "none")
    return dataclasses.replace(
        row, status="measured", skipped=outcome.skipped, fallback=outcome.fallback
    )


def write_outcomes(outcomes: Sequence[Outcome], config: RunConfig) -> list[Outcome]:
    """Write the cores of a batch."""
    with closing(CoreReader(config.input)) as reader:
        return write_cores(outcomes, reader, Workplace.open(config.output))


def make_mosaics(config: RunConfig, change: Change = keep) -> list[Mosaic | Rejected]:
    """Run the whole way from files to mosaics."""
    scenes, rejected = plan_scenes(config)
    assert not rejected, rejected
    outcomes = [each for scene in scenes for each in deblur_scene(scene, config, change)]
    settled = [row_of(each) for each in write_outcomes(outcomes, config)]
    return assemble_mosaics(settled, scenes, config, TAGS, Workplace.open(config.output))


def make_mosaic(config: RunConfig, change: Change = keep) -> Mosaic:
    """Return the only mosaic of a run."""
    [mosaic] = make_mosaics(config, change)
    assert isinstance(mosaic, Mosaic), mosaic
    return mosaic
