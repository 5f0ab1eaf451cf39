"""The demo scene: a rendered airport-to-suburb picture with known vehicles, as COG and GeoJSON."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from configs.load import find_config, load_yaml, validate
from configs.schema import RunConfig
from pipeline.run import run
from transforms.functional.render import VEHICLE_CLASSES, RenderedScene, render_scene
from transforms.mosaic import write_cog
from transforms.records import Affine6

CRS = "EPSG:32632"
GSD = 0.15
"""Ground sampling distance of the demo scene, in metres per pixel."""
ORIGIN = (704_000.0, 5_360_000.0)
"""Easting and northing of the upper left corner of the scene, in metres."""


def write_demo_scene(
    folder: Path,
    *,
    seed: int = 7,
    size: int = 4096,
    origin: tuple[float, float] = ORIGIN,
) -> tuple[Path, Path]:
    """Render the demo scene into a folder; return the COG and its labels.

    The same seed and size give the same pixels; what is there already is not rendered again.
    `origin` is the easting and northing of its upper left corner, in metres.
    """
    stem = f"demo_{size}_{seed}"
    scene, labels = folder / f"{stem}.tif", folder / f"{stem}.geojson"
    if not (scene.is_file() and labels.is_file()):
        folder.mkdir(parents=True, exist_ok=True)
        rendered = render_scene(seed=seed, height=size, width=size, gsd=GSD)
        transform: Affine6 = (GSD, 0.0, origin[0], 0.0, -GSD, origin[1])
        write_cog(scene, rendered.image, crs=CRS, transform=transform)
        _write_labels(labels, rendered, transform)
    return scene, labels


def run_demo(beam_flags: Sequence[str] = ()) -> int:
    """Render the demo scene and run the main job on it; return the exit code.

    A demo that is already done is run again: its purpose is to be seen.
    """
    config = validate(RunConfig, load_yaml(find_config("demo")), source="demo.yaml")
    print("Rendering the demo scene ...", flush=True)
    scene, labels = write_demo_scene(Path(str(config.output.parent), "scene"))
    section = config.input.model_copy(update={"scenes": (str(scene),), "labels": labels})
    return run(config.model_copy(update={"input": section}), beam_flags, force=True)


def _write_labels(path: Path, rendered: RenderedScene, transform: Affine6) -> None:
    a, b, c, d, e, f = transform
    features = []
    for corners, kind in zip(rendered.corners.tolist(), rendered.classes.tolist(), strict=True):
        ring = [[a * x + b * y + c, d * x + e * y + f] for x, y in [*corners, corners[0]]]
        features.append(
            {
                "type": "Feature",
                "properties": {"class": VEHICLE_CLASSES[kind]},
                "geometry": {"type": "Polygon", "coordinates": [ring]},
            }
        )
    collection = {
        "type": "FeatureCollection",
        "crs": {
            "type": "name",
            "properties": {"name": f"urn:ogc:def:crs:{CRS.replace(':', '::')}"},
        },
        "features": features,
    }
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(collection), encoding="utf-8")
    os.replace(temporary, path)
