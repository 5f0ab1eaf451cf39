"""Settings of the detector's training."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from configs.base import Section
from configs.train_deblurrer import BlurSampling

Share = Annotated[float, Field(ge=0, le=1)]


class PictureSet(Section):
    """Labelled pictures of one source, how often they are drawn, and at which scale.

    `globs` are relative to the data folder; `<picture>.txt` beside a picture holds YOLO labels, and
    a picture without such a file holds no vehicle. `scales` bounds the log-uniform scale of a crop
    against the picture's own pixels. `any_angle` turns crops by any angle (boxes whose orientation
    is ambiguous are then painted over); otherwise by quarter turns plus at most `tilt` degrees.
    `donor` lets rows of parked cars be built from this set's vehicles.
    """

    globs: tuple[str, ...]
    share: PositiveFloat
    gsd: PositiveFloat
    scales: tuple[PositiveFloat, PositiveFloat]
    any_angle: bool = False
    donor: bool = False


class RenderedScenes(Section):
    """Rendered scenes: `count` seeds from `first_seed` on, ground sampling in metres."""

    first_seed: int
    count: PositiveInt
    size: PositiveInt = 640
    gsd: tuple[PositiveFloat, PositiveFloat] = (0.11, 0.16)


class RenderedSet(RenderedScenes):
    """Rendered scenes to train on, how often they are drawn, and at which scale."""

    share: PositiveFloat
    scales: tuple[PositiveFloat, PositiveFloat] = (0.9, 1.1)


class ScoredPlace(Section):
    """Labelled pictures that are only looked at: globs below the data folder, shrunk by `scale`."""

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    globs: tuple[str, ...]
    scale: float = Field(1.0, gt=0, le=1)


class Augmentation(Section):
    """What a crop may look like; blur is not among it, so that the judge stays honest.

    `rows` and `shadows` are the shares of real crops that get a row of parked vehicles, and of all
    crops across which a shadow is cast.
    """

    tilt: float = Field(8.0, ge=0, le=45)
    brightness: Share = 0.25
    contrast: Share = 0.25
    gamma: Share = 0.25
    saturation: Share = 0.5
    white_balance: Share = 0.06
    noise: float = Field(4.0, ge=0, le=32)
    rows: Share = 0.3
    shadows: Share = 0.0
    near_vehicle: Share = 0.8


class DetectorTraining(Section):
    """Train a small YOLO: data by place, one cosine, seeded, resumable.

    `class_map` sends each label name (in `label_names` order, the index in the label files) to a
    detector class; the detector's names are its distinct values in order of appearance.
    `validation` places and rendered scenes decide the operating threshold, where the precision of
    each reaches `target_precision`; `held_out` places decide nothing. Neither is trained on.
    `attribution` names licence and owner of each data set, for the model card.

    `start_from` names shipped weights, or a file of ours, to start from instead of random ones.
    `blur` degrades the crops: such a detector knows blur, and must not judge what deblurring gives
    back.
    """

    kind: Literal["detector"]
    data: Path = Path("../shared/data")
    output: Path = Path("runs/detector")
    weights: Path = Path("models/weights/vehicles_yolo.safetensors")
    architecture: str = "yolov8n.yaml"
    start_from: str | None = None
    label_names: tuple[str, ...] = ("car", "truck", "bus", "minibus")
    class_map: dict[str, str]
    pictures: tuple[PictureSet, ...]
    rendered: RenderedSet | None = None
    validation: tuple[ScoredPlace, ...] = Field(min_length=1)
    validation_rendered: RenderedScenes | None = None
    held_out: tuple[ScoredPlace, ...] = ()
    attribution: tuple[str, ...] = ()
    augmentation: Augmentation = Augmentation()
    blur: BlurSampling | None = None
    seed: int = 0
    steps: PositiveInt = 3300
    batch: PositiveInt = 16
    crop: int = Field(320, ge=64, multiple_of=32)
    learning_rate: PositiveFloat = 2e-3
    warmup: PositiveInt = 150
    weight_decay: float = Field(5e-4, ge=0)
    average: float = Field(0.998, ge=0, lt=1)
    bfloat16: bool = True
    device: str = "cpu"
    threads: PositiveInt = 1
    checkpoint_every: PositiveInt = 150
    target_precision: float = Field(0.8, gt=0, lt=1)

    @model_validator(mode="after")
    def _classes_are_complete(self) -> "DetectorTraining":
        missing = [name for name in self.label_names if name not in self.class_map]
        if missing:
            raise ValueError(f"class_map must cover every label name, missing {missing}")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The detector's class names."""
        return tuple(dict.fromkeys(self.class_map[name] for name in self.label_names))
