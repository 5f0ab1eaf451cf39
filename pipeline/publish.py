"""Publishing: what an attempt has staged becomes the output, when all of it is known to be good.

In a file system every file is renamed; on an object store, which cannot rename, it is copied. So
there are moments when some files are of this run and some of an earlier one: run.json says
`running` then, and is written last. Before a file gets its name the disk holds its content, so that
a loss of power leaves nothing that only looks whole.
"""

import os
from collections.abc import Sequence

from upath import UPath

from transforms.assemble import clean_cores
from transforms.mosaic_items import ITEM
from transforms.records import Scene
from transforms.scene_mosaic import MOSAICS
from transforms.storage import find_files, is_local, move, remove_tree
from transforms.tables import TABLES
from transforms.workplace import Workplace


def publish_tables(place: Workplace) -> None:
    """Put the staged parts of every table in place, and drop those that are of an earlier run."""
    for table in TABLES:
        staged = find_files(place.staged / table.name, "part-*.parquet")
        names = {path.name for path in staged}
        for path in staged:
            _publish(path, place.output / table.name / path.name)
        for path in find_files(place.output / table.name, "part-*.parquet"):
            if path.name not in names:
                path.unlink()


def publish_rasters(place: Workplace) -> frozenset[str]:
    """Put the staged mosaics and their items in place, and return the names of these mosaics."""
    # A worker that was killed may have left half an item, under a name with a dot.
    staged = find_files(place.staged / MOSAICS, "[!.]*")
    for path in staged:
        _publish(path, place.output / MOSAICS / path.name)
    return frozenset(p.name.removesuffix(ITEM) for p in staged if p.name.endswith(ITEM))


def _publish(staged: UPath, target: UPath) -> None:
    if is_local(staged):
        with staged.open("rb") as file:
            os.fsync(file.fileno())
    move(staged, target)


def tidy(place: Workplace, scenes: Sequence[Scene]) -> None:
    """Remove what a published run needs no more: attempts, cores, and what is kept of other scenes.

    What is kept of its own scenes stays: a later run into the folder takes it from there. What
    processes that were killed have half written, under names with a dot, goes.
    """
    remove_tree(place.attempts)
    clean_cores(place)
    ours = {place.scene_id(scene) for scene in scenes}
    for folder in find_files(place.units, "*"):
        if folder.name not in ours:
            remove_tree(folder)
    if is_local(place.output):  # on a store nothing is ever half written
        for half in [*find_files(place.units, "*/.*"), *find_files(place.output / MOSAICS, ".*")]:
            half.unlink(missing_ok=True)
