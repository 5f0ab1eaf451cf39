"""Deblur, or teach the detector blur? Both, on a street that none of the networks has seen.

    python benchmarks/blur_trained_detector.py     measures, then writes docs/results_detectors.md

The labelled pictures are those of `munich_street` in configs/train_detector_blur.yaml.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from configs.load import find_config, load_yaml, validate
from configs.train_detector import DetectorTraining
from models.cards import sha256
from models.deblurrer import Deblurrer
from models.detector import Detector
from models.shipped import resolve_weights
from models.training.detector_score import (
    DetectorScore,
    Found,
    LabelledImage,
    operating_threshold,
    place_images,
    score,
)
from transforms.functional.blur import blur_tile

CONFIG, PLACE = "train_detector_blur", "munich_street"
DEBLURRER = "deblur_dsc"
LENGTHS = (0, 4, 7, 11, 15, 21)
"""Blur lengths in pixels; 0 is the sharp picture as it is."""
ANGLES = (0, 45, 90, 135)
PRECISION = 0.8
RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results_detectors.md"


@dataclass(frozen=True)
class Arm:
    """One way to find vehicles in a blurred picture: a detector, with or without deblurring."""

    title: str
    detector: str
    deblurs: bool = False


ARMS = (
    Arm("before: vehicles_yolo on blurred", "vehicles_yolo"),
    Arm("after: vehicles_yolo on deblurred", "vehicles_yolo", deblurs=True),
    Arm("taught: vehicles_yolo_blur on blurred", "vehicles_yolo_blur"),
)

Scores = Mapping[tuple[int, Arm], DetectorScore]


def measure(
    pictures: Sequence[LabelledImage], deblurrer: Deblurrer, detectors: Mapping[str, Detector]
) -> Scores:
    """Score every arm at every blur length, all pictures and angles together."""
    scores = {}
    for length in LENGTHS:
        found: dict[Arm, list[Found]] = {arm: [] for arm in ARMS}
        for picture in blurred(pictures, length):
            deblurred = deblurrer(picture.image[None])
            for arm in ARMS:
                image = deblurred if arm.deblurs else picture.image[None]
                found[arm].append((detectors[arm.detector](image)[0], picture))
        for arm, each in found.items():
            scores[length, arm] = score(each, operating_threshold(each, PRECISION))
    return scores


def blurred(pictures: Sequence[LabelledImage], length: int) -> Iterator[LabelledImage]:
    """Every picture under every angle with a motion of `length` px; once and untouched for 0."""
    for seed, picture in enumerate(pictures):
        for angle in ANGLES if length else ():
            image = blur_tile(picture.image, length=length, angle=angle, seed=seed)
            yield LabelledImage(image, picture.boxes, picture.classes)
        if not length:
            yield picture


def describe(scores: Scores, weights: Mapping[str, str]) -> str:
    """Return docs/results_detectors.md; `weights` are names and their digests."""
    named = ", ".join(f"{name} ({digest[:12]})" for name, digest in weights.items())
    labels = scores[LENGTHS[0], ARMS[0]].labels
    rows = [HEAD, f"{labels} labelled vehicles under each of {len(ANGLES)} angles. {named}.\n"]
    for title, field in (
        (f"Recall at precision {PRECISION:g}", "recall"),
        ("AP50", "average_precision"),
    ):
        lengths = " | ".join(f"{length} px" if length else "sharp" for length in LENGTHS)
        rows += [f"## {title}\n", f"| arm | {lengths} |", "|---" * (len(LENGTHS) + 1) + "|"]
        for arm in ARMS:
            cells = (f"{getattr(scores[length, arm], field):.3f}" for length in LENGTHS)
            rows.append(f"| {arm.title} | {' | '.join(cells)} |")
        rows.append("")
    return "\n".join(rows)


HEAD = """\
# Deblur, or teach the detector blur?

Made by `python benchmarks/blur_trained_detector.py`. The pictures (KIT AIS, Munich street) are
sharp and blurred by us: straight motion of five lengths and four angles (0, 45, 90, 135 degrees),
with sensor noise, in linear light. `vehicles_yolo` has never seen blur; `vehicles_yolo_blur` is the
same network trained on with blur of 3-25 px, so it serves detection alone: it gives back no
picture, and it cannot judge a deblurrer. No network was trained on these pictures, and they chose
no setting of the detectors; the deblurrer's settings were chosen with some of them in view, as
[results.md](results.md) says. IoU 0.5; precision and recall are those of whole pictures.
"""


def main() -> None:
    """Measure all arms and write the results."""
    torch.set_num_threads(1)
    config = validate(DetectorTraining, load_yaml(find_config(CONFIG)), source=CONFIG)
    place = next(place for place in config.held_out if place.name == PLACE)
    paths = {name: resolve_weights(name) for name in (DEBLURRER, *(arm.detector for arm in ARMS))}
    detectors = {arm.detector: Detector.load(paths[arm.detector]) for arm in ARMS}
    pictures = list(place_images(config, place))
    scores = measure(pictures, Deblurrer.load(paths[DEBLURRER]), detectors)
    weights = {name: sha256(path) for name, path in paths.items()}
    RESULTS.write_text(describe(scores, weights), encoding="utf-8")
    print(f"wrote {RESULTS}")


if __name__ == "__main__":
    main()
