"""Small runs of the main job with the shipped networks, and what they wrote."""

from pathlib import Path

from scenes import write_picture

from configs.load import validate
from configs.schema import RunConfig
from pipeline import manifest
from pipeline.demo import write_demo_scene
from pipeline.run import run
from transforms.functional.blur import blur_tile
from transforms.functional.render import render_scene
from transforms.tables import DETECTIONS, HISTOGRAMS, LEDGER, REJECTED, SUMMARY, TILES

ALL_TABLES = (TILES, DETECTIONS, LEDGER, HISTOGRAMS, SUMMARY, REJECTED)
CLASSES = {"car": "vehicle", "van": "vehicle", "truck": "vehicle", "bus": "vehicle"}


def configure(output: Path, scene: Path, labels: Path | None = None, **sections) -> RunConfig:
    """Return a small run: cores of 256 px, in this process.

    Decoders are not of their own: to start them takes longer than many such a run.
    """
    read = {"core": 256, "halo": 64} | sections.pop("read", {})
    engine = {"read_seconds": None} | sections.pop("engine", {})
    source = {"scenes": [str(scene)], "labels": labels, "label_classes": CLASSES}
    content = {"input": source, "read": read, "engine": engine, "output": str(output)} | sections
    return validate(RunConfig, content, source="test")


def write_half_blurred(path: Path) -> Path:
    """Write a rendered scene of 640 x 640 px whose left half is blurred by 11 px."""
    image = render_scene(seed=3, height=640, width=640, gsd=0.15).image
    image[:, :320] = blur_tile(image, length=11, angle=30, noise=0.001)[:, :320]
    return write_picture(path, image)


def config_of(output: Path) -> RunConfig:
    """Return the configuration of a run."""
    return validate(RunConfig, manifest.read(output)["config"], source=str(output))


def again(finished: Path, output: Path, **changes) -> Path:
    """Run the same job into another folder."""
    config = config_of(finished).model_copy(update={"output": output} | changes)
    assert run(config) == 0
    return output


def local_run(folder: Path) -> Path:
    """Run a job of four windows with labels in this process, for comparison with other engines."""
    scene, labels = write_demo_scene(folder, seed=3, size=320)
    blur = {"lengths": [9], "angles": [30]}
    read = {"core": 160, "halo": 32, "blur": blur}
    assert run(configure(folder / "run", scene, labels, read=read, engine={"batch_size": 1})) == 0
    return folder / "run"


def tables(output: Path) -> dict[str, bytes]:
    """Return the bytes of every part."""
    return {
        path.relative_to(output).as_posix(): path.read_bytes()
        for path in sorted(output.glob("*/*.parquet"))
    }
