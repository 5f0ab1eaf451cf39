"""Mosaics of a run: deblurred scenes, each with an item, and the rejects of those without one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam

from pipeline import manifest
from pipeline.planning import Plan
from transforms.assemble import (
    AssembleMosaics,
    assemble_mosaics,
    clean_cores,
    drop_stale_mosaics,
    mosaic_tags,
)
from transforms.cores import mosaic_name
from transforms.mosaic_items import CORES, Provenance
from transforms.records import Rejected, Settled
from transforms.scene_mosaic import MOSAICS
from transforms.write_items import WriteItems, publish_items, write_item


@dataclass
class MakeMosaics(beam.PTransform):
    """Assemble a mosaic of every scene, with its STAC item."""

    plan: Plan

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, settled: beam.PCollection) -> beam.PCollection:
        """Turn TileRow or Rejected into one `Rejected` per scene that has no mosaic."""
        plan = self.plan
        return (
            settled
            | "Assemble" >> AssembleMosaics(plan.scenes, plan.config, tags_of(plan))
            | "WriteItems" >> WriteItems(plan.config.output, provenance_of(plan))
            | "Without" >> beam.Filter(is_failure)
        )


def make_mosaics(settled: Sequence[Settled], plan: Plan) -> list[Rejected]:
    """Do what `MakeMosaics` does, in one process."""
    mosaics = assemble_mosaics(settled, plan.scenes, plan.config, tags_of(plan))
    items = [write_item(each, plan.config.output, provenance_of(plan)) for each in mosaics]
    return [each for each in items if isinstance(each, Rejected)]


def publish_mosaics(plan: Plan) -> list[dict[str, Any]]:
    """Finish the mosaics of a run, and describe their files for run.json.

    Cores go, and what an earlier run left of other scenes, or of all if this one writes none;
    collection and table of items are those of this run.
    """
    output = plan.config.output
    scenes = plan.scenes if plan.config.mosaic.write else ()
    drop_stale_mosaics(output, scenes)
    names = [mosaic_name(scene.name) for scene in scenes]
    items = publish_items(output, names, provenance_of(plan))
    clean_cores(output)
    return [
        {
            "path": f"{MOSAICS}/{asset.href.removeprefix('./')}",
            "size": asset.extra_fields["file:size"],
            "sha256": asset.extra_fields["file:checksum"][4:],
            "cores": item.properties[CORES],
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
        version=manifest.code_version(),
        lineage=(
            f"Deblurred with {plan.deblurrer.name} (SHA-256 {plan.deblurrer.sha256}), norms "
            f"{deblur.normalisation}{locked}."
        ),
    )


def tags_of(plan: Plan) -> dict[str, str]:
    """Return what every mosaic of a run says of itself."""
    return mosaic_tags(
        plan.config,
        version=manifest.code_version(),
        run_id=plan.run_id,
        sha256=plan.deblurrer.sha256,
    )


def is_failure(mosaic: object) -> bool:
    """Say whether a scene has no mosaic."""
    return isinstance(mosaic, Rejected)
