"""Everything that is known before a pixel is read, checked so that no worker starts in vain."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from configs.schema import STRIDE, DeblurConfig, DetectConfig, RunConfig
from models.cards import read_card, sha256, shipped_weights
from models.cpu_runtimes import quantized_beside
from models.shipped import resolve_weights
from pipeline.batches import choose_batch
from pipeline.manifest import Manifest, describe_run
from pipeline.workers import choose_workers, usable_cores
from transforms.aoi import open_aoi
from transforms.arms import partial_arms, planned_arms
from transforms.backends import with_backends
from transforms.clusters import Clusters
from transforms.deblur import load_deblurrer
from transforms.detect import load_detector
from transforms.functional.bootstrap import LEAST_CLUSTERS
from transforms.functional.radiometry import REACH
from transforms.functional.windows import pixels_read
from transforms.georeference import check_crs
from transforms.ground import open_ground
from transforms.measure import Ruler
from transforms.read_cost import cost_notes
from transforms.records import Rejected, Scene, Window
from transforms.scenes import plan_blurs, plan_scenes, plan_windows
from transforms.stamps import Stamp
from transforms.strata import Stratifier
from transforms.summarize import Reporter

CORES = (512, 1024)
"""Sizes of cores in px for which a plan says what the halo costs."""


@dataclass(frozen=True)
class Weights:
    """A weight file of a run, with its digest and, if shipped, its measured speed.

    `int8_sha256` is the digest of the 8-bit network that was made of it, where that is run instead.
    """

    name: str
    path: Path
    sha256: str
    seconds_per_mpix: float | None
    int8_sha256: str | None = None

    @property
    def digests(self) -> Mapping[str, str]:
        """Return the SHA-256 of all that is run, by name."""
        known = {self.name: self.sha256, f"{self.name} in 8 bits": self.int8_sha256}
        return {name: digest for name, digest in known.items() if digest is not None}


@dataclass(frozen=True)
class Inventory:
    """What a run is made of, and so which run it is: known before any network is loaded.

    `rejected` are scenes whose header could not be used; each counts as one planned window.
    """

    config: RunConfig
    scenes: tuple[Scene, ...]
    rejected: tuple[Rejected, ...]
    deblurrer: Weights
    detector: Weights

    @cached_property
    def manifest(self) -> Manifest:
        """Return all that is known of the run before it starts."""
        weights = {**self.deblurrer.digests, **self.detector.digests}
        stamps = [stamp_of(scene) for scene in self.scenes]
        scenes = [describe_scene(scene) for scene in self.scenes]
        known = describe_run(self.config, stamps, weights, described=scenes)
        return {**known, "clusters": asdict(self.clusters)}

    @property
    def run_id(self) -> str:
        """Return the identity of the run: the same inputs, settings, weights and code."""
        return str(self.manifest["run_id"])

    @property
    def clusters(self) -> Clusters:
        """Return the groups of tiles that intervals take for independent."""
        read, measure = self.config.read, self.config.measure
        return Clusters.of(self.scenes, core=read.core, config=measure.interval)


@dataclass(frozen=True)
class Plan(Inventory):
    """A validated run: its networks load, and its labels fit.

    `names` are the detector's classes. `stray_labels` lie outside every scene and are not used.
    """

    names: tuple[str, ...]
    stray_labels: int

    @cached_property
    def windows(self) -> tuple[Window, ...]:
        """Return every planned window."""
        aoi = open_aoi(self.config.input.aoi)
        return tuple(w for scene in self.scenes for w in plan_windows(scene, self.config.read, aoi))

    @property
    def planned(self) -> int:
        """Return how many rows and rejects the run must end with."""
        return len(self.windows) + len(self.rejected)

    @property
    def core_pixels(self) -> int:
        """Return the pixels that will be measured."""
        return sum(window.core.area for window in self.windows)

    @property
    def read_pixels(self) -> int:
        """Return the pixels that will be read: cores and halos."""
        return sum(window.read.area for window in self.windows)

    @property
    def ruler(self) -> Ruler:
        """Return how detections are judged."""
        return Ruler.of(self.config, self.names)

    @property
    def reporter(self) -> Reporter:
        """Return what turns rows into the summary."""
        measure, partial = self.config.measure, partial_arms(self.config)
        stratifier = Stratifier.of(self.ruler, measure, self.clusters, partial)
        return Reporter(stratifier, measure)

    @property
    def expected_seconds(self) -> float | None:
        """Return the expected time of the networks on this many CPU workers, if it is known."""
        seconds = self.network_seconds
        workers = min(self.config.engine.parallelism, usable_cores())
        return None if seconds is None else seconds / workers

    @property
    def network_seconds(self) -> float | None:
        """Return the expected time of the networks on one CPU worker, if it is known."""
        deblur, detect = self.deblurrer.seconds_per_mpix, self.detector.seconds_per_mpix
        if deblur is None or detect is None or self.config.deblur.device != "cpu":
            return None
        # The null control has the pixels of `before` and shares its detections.
        arms = len(set(planned_arms(self.config)) - {"null"})
        return self.read_pixels / 1e6 * (deblur + arms * detect)


def plan_run(config: RunConfig, *, local: bool = True) -> Plan:
    """Check a configuration against the world and plan it: `take_inventory` and `complete_plan`."""
    return complete_plan(take_inventory(config), local=local)


def take_inventory(config: RunConfig) -> Inventory:
    """Find the scenes and the weights of a run; opens the header of every scene.

    Raises ValueError or OSError, naming what was wanted, if anything that concerns the whole run is
    wrong; a scene that cannot be opened is not that: it is a reject.
    """
    if not config.input.scenes and config.input.stac is None:
        raise ValueError(
            "a run needs scenes: give input.scenes or input.stac in the config, or --input GLOB"
        )
    if config.report.crs != "scene":
        check_crs(config.report.crs)
    scenes, rejected = plan_scenes(config)
    config = with_backends(config)
    deblurrer = find_weights(config.deblur)
    detector = find_weights(config.detect)
    inventory = Inventory(config, tuple(scenes), tuple(rejected), deblurrer, detector)
    _ = inventory.clusters  # raises for what no scene of the run can be grouped by
    return inventory


def complete_plan(inventory: Inventory, *, local: bool = True) -> Plan:
    """Load both networks once, and the labels: what no worker should find wrong.

    The networks are loaded on their devices if the workers are `local`, else on the CPU. Raises as
    `take_inventory` does.
    """
    config, scenes = inventory.config, inventory.scenes
    names = _load_networks(config, local=local)
    stray = open_ground(config.input, names).check(scenes)
    weights = inventory.deblurrer, inventory.detector
    plan = Plan(config, scenes, inventory.rejected, *weights, names=names, stray_labels=stray)
    return _with_batch(_with_workers(plan, local=local), local=local)


def _with_workers(plan: Plan, *, local: bool) -> Plan:
    """Return a plan whose engine has a number of workers."""
    if plan.config.engine.workers != "auto":
        return plan
    engine = choose_workers(
        plan.config,
        windows=len(plan.windows),
        seconds=plan.network_seconds,
        mpix=plan.read_pixels / 1e6,
        cores=usable_cores(),
        local=local,
    )
    return replace(plan, config=plan.config.model_copy(update={"engine": engine}))


def _with_batch(plan: Plan, *, local: bool) -> Plan:
    """Return a plan whose engine has a number of tiles that go together."""
    config = choose_batch(
        plan.config, windows=lambda: plan.windows, digest=plan.deblurrer.sha256, local=local
    )
    return replace(plan, config=config)


def _load_networks(config: RunConfig, *, local: bool) -> tuple[str, ...]:
    """Load both networks as a worker will, and return the detector's class names."""
    elsewhere: dict[str, str] = {} if local else {"device": "cpu"}
    precision = {} if local else {"dtype": "float32"}
    try:
        deblurrer = load_deblurrer(config.deblur.model_copy(update=elsewhere | precision))
        if config.deblur.exact:
            from models.receptive import exact_halo  # With torch; nothing else here needs it.

            check_exact(config, exact_halo(deblurrer.generator))
        return load_detector(config.detect.model_copy(update=elsewhere)).names
    except RuntimeError as error:  # a promised GPU that is not there
        raise ValueError(str(error)) from error


