"""What an 8-bit deblurrer costs detection: the same blurred pictures, deblurred in float and int8.

    python -m benchmarks.quantized --json FILE --markdown FILE

Sharp pictures that trained no network and calibrated none are blurred by lengths and angles of the
severity ladder and deblurred by both networks; the shipped detector looks at the answers. Rendered
scenes are independent of one another, so that their differences of recall get intervals; the frames
of Munich show one street. `--scenes` and `--severities` make it smaller.
"""

import argparse
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.timed_scene import compute_alone
from configs.load import find_config, load_yaml, validate
from configs.schema import DetectConfig
from configs.severity import LADDERS
from configs.train_detector import DetectorTraining, RenderedScenes
from models.cards import sha256
from models.cpu_runtimes import QUANTIZED
from models.deblurrer import Deblurrer
from models.detector import Detector
from models.shipped import resolve_weights
from models.training.detector_score import (
    IOU,
    Found,
    LabelledImage,
    operating_threshold,
    place_images,
    rendered_images,
    score,
)
from transforms.functional.blur import blur_tile
from transforms.functional.bootstrap import cluster_weights, interval
from transforms.functional.boxes import Labels, xyxy_to_corners
from transforms.functional.matching import UNMATCHED, match_boxes

Images = NDArray[np.uint8]
Bools = NDArray[np.bool_]

PLACES = {
    "rendered": "rendered scenes (each a cluster of the intervals)",
    "munich": "Munich, street (KIT AIS)",
}
CONFIG, STREET = "train_detector_blur", "munich_street"
FIRST_SEED = 500
"""Of the rendered scenes: those of docs/results_ladder.md; no calibration rendered them."""
SIDE = 512
GSD = (0.12, 0.15)
PRECISION = 0.8
LEAST_PSNR, LARGEST_LOSS = 44.0, 0.005
"""What is wanted of an 8-bit network: dB to the float one, and recall that it may lose."""
REPLICATES, SEED = 1000, 1
LADDER = LADDERS[1]


@dataclass(frozen=True)
class Cost:
    """What int8 changed on pictures of one severity; differences are int8 less float32.

    `recall` is that at the run's score threshold, `matched` that at precision 0.8, each network at
    a threshold of its own. Labels found after one network only are `float_only` and `int8_only`.
    `low` and `high` bound the difference of `recall` (95 %, pictures resampled): None where there
    are too few pictures, or where they share their ground. `psnr` (dB) compares the two answers.
    """

    place: str
    deblurrer: str
    severity: int
    labels: int
    psnr: float
    before: float
    recall: float
    recall_int8: float
    low: float | None
    high: float | None
    float_only: int
    int8_only: int
    matched: float
    matched_int8: float

    @property
    def kept(self) -> bool:
        """Say whether both recalls and the PSNR are as wanted."""
        losses = (self.recall - self.recall_int8, self.matched - self.matched_int8)
        return max(losses) <= LARGEST_LOSS and self.psnr >= LEAST_PSNR


@dataclass(frozen=True, eq=False)
class Pair:
    """A picture of a cluster, blurred: what was found in it and after each network.

    `error` is the mean squared difference of the two answers, in squared grey levels.
    """

    cluster: str
    before: Found
    exact: Found
    coarse: Found
    error: float


def measure(
    pictures: Sequence[LabelledImage],
    networks: tuple[Deblurrer, Deblurrer],
    detector: Detector,
    severity: int,
) -> list[Pair]:
    """Blur every picture at every angle, deblur it with both networks, and detect."""
    pairs = []
    for number, picture in enumerate(pictures):
        for angle in LADDER.angles:
            blurred = blur_tile(
                picture.image,
                length=LADDER.lengths[severity - 1],
                angle=angle,
                noise=LADDER.read_noise,
                seed=number,
            )[None]
            exact, coarse = (network(blurred) for network in networks)
            found = [(detector(each)[0], picture) for each in (blurred, exact, coarse)]
            error = float(np.square(exact.astype(np.float64) - coarse).mean())
            pairs.append(Pair(str(number), *found, error))
    return pairs


def judge(
    pairs: Sequence[Pair], *, place: str, deblurrer: str, severity: int, independent: bool
) -> Cost:
    """Compare what was found after both networks; intervals are for `independent` pictures."""
    threshold = DetectConfig().score_threshold
    arms = {name: [getattr(pair, name) for pair in pairs] for name in ("before", "exact", "coarse")}
    recall = {name: score(found, threshold).recall for name, found in arms.items()}
    matched = {
        name: score(found, operating_threshold(found, PRECISION)).recall
        for name, found in arms.items()
    }
    exact, coarse = (
        [found_labels(each, threshold) for each in arms[a]] for a in ("exact", "coarse")
    )
    changed = [
        (int((a & ~b).sum()), int((b & ~a).sum())) for a, b in zip(exact, coarse, strict=True)
    ]
    error = float(np.mean([pair.error for pair in pairs]))
    bounds = _bounds(pairs, changed, [len(each) for each in exact]) if independent else None
    return Cost(
        place=place,
        deblurrer=deblurrer,
        severity=severity,
        labels=sum(len(each) for each in exact),
        psnr=10 * math.log10(255**2 / error) if error else math.inf,
        before=recall["before"],
        recall=recall["exact"],
        recall_int8=recall["coarse"],
        low=bounds and bounds[0],
        high=bounds and bounds[1],
        float_only=sum(lost for lost, _ in changed),
        int8_only=sum(gained for _, gained in changed),
        matched=matched["exact"],
        matched_int8=matched["coarse"],
    )


