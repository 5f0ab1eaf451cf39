"""What the statistics of a run cost: their share of the processor time, stage by stage.

    python benchmarks/statistics_cost.py

runs the demo scene twice in one process on one thread: as an evaluation (blurred by us, labels, all
arms) and as a production run (as it is, no truth), and prints a table of each. Statistics are all
that is done beyond reading, deblurring, making the other arms and detecting: blur estimates,
matching, the re-blur check, histograms, sharpness, borders, sums, intervals. PSNR and SSIM stand in
a row of their own.
"""

import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from configs.load import find_config, load_yaml, override, validate
from configs.schema import RunConfig
from pipeline.demo import write_demo_scene
from pipeline.direct import Networks
from pipeline.planning import Plan, plan_run
from transforms.arms import make_arms
from transforms.deblur import DeblurPolicy, SameNetwork, deblur_tiles
from transforms.detect import detect_tiles
from transforms.functional.blur_estimate import estimate_blur
from transforms.functional.quality import measure_quality
from transforms.ground import open_ground
from transforms.measure import measure_tiles, settled_of
from transforms.read import read_tile
from transforms.reconcile import reconcile
from transforms.records import DeblurredTile, Settled, Tile, TileRow
from transforms.scene_reader import SceneReader
from transforms.summarize import summarize_rows

Result = TypeVar("Result")
STATISTICS = "statistics"
QUALITY = "PSNR and SSIM"


class Clock:
    """Processor seconds by stage."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()

    def run(self, stage: str, work: Callable[[], Result]) -> Result:
        """Do some work and add its time to a stage."""
        start = time.process_time()
        result = work()
        self.seconds[stage] += time.process_time() - start  # type: ignore[assignment]
        return result

    def move(self, seconds: float, source: str, target: str) -> None:
        """Move time that was counted in one stage to another."""
        self.seconds[source] -= seconds  # type: ignore[assignment]
        self.seconds[target] += seconds  # type: ignore[assignment]


def time_run(plan: Plan, networks: Networks) -> Clock:
    """Run every window of a plan and its summary, and return the time of each stage."""
    clock, settled = Clock(), []
    ground = open_ground(plan.config.input, plan.names)
    with closing(SceneReader(plan.config.input)) as reader:
        for window in plan.windows:
            read = clock.run(
                "read", lambda w=window: read_tile(w, reader, ground, plan.config.read)
            )
            settled += _measure(read, plan, networks, clock)
    rows = clock.run(STATISTICS, lambda: reconcile(settled, plan.ruler.border))
    tiles = [row for row in rows if isinstance(row, TileRow)]
    clock.run(STATISTICS, lambda: summarize_rows(tiles, plan.reporter))
    return clock


def _measure(read: Tile | Settled, plan: Plan, networks: Networks, clock: Clock) -> list[Settled]:
    if not isinstance(read, Tile):
        return [read]
    config = plan.config
    others = clock.run(
        "other arms", lambda: make_arms(read, config=config.arms, sensor=config.read.blur)
    )
    policy, network_of = DeblurPolicy.of(config), SameNetwork(networks.deblur)
    deblurred = clock.run(
        "deblur", lambda: deblur_tiles([read], network_of, lambda tile: others, policy)
    )
    detected = clock.run("detect", lambda: detect_tiles(deblurred, networks.find))
    measured = clock.run(STATISTICS, lambda: measure_tiles(detected, plan.ruler))
    # What ran inside another stage is run once more by itself, to know its time.
    probe = Clock()
    probe.run("estimate", lambda: estimate_blur(read.before, read.valid))
    probe.run(QUALITY, lambda: _measure_quality(deblurred[0]))
    clock.move(probe.seconds["estimate"], "deblur", STATISTICS)
    clock.move(probe.seconds[QUALITY], STATISTICS, QUALITY)
    return [settled_of(each) for each in measured]


def _measure_quality(tile: DeblurredTile | Settled) -> None:
    assert isinstance(tile, DeblurredTile)
    sharp, window = tile.tile.reference, tile.tile.window
    distinct = {image.tobytes(): image for image in tile.images.values()}
    for image in distinct.values() if sharp is not None else ():
        measure_quality(image, sharp, tile.tile.valid, window.core.within(window.read))


def describe(title: str, clock: Clock) -> str:
    """Return a table of the stages: seconds and share of all."""
    total = sum(clock.seconds.values())
    rows = [
        f"| {stage} | {seconds:.1f} | {100 * seconds / total:.1f} % |"
        for stage, seconds in clock.seconds.items()
    ]
    return "\n".join([f"\n### {title}\n", "| stage | CPU s | share |", "|---|---|---|", *rows])


def main() -> None:
    """Time both runs and print their tables."""
    scene, labels = write_demo_scene(Path("out/demo/scene"))
    content = load_yaml(find_config("demo"))
    evaluation = override(content, [f"input.labels={labels}", f"input.scenes=[{scene}]"])
    production = override(evaluation, ["input.labels=null", "read.blur={}"])
    for title, settings in (("Evaluation", evaluation), ("Production", production)):
        plan = plan_run(validate(RunConfig, settings, source=title))
        print(describe(title, time_run(plan, Networks.of(plan))), flush=True)


if __name__ == "__main__":
    main()
