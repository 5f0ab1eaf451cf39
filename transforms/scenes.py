"""Scenes: which files are read, and the windows that they are cut into."""

from collections.abc import Iterator
from itertools import chain

from configs.schema import BlurConfig, ReadConfig, RunConfig
from configs.severity import LADDERS
from transforms.aoi import AreaOfInterest, open_aoi
from transforms.decoder import DecoderError
from transforms.functional.orientation import is_swapped
from transforms.functional.windows import Rectangle, plan_cores
from transforms.isolated import open_scenes
from transforms.records import Blur, Rejected, Scene, Window
from transforms.scene_checks import SceneError
from transforms.scene_places import read_crs
from transforms.sources import list_sources


def plan_scenes(config: RunConfig) -> tuple[list[Scene], list[Rejected]]:
    """Open every scene of a run: those that can be read, and one reject for each that cannot.

    A scene that the area of interest does not touch is a reject, too. Raises ValueError if the
    config names no scene, or something that is wrong for all of them.
    """
    if config.input.geometry == "camera" and config.read.gsd is not None:
        raise ValueError(
            "read.gsd is metres on the ground, and pictures of a camera (input.geometry) show no "
            "map: leave one of the two out"
        )
    read_crs(config.input.crs)
    aoi = open_aoi(config.input.aoi)
    sources, rejected = list_sources(config.input)
    scenes = []
    for source, opened in zip(sources, open_scenes(sources, config), strict=True):
        try:
            if isinstance(opened, Exception):
                raise opened
            _check_overlap(opened, aoi)
            scenes.append(opened)
        except (SceneError, DecoderError) as error:
            kind, name = type(error).__name__, source.name
            rejected.append(Rejected(name, name, "open", kind, str(error)))
    return scenes, rejected


def _check_overlap(scene: Scene, aoi: AreaOfInterest | None) -> None:
    if aoi is None:
        return
    try:
        overlaps = aoi.overlaps(scene)
    except ValueError as error:
        raise SceneError(str(error)) from error
    if not overlaps:
        raise SceneError(
            "it lies outside of input.aoi: leave it out of input.scenes, or correct the area or "
            "the CRS of the scene"
        )


def plan_windows(
    scene: Scene, config: ReadConfig, aoi: AreaOfInterest | None = None
) -> Iterator[Window]:
    """Yield a scene's windows: every core, under every synthetic blur if there are any.

    Cores that an area of interest does not touch are left out.
    """
    return chain.from_iterable(plan_groups(scene, config, aoi))


def plan_groups(
    scene: Scene, config: ReadConfig, aoi: AreaOfInterest | None = None
) -> Iterator[tuple[Window, ...]]:
    """Yield the windows of `plan_windows` in groups that one worker reads best together.

    Of a sequential scene these are the cores in the same rows of the file, under the same blur;
    elsewhere every window is a group.
    """
    blurs = plan_blurs(config.blur)
    for row in _plan_rows(scene, config):
        cores = [
            core
            for core in row
            if aoi is None or aoi.touches(_window(scene, core, config, blur=None))
        ]
        if not scene.sequential:
            yield from ((_window(scene, core, config, blur),) for core in cores for blur in blurs)
        elif cores:
            for blur in blurs:
                yield tuple(_window(scene, core, config, blur) for core in cores)


def _plan_rows(scene: Scene, config: ReadConfig) -> Iterator[list[Rectangle]]:
    """Yield the cores of a scene, those together that lie in the same rows of the file."""
    rows: dict[int, list[Rectangle]] = {}
    swapped = is_swapped(scene.orientation)
    size = {"height": scene.height, "width": scene.width}
    for core in plan_cores(**size, core=config.core, origin=config.origin):
        rows.setdefault(core.col_off if swapped else core.row_off, []).append(core)
    return iter(rows.values())


def _window(scene: Scene, core: Rectangle, config: ReadConfig, blur: Blur | None) -> Window:
    read = core.grow(config.halo, height=scene.height, width=scene.width)
    return Window(scene, core, read, blur)


def plan_blurs(config: BlurConfig) -> tuple[Blur | None, ...]:
    """Return every length or severity with every angle, each pair once; without any only None."""
    lengths = LADDERS[config.ladder].lengths
    rungs = [(lengths[severity - 1], severity) for severity in config.severities]
    chosen = [*rungs, *((length, None) for length in config.lengths)]
    pairs = (Blur(length, angle, rung) for length, rung in chosen for angle in config.angles)
    return tuple(dict.fromkeys(pairs)) or (None,)
