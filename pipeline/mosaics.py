"""Mosaics of a run: deblurred scenes, each with an item, and the rejects of those without one."""

from collections import defaultdict
from collections.abc import Sequence, Set
from dataclasses import dataclass

import apache_beam as beam
from upath import UPath

from pipeline import identity
from pipeline.manifest import Manifest
from pipeline.planning import Plan
from transforms.assemble import AssembleMosaics, assemble_mosaics, drop_stale_mosaics, mosaic_tags
from transforms.mosaic_items import CORES, ITEM, Provenance
from transforms.records import Rejected, Scene, Settled
from transforms.scene_mosaic import DATA, MOSAICS, STATUS
from transforms.storage import is_file, size_of
from transforms.workplace import Workplace, safe_name
from transforms.write_items import WriteItems, publish_items, write_item

MADE_OF = "made_of"
"""In run.json: from what a mosaic was made; equal for equal ones."""


@dataclass
class MakeMosaics(beam.PTransform):
    """Assemble a mosaic of every scene but the `assembled`, with its STAC item."""

    plan: Plan
    place: Workplace
    assembled: Set[str] = frozenset()

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, settled: beam.PCollection) -> beam.PCollection:
        """Turn TileRow or Rejected into one `Rejected` per scene that has no mosaic."""
        plan, place = self.plan, self.place
        scenes = [scene for scene in plan.scenes if scene.name not in self.assembled]
        return (
            settled
            | "Assemble" >> AssembleMosaics(scenes, plan.config, tags_of(plan), place)
            | "WriteItems" >> WriteItems(place.staged, provenance_of(plan))
            | "Without" >> beam.Filter(is_failure)
        )


def make_mosaics(settled: Sequence[Settled], plan: Plan, place: Workplace) -> list[Rejected]:
    """Do what `MakeMosaics` does, in one process."""
    mosaics = assemble_mosaics(settled, plan.scenes, plan.config, tags_of(plan), place)
    items = [write_item(each, place.staged, provenance_of(plan)) for each in mosaics]
    return [each for each in items if isinstance(each, Rejected)]


def find_assembled(plan: Plan, place: Workplace, known: Sequence[Manifest]) -> frozenset[str]:
    """Return the scenes whose mosaic an earlier run has published as this one would make it.

    `known` is what run.json says of the mosaics in the output.
    """
    files: dict[str, list[Manifest]] = defaultdict(list)
    for each in known:
        files[each.get(MADE_OF, "")].append(each)
    return frozenset(
        scene.name
        for scene in plan.scenes
        if plan.config.mosaic.write
        and is_file(place.output / MOSAICS / f"{safe_name(scene.name)}{ITEM}")
        and _is_there(files[_made_of(plan, place, scene)], place.output)
    )


def _made_of(plan: Plan, place: Workplace, scene: Scene) -> str:
    return f"{place.scene_id(scene)} {plan.config.mosaic.compress}"


def _is_there(files: Sequence[Manifest], output: UPath) -> bool:
    """Say whether both files of a mosaic are in place, and no core of it was rejected."""
    return len(files) == len((DATA, STATUS)) and all(
        not each["cores"]["rejected"] and size_of(output / each["path"]) == each["size"]
        for each in files
    )


def describe_mosaics(plan: Plan, place: Workplace, made: Set[str]) -> list[Manifest]:
    """Finish the mosaics in the output of a run, and describe their files for run.json.

    The scenes that are `made`, by their names as files, have one; all other mosaics are of an
    earlier run, and go. Collection and table of items are those of this run.
    """
    output = place.output
    scenes = [scene for scene in plan.scenes if safe_name(scene.name) in made]
    drop_stale_mosaics(output, scenes)
    named = {safe_name(scene.name): scene for scene in scenes}
    items = publish_items(output, list(named), provenance_of(plan))
    return [
        {
            "path": f"{MOSAICS}/{asset.href.removeprefix('./')}",
            "size": asset.extra_fields["file:size"],
            "sha256": asset.extra_fields["file:checksum"][4:],
            "cores": item.properties[CORES],
            MADE_OF: _made_of(plan, place, named[item.id]),
        }
        for item in items
        for asset in item.assets.values()
    ]


def provenance_of(plan: Plan) -> Provenance:
    """Return what made the mosaics of a run, in words."""
    deblur = plan.config.deblur
    locked = ", low frequencies of the input" if deblur.lock else ""
    return Provenance(
        run_id=plan.run_id,
        version=identity.code_version(),
        lineage=(
            f"Deblurred with {plan.deblurrer.name} (SHA-256 {plan.deblurrer.sha256}), norms "
            f"{deblur.normalisation}{locked}."
        ),
    )


def tags_of(plan: Plan) -> dict[str, str]:
    """Return what every mosaic of a run says of itself."""
    return mosaic_tags(
        plan.config,
        version=identity.code_version(),
        run_id=plan.run_id,
        sha256=plan.deblurrer.sha256,
    )


def is_failure(mosaic: object) -> bool:
    """Say whether a scene has no mosaic."""
    return isinstance(mosaic, Rejected)