def found_labels(found: Found, threshold: float) -> Bools:
    """Return which labels of a picture, bool (k,), are found at a score threshold."""
    detections, picture = found
    labels = Labels.plain(xyxy_to_corners(picture.boxes), picture.classes)
    kept = detections.select(detections.scores >= threshold)
    taken = match_boxes(kept, labels, ious=(IOU,)).labels[0]
    hit: Bools = np.zeros(len(picture.boxes), np.bool_)
    hit[taken[taken != UNMATCHED]] = True
    return hit


def _bounds(
    pairs: Sequence[Pair], changed: Sequence[tuple[int, int]], labels: Sequence[int]
) -> tuple[float, float] | None:
    """Return the 95 % interval of the difference of recall: a paired bootstrap over clusters."""
    names = sorted({pair.cluster for pair in pairs})
    gained, known = np.zeros((2, len(names)))
    for pair, (lost, won), count in zip(pairs, changed, labels, strict=True):
        gained[names.index(pair.cluster)] += won - lost
        known[names.index(pair.cluster)] += count
    weights = cluster_weights(names, replicates=REPLICATES, seed=SEED).astype(np.float64)
    with np.errstate(invalid="ignore"):
        value, *replicates = (weights @ gained) / (weights @ known)
    clusters = int((known > 0).sum())
    found = interval(value, np.array(replicates), clusters=clusters, difference=True)
    return found and (found.low, found.high)


def pictures_of(place: str, scenes: int) -> Iterator[LabelledImage]:
    """Return the sharp pictures of a place with their labels; raise FileNotFoundError without."""
    if place == "rendered":
        rendered = RenderedScenes(first_seed=FIRST_SEED, count=scenes, size=SIDE, gsd=GSD)
        yield from rendered_images(rendered)
        return
    config = validate(DetectorTraining, load_yaml(find_config(CONFIG)), source=CONFIG)
    street = next(each for each in config.held_out if each.name == STREET)
    yield from list(place_images(config, street))[:scenes]


def describe(costs: Sequence[Cost], digests: Mapping[str, str]) -> str:
    """Return the tables as markdown; `digests` are those of the 8-bit networks by deblurrer."""
    parts = []
    for place, deblurrer in dict.fromkeys((cost.place, cost.deblurrer) for cost in costs):
        own = [cost for cost in costs if (cost.place, cost.deblurrer) == (place, deblurrer)]
        angles = len(LADDER.angles)
        parts += [
            f"`{deblurrer}` (8 bits: {digests[deblurrer][:12]}), {PLACES[place]}, "
            f"{own[0].labels // angles} vehicles under each of {angles} angles:\n",
            *(TABLE, *map(_row, own)),
            "",
        ]
    return "\n".join(parts)


TABLE = f"""\
| severity | PSNR to float32, dB | recall before | float32 | int8 | change, points | found after \
one only: float32 / int8 | at precision {PRECISION:g}: float32 | int8 | change, points | kept |
|{"---|" * 11}"""


def _row(cost: Cost) -> str:
    change = f"{100 * (cost.recall_int8 - cost.recall):+.2f}"
    if cost.low is not None and cost.high is not None:
        change += f" ({100 * cost.low:+.2f} to {100 * cost.high:+.2f})"
    cells = (
        str(cost.severity),
        f"{cost.psnr:.1f}",
        *(f"{share:.3f}" for share in (cost.before, cost.recall, cost.recall_int8)),
        change,
        f"{cost.float_only} / {cost.int8_only}",
        *(f"{share:.3f}" for share in (cost.matched, cost.matched_int8)),
        f"{100 * (cost.matched_int8 - cost.matched):+.2f}",
        "yes" if cost.kept else "no",
    )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Measure what is asked for, print the tables and write both files."""
    given = _parser().parse_args()
    compute_alone()
    costs, digests, detector = [], {}, Detector.load(resolve_weights("vehicles_yolo"))
    pictures = {place: list(pictures_of(place, given.scenes)) for place in given.places}
    for name in given.deblurrers:
        networks, digests[name] = _open(resolve_weights(name), given.backend)
        for place in given.places:
            for severity in given.severities:
                pairs = measure(pictures[place], networks, detector, severity)
                known = {"place": place, "deblurrer": name, "severity": severity}
                costs.append(judge(pairs, **known, independent=place == "rendered"))
                print(_row(costs[-1]), flush=True)
    text = describe(costs, digests)
    print(text)
    if given.markdown:
        given.markdown.write_text(text, encoding="utf-8")
    if given.json:
        report = {"int8_sha256": digests, "costs": [asdict(cost) for cost in costs]}
        given.json.write_text(json.dumps(report, indent=1), encoding="utf-8")


def _open(
    weights: Path, backend: Literal["openvino", "onnxruntime"]
) -> tuple[tuple[Deblurrer, Deblurrer], str]:
    exact = Deblurrer.load(weights, backend=backend)
    coarse = Deblurrer.load(weights, backend=backend, dtype="int8")
    return (exact, coarse), sha256(weights.with_suffix(QUANTIZED))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--deblurrers", nargs="+", default=["deblur_dsc", "deblur_mobilenet"])
    parser.add_argument("--backend", choices=("openvino", "onnxruntime"), default="openvino")
    parser.add_argument("--places", nargs="+", choices=tuple(PLACES), default=list(PLACES))
    parser.add_argument("--scenes", type=int, default=20, help="at most so many of each place")
    rungs = range(1, len(LADDER.lengths) + 1)
    parser.add_argument("--severities", nargs="+", type=int, choices=rungs, default=list(rungs))
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    return parser


if __name__ == "__main__":
    main()