def stamp_of(scene: Scene) -> Stamp:
    """Return what identified a scene's file when it was planned."""
    path, size, version = scene.path, scene.size, scene.version
    in_ns = version is not None and version.isdecimal() and "://" not in path
    return path, size, int(version) if in_ns and version else version


def describe_scene(scene: Scene) -> dict[str, Any]:
    """Return what is known of a scene for run.json; fields that say nothing are left out."""
    return {name: value for name, value in asdict(scene).items() if value is not None}


def check_exact(config: RunConfig, seen: int) -> None:
    """Raise ValueError unless the halo covers all that can change a core, to the last bit.

    The network sees `seen` px beyond a core; the radiometry lock looks at its output there.
    """
    locked = REACH if config.deblur.lock else 0
    if config.read.halo < seen + locked:
        wanted = -(-(seen + locked) // STRIDE) * STRIDE
        raise ValueError(
            f"deblur.exact needs read.halo of at least {wanted} px: {config.deblur.weights} sees "
            f"{seen} px, and the radiometry lock {locked} px more; got {config.read.halo}"
        )


def describe(plan: Plan) -> Group:
    """Return what a run would do, for people."""
    table = Table(title=f"Run {plan.run_id}", title_justify="left", show_header=False)
    for name, value in _facts(plan):
        table.add_row(name, value)
    # As Text: rich would take a word in square brackets of a message for markup and drop it.
    unreadable = [Text(f"cannot be opened: {reject.message}") for reject in plan.rejected]
    slow = [Text(note) for scene in plan.scenes for note in cost_notes(scene, plan.config.read)]
    return Group(table, *unreadable, *slow)


def _facts(plan: Plan) -> list[tuple[str, str]]:
    config, seconds = plan.config, plan.expected_seconds
    blurs = len(plan_blurs(config.read.blur))
    stray = f", {plan.stray_labels} outside every scene" if plan.stray_labels else ""
    return [
        ("scenes", f"{len(plan.scenes)}, and {len(plan.rejected)} that cannot be opened"),
        ("windows", f"{len(plan.windows)} (synthetic blurs per place: {blurs})"),
        ("measured", f"{plan.core_pixels / 1e6:.1f} MPix"),
        ("read", f"{plan.read_pixels / 1e6:.1f} MPix, {_describe_halo(plan)}"),
        ("arms", ", ".join(planned_arms(config))),
        ("clusters", _describe_clusters(plan.clusters)),
        ("deblurrer", f"{plan.deblurrer.name} {plan.deblurrer.sha256[:12]}"),
        ("detector", f"{plan.detector.name} {plan.detector.sha256[:12]}: {', '.join(plan.names)}"),
        ("labels", f"{config.input.labels or 'none'}{stray}"),
        ("networks", "time unknown" if seconds is None else f"about {seconds:.0f} s"),
        ("workers", _describe_workers(config)),
        ("output", str(config.output)),
    ]


def _describe_halo(plan: Plan) -> str:
    """Say how much more is read, and computed, than measured; and what it would be otherwise.

    Of other cores as if there were no area of interest.
    """
    tax = plan.read_pixels / plan.core_pixels if plan.core_pixels else math.nan
    sizes, read = [(scene.height, scene.width) for scene in plan.scenes], plan.config.read
    area = sum(height * width for height, width in sizes)
    others = []
    for core in CORES if area else ():
        wanted = sum(pixels_read(height=h, width=w, core=core, halo=read.halo) for h, w in sizes)
        others.append(f"{wanted / area:.2f} x with core {core}")
    return ", ".join([f"{tax:.2f} x for a halo of {read.halo} px", *others])


def _describe_workers(config: RunConfig) -> str:
    engine = config.engine
    if engine.name != "local":
        return f"{engine.parallelism} on {engine.name}"
    where = "this process" if engine.parallelism == 1 else f"{engine.parallelism} processes"
    return f"{where}, for {usable_cores()} cores"


def _describe_clusters(clusters: Clusters) -> str:
    side = f"{clusters.block} x {clusters.block} cores"
    kinds = {
        "scene": "scenes",
        "block": f"blocks of {side}",
        "place": f"blocks of ground of {side}",
        "sequence": "sequences",
    }
    short = (
        "" if clusters.planned >= LEAST_CLUSTERS else f": fewer than {LEAST_CLUSTERS}, no intervals"
    )
    return f"{clusters.planned} {kinds[clusters.by]}{short}"


def find_weights(config: DeblurConfig | DetectConfig) -> Weights:
    """Find and digest the weights of a network, and its 8-bit network if that is what is run.

    Raises ValueError if a shipped file was changed or the 8-bit network is that of other weights,
    FileNotFoundError if there is none.
    """
    path = resolve_weights(config.weights)
    digest = sha256(path) if path.is_file() else _folder_digest(path)
    coarse = sha256(quantized_beside(path, digest)) if config.dtype == "int8" else None
    if config.weights not in shipped_weights():
        return Weights(config.weights, path, digest, None, coarse)
    card = read_card(path)
    if digest != card.sha256:
        raise ValueError(f"{path} is not the file of its card: got {digest}, wanted {card.sha256}")
    speed = card.numbers.get("cpu_seconds_per_mpix")
    return Weights(config.weights, path, digest, speed, coarse)


def _folder_digest(folder: Path) -> str:
    """Return one SHA-256 over the files of an exported model, such as OpenVINO's."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    known = "".join(f"{path.relative_to(folder)} {sha256(path)}\n" for path in files)
    return hashlib.sha256(known.encode()).hexdigest()
