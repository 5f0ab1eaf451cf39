"""A run that is never started: its settings, the stamps of its scenes, its weights."""

from configs.schema import InputConfig, RunConfig

SCENES = [
    ("in/a.tif", 1000, 1_700_000_000_000_000_000),
    ("in/b.tif", 2000, 5),
    ("s3://in/c.tif", 3000, "e7a9"),
    ("https://in/d.tif", None, None),
]
WEIGHTS = {"deblur_dsc": "ab" * 32, "vehicles_yolo": "cd" * 32}
CONFIG = RunConfig(input=InputConfig(scenes=("in/*.tif",)))
