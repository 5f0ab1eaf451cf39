"""What deblurring does to detection at places that neither network has seen, with intervals.

    python benchmarks/real_pictures.py               runs all places
    python benchmarks/real_pictures.py real_munich   runs one

and writes docs/results_ladder.md. A place whose output is there already is not run again (see
`aerial-deblur run`, exit code 99). The place `rendered` is rendered first.
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from configs.load import find_config, load_yaml, validate
from configs.schema import BlurConfig, RunConfig, SkipConfig
from pipeline import manifest
from pipeline.demo import ORIGIN, write_demo_scene
from pipeline.manifest import ExitCode
from pipeline.run import run
from pipeline.verdict import beats
from transforms.deblur import DeblurPolicy, deblur_tiles, load_deblurrer, open_networks
from transforms.functional.quality import Quality, measure_quality
from transforms.numbers import AT_PRECISION
from transforms.parquet import read_rows
from transforms.read import read_tile
from transforms.records import ARMS, CONTROLS, Arm, DeblurredTile, SummaryRow
from transforms.scene_reader import SceneReader
from transforms.scenes import plan_scenes, plan_windows
from transforms.strata import ALL
from transforms.tables import SUMMARY

PLACES = {
    "real_munich": "Munich, street (KIT AIS)",
    "real_minsk": "Minsk, DJI_0762 (drone)",
    "rendered": "Rendered scenes",
}
SEEDS = range(500, 520)
"""Of the rendered scenes; no training rendered them."""
SIDE = 768
"""Pixels of a rendered scene."""
RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results_ladder.md"
MATCHED = f"recall{AT_PRECISION}"
RUNGS = (1, 2, 3, 4, 5)

Numbers = Mapping[tuple[str, str, str], SummaryRow]


@dataclass(frozen=True)
class Place:
    """The finished run of one place: its summary by (stratum, arm, metric), and its manifest.

    `harm` is the quality of its sharp pictures, deblurred, against themselves.
    """

    title: str
    config: RunConfig
    numbers: Numbers
    manifest: manifest.Manifest
    harm: Quality

    @property
    def severities(self) -> tuple[int, ...]:
        """Return the rungs of the ladder that were run, in order."""
        return tuple(sorted(set(self.config.read.blur.severities)))

    @property
    def arms(self) -> tuple[Arm, ...]:
        """Return the arms that were measured."""
        return tuple(arm for arm in ARMS if arm in self.manifest["arms"])

    @property
    def labels(self) -> float:
        """Return the labels of the place, each counted once and not once per angle."""
        row = self.numbers[f"severity={self.severities[0]}", "before", "recall"]
        return row.n / len(self.config.read.blur.angles)

    def value(self, severity: int, arm: str, metric: str) -> float:
        """Return one number of one severity; what is not defined is nan."""
        value = self.numbers[f"severity={severity}", arm, metric].value
        return float("nan") if value is None else value

    def mean(self, arm: str, metric: str) -> float:
        """Return the mean of a number over the severities."""
        return fmean(self.value(severity, arm, metric) for severity in self.severities)

    def beats(self, arm: str, control: str, stratum: str = ALL) -> bool:
        """Say whether an arm beats a control in a stratum, or over all severities together.

        With the whole interval above zero, in recall and in recall at matched precision.
        """
        numbers = {key[1:]: row for key, row in self.numbers.items() if key[0] == stratum}
        return beats(numbers, arm, control, "recall")


def render_scenes(folder: Path) -> None:
    """Render the scenes of the place `rendered` side by side, with their labels in one file."""
    features: list[object] = []
    for number, seed in enumerate(SEEDS):
        origin = (ORIGIN[0] + 1000.0 * number, ORIGIN[1])
        _, labels = write_demo_scene(folder, seed=seed, size=SIDE, origin=origin)
        content = json.loads(labels.read_text(encoding="utf-8"))
        features += content["features"]
    together = json.dumps({**content, "features": features})
    (folder / "labels.geojson").write_text(together, encoding="utf-8")


def evaluate(config: RunConfig) -> None:
    """Run one place, unless that is done."""
    code = run(config)
    if code not in (ExitCode.OK, ExitCode.NOTHING_TO_DO):
        raise RuntimeError(f"the run into {config.output} ended with exit code {code}")


def read_place(title: str, config: RunConfig) -> Place:
    """Read the summary of a finished run, and measure what deblurring does to sharp pictures."""
    rows = [SummaryRow(**row) for row in read_rows(config.output, SUMMARY)]
    numbers = {(row.stratum, row.arm, row.metric): row for row in rows}
    return Place(title, config, numbers, manifest.read(config.output), measure_harm(config))


def measure_harm(config: RunConfig) -> Quality:
    """Deblur the sharp pictures of a run and measure them against themselves."""
    read = config.read.model_copy(update={"blur": BlurConfig()})
    scenes, _ = plan_scenes(config)
    networks, total = open_networks(load_deblurrer(config.deblur), config), Quality()
    policy = DeblurPolicy(config.deblur.model_copy(update={"skip": SkipConfig()}))
    with closing(SceneReader(config.input)) as reader, closing(networks) as network_of:
        for window in (window for scene in scenes for window in plan_windows(scene, read)):
            tile = read_tile(window, reader, None, read)
            [deblurred] = deblur_tiles([tile], network_of, lambda tile: {}, policy)
            if isinstance(deblurred, DeblurredTile):
                sharp, owned = deblurred.tile, window.core.within(window.read)
                after = deblurred.images["after"]
                total += measure_quality(after, sharp.before, sharp.valid, owned)
    return total


def describe(places: Iterable[Place]) -> str:
    """Return docs/results_ladder.md."""
    places = list(places)
    parts = [HEAD, _describe_promises(places), *(_describe_place(place) for place in places)]
    return "\n".join(parts) + "\n"


def _describe_place(place: Place) -> str:
    rows = [
        f"\n## {place.title}\n",
        f"{place.labels:.0f} labelled vehicles under each of "
        f"{len(place.config.read.blur.angles)} angles, score threshold "
        f"{place.config.detect.score_threshold:g}, IoU {place.config.measure.iou:g}, ladder "
        f"{place.config.read.blur.ladder}, oracle {place.config.arms.oracle.method}. Deblurrer and "
        f"detector: {_weights(place)}.\n",
        "| severity | arm | recall | precision | AP50 | recall at precision 0.8 | PSNR | SSIM |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for severity in place.severities:
        for arm in place.arms:
            if arm != "reference":
                rows.append(f"| {severity} | {arm} | {_cells(place, severity, arm)} |")
            elif severity == place.severities[0]:
                rows.append(f"| sharp | {arm} | {_cells(place, severity, arm)} |")
    return "\n".join([*rows, "", _describe_gain(place)])


def _describe_gain(place: Place) -> str:
    """Return what `after` changed at each severity, with 95 % intervals."""
    ap = f"ap{round(100 * place.config.measure.iou)}"
    rows = [
        f"What `after` changed, in points (95 % interval), {_clusters(place)}; `least` is the "
        "least gain of recall that would show. Gained objects are true (T) or false (F); "
        "`invented` are those that the re-blur check calls inconsistent.\n",
        "| severity | recall | least | over unsharp | recall at precision 0.8 | over unsharp | "
        "precision | AP50 | gained T / F | invented T / F | lost T / F |",
        f"|---|{'---|' * 10}",
    ]
    metrics = (
        "recall_gain",
        "recall_over_unsharp",
        f"{MATCHED}_gain",
        f"{MATCHED}_over_unsharp",
        "precision_gain",
        f"{ap}_gain",
    )
    for severity in ("all", *place.severities):
        stratum = f"severity={severity}" if severity != "all" else ALL
        row = {metric: place.numbers.get((stratum, "after", metric)) for metric in metrics}
        cells = [_points(each) for each in row.values()]
        gain = row["recall_gain"]
        least = gain and gain.minimum_detectable
        cells.insert(1, "-" if least is None else f"{100 * least:.1f}")
        changed = [
            f"{_count(place, stratum, change, 'true')} / {_count(place, stratum, change, 'false')}"
            for change in ("gained", "gained_inconsistent", "lost")
        ]
        rows.append(f"| {severity} | {' | '.join([*cells, *changed])} |")
    return "\n".join(rows)


def _clusters(place: Place) -> str:
    known = place.manifest["clusters"]
    kinds = {"scene": "scenes", "block": "blocks of a scene", "place": "blocks of ground"}
    return f"{known['planned']} clusters ({kinds[known['by']]})"


def _points(row: SummaryRow | None) -> str:
    if row is None or row.value is None:
        return "-"
    if row.low is None or row.high is None:
        return f"{100 * row.value:+.1f}"
    return f"{100 * row.value:+.1f} ({100 * row.low:+.1f} to {100 * row.high:+.1f})"


def _count(place: Place, stratum: str, change: str, truth: str) -> str:
    row = place.numbers.get((stratum, "after", f"objects_{change}_{truth}"))
    return "-" if row is None or row.value is None else f"{row.value:.0f}"


def _cells(place: Place, severity: int, arm: str) -> str:
    ap = f"ap{round(100 * place.config.measure.iou)}"
    counts = [
        _with_interval(place.numbers[f"severity={severity}", arm, metric])
        for metric in ("recall", "precision", ap, MATCHED)
    ]
    psnr, ssim = place.value(severity, arm, "psnr"), place.value(severity, arm, "ssim")
    return " | ".join([*counts, f"{psnr:.2f}", f"{ssim:.4f}"])


def _with_interval(row: SummaryRow) -> str:
    """Return a share with its 95 % interval in thousandths."""
    if row.value is None:
        return "-"
    if row.low is None or row.high is None:
        return f"{row.value:.3f}"
    return f"{row.value:.3f} ({row.low:.3f}-{row.high:.3f})"


def _describe_promises(places: list[Place]) -> str:
    rungs = " | ".join(f"SSIM gain at {rung}" for rung in RUNGS)
    rows = [
        "\n## What was promised\n",
        PROMISES,
        f"| place | arm | PSNR gain (dB) | {rungs} | lost recall returned | null beaten | unsharp "
        "beaten | sharp input (dB) |",
        f"|---|---|---|{'---|' * len(RUNGS)}---|---|---|---|",
    ]
    for place in places:
        made = [arm for arm in place.arms if arm in ("unsharp", "after", "oracle")]
        rows += [f"| {place.title} | {arm} | {_promise_cells(place, arm)} |" for arm in made]
    return "\n".join(rows)


def _promise_cells(place: Place, arm: Arm) -> str:
    psnr = place.mean(arm, "psnr") - place.mean("before", "psnr")
    ssim = [_ssim_gain(place, arm, rung) if rung in place.severities else "-" for rung in RUNGS]
    sharp, before, after = (place.mean(a, MATCHED) for a in ("reference", "before", arm))
    share = f"{100 * (after - before) / (sharp - before):.0f} %" if sharp > before else "-"
    beaten = [_beaten(place, arm, control) for control in CONTROLS]
    harm = f"{place.harm.psnr:.2f}" if arm == "after" else "-"
    return " | ".join([f"{psnr:+.2f}", *ssim, share, *beaten, harm])


def _ssim_gain(place: Place, arm: str, severity: int) -> str:
    gain = place.value(severity, arm, "ssim") - place.value(severity, "before", "ssim")
    return f"{gain:+.4f}"


def _beaten(place: Place, arm: str, control: str) -> str:
    if arm != "after" or control not in place.arms:
        return "-"
    rungs = [place.beats(arm, control, f"severity={severity}") for severity in place.severities]
    together = "yes" if place.beats(arm, control) else "no"
    return f"{together} ({sum(rungs)} of {len(rungs)})"


def _weights(place: Place) -> str:
    named = place.manifest["weights"].items()
    return ", ".join(f"{name} ({digest[:12]})" for name, digest in named)


HEAD = """\
# Results along the severity ladder, with intervals and controls

