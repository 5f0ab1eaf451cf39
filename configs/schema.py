"""Everything that a run can be told: typed, validated, with the only defaults."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator
from upath import UPath

from configs.base import Section
from configs.operations import EngineConfig, Folder, Fraction, GateConfig, ObserveConfig
from configs.severity import LADDERS

STRIDE = 32
"""The coarsest stride of the generators, in pixels: window origins lie on this grid."""

Angle = Annotated[float, Field(ge=0, lt=360)]
BlurLength = Annotated[float, Field(ge=1, le=64)]
Severity = Annotated[int, Field(ge=1, le=5)]
Percent = Annotated[float, Field(ge=0, le=100)]
BackendChoice = Literal["auto", "torch", "openvino", "onnxruntime"]


class Stretch(Section):
    """A fixed linear stretch to the 8-bit rendering: low -> 0, high -> 255."""

    low: float
    high: float

    @model_validator(mode="after")
    def _ordered(self) -> "Stretch":
        if not self.low < self.high:
            raise ValueError(f"stretch needs low < high, got low={self.low}, high={self.high}")
        return self


class PercentileStretch(Section):
    """A linear stretch whose ends are percentiles of each scene, read from its overviews.

    Every band has ends of its own; `joint` takes one pair for all, which keeps colours.
    """

    percentiles: tuple[Percent, Percent]
    joint: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> "PercentileStretch":
        low, high = self.percentiles
        if not low < high:
            raise ValueError(f"percentiles must be [low, high] with low < high, got {low}, {high}")
        return self


class StacConfig(Section):
    """Scenes from a STAC catalogue: an asset of every item that fits.

    `source` is a file or URL: an item, an item collection, a collection or catalogue whose items
    are followed, or the landing page of an API, which is searched. `datetime` is an instant or an
    interval as in the API (`2026-05-01/2026-05-31`, either end `..`); `bbox` is west, south, east,
    north in degrees, west > east across the antimeridian.
    """

    source: str
    asset: str = "visual"
    collections: tuple[str, ...] = ()
    datetime: str | None = None
    bbox: tuple[float, float, float, float] | None = None


DRIVERS = ("GTiff", "JP2OpenJPEG", "JPEG", "MBTiles", "PNG", "VRT", "WEBP")
"""The GDAL drivers that open scenes unless a config names others."""


class InputConfig(Section):
    """Which scenes are read, and the labels that belong to them.

    `scenes` are files, globs, URLs (s3, gs, az, https), lists (`.txt`, a path a line), indexes
    (`.csv`, `.parquet`, with a column `location`), and folders of map tiles (`z/x/y.png`, of which
    `zoom` is read, else the deepest; `tile_scheme` says where y is counted from); `stac` adds those
    of a catalogue. `aoi` are polygons: windows that touch none are not read. `crs` is an authority
    code, WKT or a `.wkt` or `.prj` file for scenes that declare none, or `pixels`: then nothing
    about the ground is known of these.

    `geometry: camera` takes every picture for one of a street camera or an oblique drone: no grid,
    but a position from EXIF, and the pictures of a folder are a sequence.

    `drivers` are the GDAL drivers that may open a scene. A VRT may name files beside or below
    itself, and below `roots` (folders or URLs). A scene of more than `max_pixels`, or whose
    smallest unit of compression exceeds `max_block` bytes, is taken for a decompression bomb.

    `labels` is a GeoJSON, GeoParquet or shapefile, a COCO JSON, or a folder with one text file per
    picture in `label_format`: YOLO or DOTA. `label_names` names the class numbers of YOLO files;
    `label_classes` maps a label's class to the detector's, or to `ignore` (a class that is in
    neither is an error), and `label_field` is the property that holds the class.

    `area` are polygons inside which labels are complete; `ignore` are polygons in which they are
    not. Outside the first and inside the second nothing is judged. `gsd` is the ground sampling
    distance in metres per pixel of scenes that have no CRS.
    """

    scenes: tuple[str, ...] = ()
    stac: StacConfig | None = None
    aoi: Path | None = None
    crs: str | None = None
    geometry: Literal["grid", "camera"] = "grid"
    zoom: Annotated[int, Field(ge=0, le=30)] | None = None
    tile_scheme: Literal["xyz", "tms"] = "xyz"
    drivers: tuple[str, ...] = DRIVERS
    roots: tuple[str, ...] = ()
    max_pixels: Annotated[int, Field(gt=0)] = 20_000_000_000
    max_block: Annotated[int, Field(gt=0)] = 2**30
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
            number = values.get("ladder", 1)
            ladder = LADDERS.get(number) if isinstance(number, int) else None
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
    card asks for. `origin` is the column and row of a core's corner: the grid of cores can be
    moved, in steps of 32. `bands` are one or three band numbers from 1, or colour interpretations
    or descriptions such as `nir`; without them red, green, blue by colour interpretation, else the
    first three, else grey. `gsd` is a ground sampling distance in metres per pixel to which scenes
    are resampled; boxes are reported in the pixels of the file.
    """

    core: Annotated[int, Field(ge=64, le=8192, multiple_of=STRIDE)] = 1024
    halo: Annotated[int, Field(ge=0, le=1024, multiple_of=STRIDE)] = 160
    origin: tuple[
        Annotated[int, Field(ge=0, multiple_of=STRIDE)],
        Annotated[int, Field(ge=0, multiple_of=STRIDE)],
    ] = (0, 0)
    bands: tuple[int | str, ...] | None = None
    stretch: Stretch | PercentileStretch | None = None
    gsd: Annotated[float, Field(gt=0, le=100)] | None = None
    blur: BlurConfig = BlurConfig()

    @field_validator("bands")
    @classmethod
    def _one_or_three(cls, bands: tuple[int | str, ...] | None) -> tuple[int | str, ...] | None:
        if bands is None:
            return None
        wrong = [band for band in bands if isinstance(band, int) and band < 1]
        if len(bands) not in (1, 3) or wrong:
            raise ValueError(
                f"bands must be one or three numbers from 1, or names, got {list(bands)}"
            )
        return bands

    @model_validator(mode="after")
    def _origin_within_core(self) -> "ReadConfig":
        if max(self.origin) >= self.core:
            raise ValueError(f"origin must be less than core={self.core}, got {list(self.origin)}")
        return self


