"""What deblurring does to detection on real pictures of places that neither network has seen.

    python benchmarks/real_pictures.py          runs both places, then writes docs/results.md

A place whose output is there already is not run again (see `aerial-deblur run`, exit code 99).
"""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from configs.load import find_config, load_yaml, validate
from configs.schema import RunConfig
from pipeline import manifest
from pipeline.manifest import ExitCode
from pipeline.run import run
from transforms.parquet import read_rows
from transforms.tables import SUMMARY

PLACES = {"real_munich": "Munich, street (KIT AIS)", "real_minsk": "Minsk, DJI_0762 (drone)"}
PROMISED = (7, 11, 15)
"""Blur lengths in pixels over which the promises below are averaged."""
RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results.md"

Numbers = dict[tuple[str, str, str], dict[str, float]]


@dataclass(frozen=True)
class Place:
    """The finished run of one place: its summary by (stratum, arm, metric), and its manifest."""

    title: str
    lengths: tuple[float, ...]
    angles: int
    threshold: float
    numbers: Numbers
    manifest: manifest.Manifest

    def value(self, length: float, arm: str, metric: str) -> float:
        """Return one number of one blur length."""
        return self.numbers[f"blur_length={length:g}", arm, metric]["value"]

    @property
    def labels(self) -> float:
        """Return the labels of the place, each counted once and not once per angle."""
        counted = self.numbers[f"blur_length={self.lengths[0]:g}", "before", "recall"]["n"]
        return counted / self.angles


def evaluate(name: str) -> None:
    """Run one place, unless that is done."""
    code = run(_load(name))
    if code not in (ExitCode.OK, ExitCode.NOTHING_TO_DO):
        raise RuntimeError(f"the run of {name} ended with exit code {code}")


def read_place(name: str) -> Place:
    """Read the summary of a finished run."""
    config = _load(name)
    numbers = {
        (row["stratum"], row["arm"], row["metric"]): row
        for row in read_rows(config.output, SUMMARY)
    }
    blur, done = config.read.blur, manifest.read(config.output)
    threshold = config.detect.score_threshold
    return Place(PLACES[name], blur.lengths, len(blur.angles), threshold, numbers, done)


def _load(name: str) -> RunConfig:
    return validate(RunConfig, load_yaml(find_config(name)), source=name)


def describe(places: Iterable[Place]) -> str:
    """Return docs/results.md."""
    places = list(places)
    parts = [HEAD, *(_describe_place(place) for place in places), _describe_promises(places)]
    return "\n".join(parts) + "\n"


def _describe_place(place: Place) -> str:
    rows = [
        f"\n## {place.title}\n",
        f"{place.labels:.0f} labelled vehicles under each of {place.angles} angles, score "
        f"threshold {place.threshold:g}, IoU 0.5. "
        f"Deblurrer and detector: {_weights(place)}.\n",
        "| blur | arm | recall | precision | AP50 | recall at precision 0.8 | PSNR | SSIM |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for length in place.lengths:
        arms = ["before", "null", "after"]
        for arm in ["reference", *arms] if length == place.lengths[0] else arms:
            shown = "0" if arm == "reference" else f"{length:g}"
            rows.append(f"| {shown} px | {arm} | {_cells(place, length, arm)} |")
    return "\n".join(rows)


def _cells(place: Place, length: float, arm: str) -> str:
    counts = ("recall", "precision", "ap50", "recall_at_precision_0.8")
    cells = [f"{place.value(length, arm, metric):.3f}" for metric in counts]
    psnr, ssim = place.value(length, arm, "psnr"), place.value(length, arm, "ssim")
    return " | ".join([*cells, f"{psnr:.2f}", f"{ssim:.4f}"])


def _describe_promises(places: list[Place]) -> str:
    rows = [
        f"\n## Over {PROMISED[0]} to {PROMISED[-1]} px\n",
        "Means over the three lengths; recall returned is (after - before) / (sharp - before), from"
        " the mean recalls.\n",
        "| place | PSNR gain (dB) | SSIM gain | recall sharp | before | after | recall returned |",
        "|---|---|---|---|---|---|---|",
    ]
    for place in places:
        rows.append(f"| {place.title} | {_promise_cells([place])} |")
    rows.append(f"| both, by labels | {_promise_cells(places)} |")
    return "\n".join(rows)


def _promise_cells(places: list[Place]) -> str:
    def mean(arm: str, metric: str) -> float:
        total = sum(place.labels for place in places)
        return sum(
            place.labels / total * place.value(length, arm, metric) / len(PROMISED)
            for place in places
            for length in PROMISED
        )

    sharp, before, after = (mean(arm, "recall") for arm in ("reference", "before", "after"))
    psnr = mean("after", "psnr") - mean("before", "psnr")
    ssim = mean("after", "ssim") - mean("before", "ssim")
    share = (after - before) / (sharp - before) if sharp > before else float("nan")
    shown = f"{psnr:+.2f} | {ssim:+.4f} | {sharp:.3f} | {before:.3f} | {after:.3f}"
    return f"{shown} | {100 * share:.0f} %"


def _weights(place: Place) -> str:
    named = place.manifest["weights"].items()
    return ", ".join(f"{name} ({digest[:12]})" for name, digest in named)


HEAD = """\
# Results on real pictures

Made by `python benchmarks/real_pictures.py` (configs `real_munich` and `real_minsk`). The pictures
are sharp; every one is blurred by us with straight motion of four lengths and four angles (0, 45,
90, 135 degrees), with sensor noise, in linear light, and then deblurred. Neither network was
trained on these places. For the detector they chose nothing. For the deblurrer they are not blind:
short trials that chose its learning rate, norm layers and blur mix were scored on some of these
pictures. The score threshold was fixed before, on other places. Arms and metrics
are defined in [metrics.md](metrics.md).

Two cautions. The frames of a place show the same street seconds apart, so these are two places, not
eighteen pictures: no interval is given, and a place can differ from them by more than these tables
suggest. And the blur is synthetic: real blur varies over the picture.
"""


def main() -> None:
    """Run both places and write the results."""
    for name in PLACES:
        evaluate(name)
    RESULTS.write_text(describe([read_place(name) for name in PLACES]), encoding="utf-8")
    print(f"wrote {RESULTS}")


if __name__ == "__main__":
    sys.exit(main())