Made by `python benchmarks/real_pictures.py`. The pictures of the places below are sharp; every
one is blurred by us with straight motion of 4, 7, 11, 15 and 21 px (severity 1 to 5, not all
of them everywhere) along four angles (0, 45, 90, 135 degrees), with sensor noise, in
linear light, and then deblurred. Neither network was trained on these places. For the detector
the real ones chose nothing, and other rendered scenes were among its training pictures. For the
deblurrer the real ones are not blind: short trials that chose its learning rate, norm layers and
blur mix were scored on some of these pictures; it never saw a rendered one. The score threshold,
the unsharp mask and the oracle were fixed before, on other places. Arms, metrics and intervals
are defined in [metrics.md](metrics.md); `oracle` is told the blur kernel.

How far the intervals reach. The frames of Munich show the same street from the same spot seconds
apart, so a block of ground of 192 x 192 px is one cluster in all its frames and under all blurs:
the interval says what other blocks of such a street would give, not what other places would. The
rendered scenes are independent of one another, but they are not real. And the blur is synthetic:
real blur varies over the picture.
"""

PROMISES = """\
Wanted of `after`: a mean PSNR gain of 3 dB or more, SSIM up at every severity, at least half of the
recall that blur took returned at matched precision, every control beaten, and sharp pictures that
come back with 38 dB or more to themselves.

PSNR gain and recall are means over the severities that were run. Lost recall returned is
(arm - before) / (sharp - before) of recall at precision 0.8. `after` beats a control where the 95 %
intervals of both differences, of recall at the operating point and of recall at precision 0.8, lie
above zero: over all severities together, and in brackets at how many of them.
"""


def main(names: Sequence[str]) -> None:
    """Run the named places and write the results."""
    if "rendered" in names:
        render_scenes(Path("out/rendered/scenes"))
    configs = {
        name: validate(RunConfig, load_yaml(find_config(name)), source=name) for name in names
    }
    for config in configs.values():
        evaluate(config)
    places = [read_place(PLACES[name], config) for name, config in configs.items()]
    RESULTS.write_text(describe(places), encoding="utf-8")
    print(f"wrote {RESULTS}")


if __name__ == "__main__":
    main(sys.argv[1:] or list(PLACES))