class SkipConfig(Section):
    """The skip rule: tiles whose estimated blur is shorter than `below` px are not deblurred.

    Their `after` is their `before`. Of the skipped tiles the share `audit` is deblurred all the
    same, as the arm `unskipped`, so that the summary can say what skipping costs. 0 skips nothing.
    """

    below: Annotated[float, Field(ge=0, le=64)] = 0.0
    audit: Fraction = 0.1


class SanityConfig(Section):
    """When a tile's output is not believed, and its input is kept instead (the fallback).

    `saturated` is the greatest share of valid samples that may become 0 or 255 and were not. In the
    tenth of the blocks of 32 px that has least texture, the root mean square change may exceed that
    texture by `flat` grey levels. Over the tile the root mean square change may be `energy` times
    the input's standard deviation and 8 levels. An output that does not follow the input's detail
    is never believed.
    """

    check: bool = True
    saturated: Fraction = 0.25
    flat: Annotated[float, Field(gt=0, le=255)] = 5.0
    energy: Annotated[float, Field(gt=0, le=10)] = 1.0


class DeblurConfig(Section):
    """The generator: shipped weights by name or a file, and how it is run.

    Norm layers take their statistics from training (`frozen`), from the picture itself
    (`per_image`), or once per scene from `scene_samples` of its tiles (`scene`), which are frozen
    then. `exact` asks for tiles that agree to the last bit however a scene is cut: the halo must
    cover all that the network can see. `lock` keeps the low frequencies of the input: means of
    blocks of 32 px stay within half a grey level.

    `backend` is what computes on a CPU; `auto` is the fastest that is installed, measured once on a
    machine and remembered. `openvino` and `onnxruntime` take frozen norms only. `dtype`: `bfloat16`
    needs a processor that has it, `float16` a GPU, `int8` the file that `aerial-deblur quantize`
    makes of the weights.

    `gpu` is how a GPU is called: `plain` starts every kernel by itself, `graphs` records calls for
    pictures of one shape as CUDA graphs and replays them, and `compiled` does so with kernels that
    torch.compile makes first. The latter two have run on no GPU yet.
    """

    weights: str = "deblur_dsc"
    sha256: str | None = None
    normalisation: Literal["frozen", "per_image", "scene"] = "frozen"
    scene_samples: Annotated[int, Field(ge=1, le=64)] = 8
    exact: bool = False
    lock: bool = True
    sanity: SanityConfig = SanityConfig()
    device: str = "cpu"
    backend: BackendChoice = "auto"
    dtype: Literal["float32", "bfloat16", "float16", "int8"] = "float32"
    gpu: Literal["plain", "graphs", "compiled"] = "plain"
    skip: SkipConfig = SkipConfig()

    @model_validator(mode="after")
    def _backends_need_frozen_norms(self) -> "DeblurConfig":
        if self.normalisation != "frozen" and self.backend in ("openvino", "onnxruntime"):
            raise ValueError(
                f"backend {self.backend} takes norms that are frozen for good: normalisation "
                f"frozen, got {self.normalisation}; or backend torch"
            )
        return self

    @model_validator(mode="after")
    def _exact_needs_one_kind_of_sum(self) -> "DeblurConfig":
        if self.exact and (self.backend in ("openvino", "onnxruntime") or self.dtype != "float32"):
            raise ValueError(
                "exact is tried with backend torch and dtype float32 only, got "
                f"{self.backend} and {self.dtype}"
            )
        return self

    @model_validator(mode="after")
    def _exact_needs_fixed_norms(self) -> "DeblurConfig":
        if self.exact and self.normalisation == "per_image":
            raise ValueError(
                "exact needs norms that are the same for every tile of a scene: "
                "normalisation frozen or scene, got per_image"
            )
        return self


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
    an unpinned pickle (`.pt`): it can run code. `backend` and `dtype` are as in `deblur`.
    """

    weights: str = "vehicles_yolo"
    sha256: str | None = None
    trust: bool = False
    names: tuple[str, ...] | None = None
    device: str = "cpu"
    backend: BackendChoice = "auto"
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
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
    for scenes that show the same ground; `sequence` the pictures of one folder, and is what `auto`
    takes for those of a camera. 0 replicates: no intervals.
    """

    replicates: Annotated[int, Field(ge=0, le=10_000)] = 1000
    seed: int = 0
    clusters: Literal["auto", "scene", "block", "place", "sequence"] = "auto"
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
    `stability` is the share of tiles that are processed again shifted by 1 px. `seams` is the
    greatest ratio of the jumps across core borders to those inside that a run may have (relative to
    the input's own ratio); more fails the gate, with exit code 4. None only reports it.
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
    seams: Annotated[float, Field(gt=1, le=100)] | None = 1.1
    interval: IntervalConfig = IntervalConfig()

    @field_validator("strata")
    @classmethod
    def _crossings(cls, strata: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], ...]:
        for crossing in strata:
            if not crossing or len(set(crossing)) < len(crossing):
                raise ValueError(f"a crossing names each dimension once, got {list(crossing)}")
        return strata


