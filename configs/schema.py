"""Everything that a run can be told: typed, validated, with the only defaults."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from configs.base import Section
from configs.severity import LADDERS

STRIDE = 32
"""The coarsest stride of the generators, in pixels: window origins lie on this grid."""

Fraction = Annotated[float, Field(ge=0, le=1)]
Angle = Annotated[float, Field(ge=0, lt=360)]
BlurLength = Annotated[float, Field(ge=1, le=64)]
Severity = Annotated[int, Field(ge=1, le=5)]


class Stretch(Section):
    """A fixed linear stretch to the 8-bit rendering: low -> 0, high -> 255."""

    low: float
    high: float

    @model_validator(mode="after")
    def _ordered(self) -> "Stretch":
        if not self.low < self.high:
            raise ValueError(f"stretch needs low < high, got low={self.low}, high={self.high}")
        return self


class InputConfig(Section):
    """Which scenes are read, and the labels that belong to them.

    `labels` is a GeoJSON, GeoParquet or shapefile, a COCO JSON, or a folder with one text file per
    picture in `label_format`: YOLO or DOTA. `label_names` names the class numbers of YOLO files;
    `label_classes` maps a label's class to the detector's, or to `ignore` (a class that is in
    neither is an error), and `label_field` is the property that holds the class.

    `area` are polygons inside which labels are complete; `ignore` are polygons in which they are
    not. Outside the first and inside the second nothing is judged. `gsd` is the ground sampling
    distance in metres per pixel of scenes that have no CRS.
    """

    scenes: tuple[str, ...] = ()
    labels: Path | None = None
    label_format: Literal["auto", "map", "coco", "yolo", "dota"] = "auto"
    label_field: str = "class"
    label_names: tuple[str, ...] = ()
    label_classes: dict[str, str] = Field(default_factory=dict)
    area: Path | None = None
    ignore: Path | None = None
    gsd: Annotated[float, Field(gt=0, le=100)] | None = None


class BlurConfig(Section):
    """Synthetic motion blur of sharp scenes, for evaluation: every length with every angle.

    Either `lengths` of your own or `severities` 1 to 5 of a ladder, which fixes length, angles and
    noise so that numbers compare over time (`configs/severity.py`).
    Lengths in pixels; angles in degrees counter-clockwise from the direction of growing columns.
    `read_noise` and `shot_noise` are standard deviations in linear light, full scale 1; shot noise
    is the deviation at full scale and grows with the square root of the light.
    """

    lengths: tuple[BlurLength, ...] = ()
    severities: tuple[Severity, ...] = ()
    ladder: Literal[1] = 1
    angles: tuple[Angle, ...] = (0.0,)
    read_noise: Annotated[float, Field(ge=0, le=0.1)] = 0.001
    shot_noise: Annotated[float, Field(ge=0, le=0.1)] = 0.003
    seed: int = 0

    @model_validator(mode="before")
    @classmethod
    def _angles_of_the_ladder(cls, values: object) -> object:
        if isinstance(values, dict) and values.get("severities") and "angles" not in values:
            ladder = LADDERS.get(values.get("ladder", 1))
            return values | {"angles": ladder.angles} if ladder else values
        return values

    @model_validator(mode="after")
    def _lengths_or_severities(self) -> "BlurConfig":
        if not self.severities:
            return self
        if self.lengths:
            raise ValueError(
                "give lengths or severities, not both, "
                f"got lengths={list(self.lengths)} and severities={list(self.severities)}"
            )
        ladder = LADDERS[self.ladder]
        for name in ("angles", "read_noise", "shot_noise"):
            got, wanted = getattr(self, name), getattr(ladder, name)
            if got != wanted:
                raise ValueError(
                    f"severities fix {name} at {wanted}, got {got}: leave it out, or give lengths"
                )
        return self


class ReadConfig(Section):
    """How scenes are cut into windows and rendered to 8-bit RGB.

    `core` and `halo` in pixels, multiples of 32; the default halo is what the shipped deblurrer's
    card asks for. `bands` are one or three band numbers from 1;
    without them red, green, blue by colour interpretation, else the first three, else grey.
    """

    core: Annotated[int, Field(ge=64, le=8192, multiple_of=STRIDE)] = 1024
    halo: Annotated[int, Field(ge=0, le=1024, multiple_of=STRIDE)] = 160
    bands: tuple[int, ...] | None = None
    stretch: Stretch | None = None
    blur: BlurConfig = BlurConfig()

    @field_validator("bands")
    @classmethod
    def _one_or_three(cls, bands: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if bands is not None and (len(bands) not in (1, 3) or min(bands) < 1):
            raise ValueError(f"bands must be one or three numbers from 1, got {list(bands)}")
        return bands


class SkipConfig(Section):
    """The skip rule: tiles whose estimated blur is shorter than `below` px are not deblurred.

    Their `after` is their `before`. Of the skipped tiles the share `audit` is deblurred all the
    same, as the arm `unskipped`, so that the summary can say what skipping costs. 0 skips nothing.
    """

    below: Annotated[float, Field(ge=0, le=64)] = 0.0
    audit: Fraction = 0.1


class DeblurConfig(Section):
    """The generator: shipped weights by name or a file, and how it is run."""

    weights: str = "deblur_dsc"
    sha256: str | None = None
    normalisation: Literal["frozen", "per_image"] = "frozen"
    device: str = "cpu"
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    skip: SkipConfig = SkipConfig()


class UnsharpConfig(Section):
    """The unsharp mask: `amount` of what a Gaussian of `sigma` px takes away is added.

    The defaults gave the best recall at precision 0.8 of twelve settings over severities 2 to 4, on
    a place that the networks were trained on (KIT AIS, MOS*).
    """

    amount: Annotated[float, Field(ge=0, le=10)] = 0.5
    sigma: Annotated[float, Field(gt=0, le=20)] = 2.0


class OracleConfig(Section):
    """Deconvolution with the known kernel, where the blur was made by us.

    `regularisation` belongs to Wiener, `iterations` to Richardson and Lucy; both defaults gave the
    best mean PSNR over severities 1 to 5 on a place that the networks were trained on (KIT AIS,
    MOS*), where Richardson and Lucy won by 1.3 dB. Wiener takes a tenth of the time.
    """

    method: Literal["wiener", "richardson_lucy", "none"] = "richardson_lucy"
    regularisation: Annotated[float, Field(gt=0)] = 60.0
    iterations: Annotated[int, Field(ge=1, le=200)] = 14


class ArmsConfig(Section):
    """Which arms are measured beside `before` and `after`, and how they are made.

    `controls` are what `after` has to beat; leaving one out saves the time of searching it, and no
    gain is then claimed against it. `control_rate` is the share of the tiles on which controls and
    oracle run; below 1 they are compared with `after` on these tiles alone.
    """

    controls: tuple[Literal["null", "unsharp"], ...] = ("null", "unsharp")
    control_rate: Annotated[float, Field(gt=0, le=1)] = 1.0
    unsharp: UnsharpConfig = UnsharpConfig()
    oracle: OracleConfig = OracleConfig()

    @field_validator("controls", mode="before")
    @classmethod
    def _null_is_a_name(cls, controls: object) -> object:
        """Take the null of YAML, which an unquoted `null` in a list becomes, for the name."""
        if isinstance(controls, list | tuple):
            return tuple("null" if control is None else control for control in controls)
        return controls


class DetectConfig(Section):
    """The detector, and the operating point that all arms share.

    `score_threshold` is the operating point (the default is that of the shipped detector, from its
    card); `score_floor` is where detections start to exist, for average precision. `trust` allows
    an unpinned pickle (`.pt`): it can run code.
    """

    weights: str = "vehicles_yolo"
    sha256: str | None = None
    trust: bool = False
    names: tuple[str, ...] | None = None
    device: str = "cpu"
    score_threshold: Fraction = 0.526
    score_floor: Fraction = 0.01
    nms_iou: Fraction = 0.5
    max_detections: Annotated[int, Field(ge=1)] = 1000

    @model_validator(mode="after")
    def _floor_below_threshold(self) -> "DetectConfig":
        if self.score_floor > self.score_threshold:
            raise ValueError(
                "score_floor must not exceed score_threshold, "
                f"got {self.score_floor} > {self.score_threshold}"
            )
        return self


Dimension = Literal["class", "scene", "size_px", "size_m", "blur"]


class IntervalConfig(Section):
    """The 95 % intervals: a Poisson bootstrap of clusters of tiles.

    `clusters` are scenes, or blocks of neighbouring tiles of `block` cores a side, or what the
    number of scenes allows (`auto`). `place` takes blocks at the same pixels of all scenes as one,
    for scenes that show the same ground. 0 replicates: no intervals.
    """

    replicates: Annotated[int, Field(ge=0, le=10_000)] = 1000
    seed: int = 0
    clusters: Literal["auto", "scene", "block", "place"] = "auto"
    block: Annotated[int, Field(ge=1, le=256)] | None = None

    @field_validator("replicates")
    @classmethod
    def _none_or_enough(cls, replicates: int) -> int:
        if 0 < replicates < 100:
            raise ValueError(f"replicates must be 0 or at least 100, got {replicates}")
        return replicates


class MeasureConfig(Section):
    """How detections meet labels, and how the numbers are reported.

    `iou` is the intersection over union from which a box counts as found, of oriented boxes if
    `oriented`. `distances` are those of the centres, in metres on the ground, for recall by
    distance. `border` is how near a core's border, in px, the centre of an object may lie for
    neighbouring tiles to settle between them who owns it. `strata` are the crossings that have
    rows of their own; one with fewer than `least` labels or objects is marked insufficient.
    `stability` is the share of tiles that are processed again shifted by 1 px.
    """

    iou: Annotated[float, Field(gt=0, lt=1)] = 0.5
    oriented: bool = False
    distances: tuple[Annotated[float, Field(gt=0, le=100)], ...] = (0.5, 1.0, 2.0, 4.0)
    border: Annotated[int, Field(ge=0, le=64)] = 16
    strata: tuple[tuple[Dimension, ...], ...] = (
        ("class",),
        ("scene",),
        ("size_px",),
        ("size_m",),
        ("blur",),
        ("class", "size_px", "blur"),
    )
    least: Annotated[int, Field(ge=1)] = 30
    stability: Fraction = 0.05
    interval: IntervalConfig = IntervalConfig()

    @field_validator("strata")
    @classmethod
    def _crossings(cls, strata: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], ...]:
        for crossing in strata:
            if not crossing or len(set(crossing)) < len(crossing):
                raise ValueError(f"a crossing names each dimension once, got {list(crossing)}")
        return strata


class ReportConfig(Section):
    """What is written: parts per table, CRS of the geometries, and from which score.

    `crs` is `scene` (each scene's own; one set of parts per CRS) or an authority code such as
    `EPSG:4326`. Without `min_score` detections are written from the operating point up.
    """

    shards: Annotated[int, Field(ge=1, le=4096)] = 1
    crs: str = "scene"
    min_score: Fraction | None = None


class EngineConfig(Section):
    """How the local engine works: processes, and tiles per batch.

    On a CPU every process computes on one thread, so that results do not depend on the number of
    workers; use as many as there are cores.
    """

    workers: Annotated[int, Field(ge=1, le=256)] = 1
    batch_size: Annotated[int, Field(ge=1, le=256)] = 4


class RunConfig(Section):
    """One run of the main job."""

    input: InputConfig = InputConfig()
    read: ReadConfig = ReadConfig()
    deblur: DeblurConfig = DeblurConfig()
    arms: ArmsConfig = ArmsConfig()
    detect: DetectConfig = DetectConfig()
    measure: MeasureConfig = MeasureConfig()
    report: ReportConfig = ReportConfig()
    engine: EngineConfig = EngineConfig()
    output: Path = Path("out/run")
    max_rejected: Fraction = 0.01