class MosaicConfig(Section):
    """Deblurred scenes as cloud-optimised GeoTIFFs on the grid of the input, if `write`.

    Compression is lossless. A STAC item lies beside each.
    """

    write: bool = False
    compress: Literal["deflate", "zstd", "lzw"] = "deflate"


class ReportConfig(Section):
    """What is written: parts per table, CRS of the geometries, and from which score.

    `crs` is `scene` (each scene's own; one set of parts per CRS) or an authority code such as
    `EPSG:4326`. Without `min_score` detections are written from the operating point up.
    """

    shards: Annotated[int, Field(ge=1, le=4096)] = 1
    crs: str = "scene"
    min_score: Fraction | None = None


class RunConfig(Section):
    """One run of the main job."""

    input: InputConfig = InputConfig()
    read: ReadConfig = ReadConfig()
    deblur: DeblurConfig = DeblurConfig()
    arms: ArmsConfig = ArmsConfig()
    detect: DetectConfig = DetectConfig()
    measure: MeasureConfig = MeasureConfig()
    report: ReportConfig = ReportConfig()
    mosaic: MosaicConfig = MosaicConfig()
    engine: EngineConfig = EngineConfig()
    observe: ObserveConfig = ObserveConfig()
    gate: GateConfig = GateConfig()
    output: Folder = UPath("out/run")
    max_rejected: Fraction = 0.01

    @model_validator(mode="after")
    def _mosaics_show_the_scene(self) -> "RunConfig":
        if not self.mosaic.write:
            return self
        blur = self.read.blur
        hindrances = {
            "pictures blurred by us (read.blur)": blur.lengths or blur.severities,
            "resampled scenes (read.gsd)": self.read.gsd,
            "pictures without a grid (input.geometry: camera)": self.input.geometry == "camera",
        }
        for what, is_set in hindrances.items():
            if is_set:
                raise ValueError(
                    f"mosaic.write keeps the pixels and the grid of the input, so that no mosaic "
                    f"exists of {what}: leave one of the two out"
                )
        return self
