"""The detector's model card: what the weights are, and what was measured with the written file."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import yaml

from configs.train_detector import DetectorTraining
from models.checkpoints import sha256
from models.detector import Detector
from models.training.detector_score import (
    DetectorScore,
    LabelledImage,
    place_images,
    rendered_images,
    score_detector,
)
from models.yolo import build_network
from transforms.functional.boxes import Detections
from transforms.functional.matching import match_greedily

LICENCE = "AGPL-3.0 (architecture), CC-BY-SA-4.0 (pictures)"
HALOS = (32, 64, 96, 128, 160, 192, 256)
CORE = 128


def write_card(config: DetectorTraining, steps: int) -> Path:
    """Measure the exported weights and write their card beside them; return the card's path."""
    detector = Detector.load(config.weights)
    checks = [list(place_images(config, place)) for place in config.validation]
    if config.validation_rendered is not None:
        checks.append(list(rendered_images(config.validation_rendered)))
    threshold = choose_threshold(detector, checks, config.target_precision)
    halo = measure_halo(detector, [each for check in checks for each in check], threshold)
    numbers = {
        "score_threshold": round(threshold, 3),
        "cpu_seconds_per_mpix": measure_seconds(detector),
        **measure_places(config, detector, threshold),
    }
    network = build_network(config.architecture, len(config.names))
    facts = {
        "name": config.weights.stem,
        "task": "detection",
        "architecture": f"{config.architecture.removesuffix('.yaml')} (Ultralytics)",
        "licence": LICENCE,
        "file": config.weights.name,
        "sha256": sha256(config.weights),
        "size_bytes": config.weights.stat().st_size,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "halo_px": halo,
        "data": list(config.attribution),
        "numbers": numbers,
    }
    front = yaml.safe_dump(facts, sort_keys=False, allow_unicode=True, width=100)
    card = config.weights.with_suffix(".md")
    card.write_text(f"---\n{front}---\n\n{_prose(config, steps)}", encoding="utf-8")
    return card


def choose_threshold(
    detector: Detector, checks: Sequence[Sequence[LabelledImage]], precision: float
) -> float:
    """Return the lowest score at which every set of validation pictures reaches the precision."""
    scores = [score_detector(detector, check, target_precision=precision) for check in checks]
    return max(score.threshold for score in scores)


def measure_places(
    config: DetectorTraining, detector: Detector, threshold: float
) -> dict[str, float]:
    """Score the validation and held-out places: at the threshold, and at the target precision."""
    numbers: dict[str, float] = {}
    percent = round(100 * config.target_precision)
    for place in (*config.validation, *config.held_out):
        pictures = list(place_images(config, place))
        numbers |= _named(
            place.name,
            score_detector(detector, pictures, threshold=threshold),
            score_detector(detector, pictures, target_precision=config.target_precision),
            percent,
        )
    if config.validation_rendered is not None:
        pictures = list(rendered_images(config.validation_rendered))
        numbers |= _named(
            "rendered",
            score_detector(detector, pictures, threshold=threshold),
            score_detector(detector, pictures, target_precision=config.target_precision),
            percent,
        )
    return numbers


def measure_halo(detector: Detector, pictures: Sequence[LabelledImage], threshold: float) -> int:
    """Return the smallest halo in pixels at which tiles find what the whole picture finds.

    Cores of 128 px are cut from the middle of each picture with growing halos, origins on the
    stride grid. A halo is enough when at most 1 % of the boxes above the threshold, with their
    centre in a core, have no counterpart of IoU 0.5 in the other.
    """
    for halo in HALOS:
        changed = total = 0
        for picture in pictures:
            whole, tile = _core_detections(detector, picture.image, halo)
            whole, tile = (each.select(each.scores >= threshold) for each in (whole, tile))
            matches = match_greedily(whole, tile.xyxy, tile.classes, iou=0.5)
            changed += len(whole) + len(tile) - 2 * int((matches >= 0).sum())
            total += len(whole) + len(tile)
        if changed <= 0.01 * total:
            return halo
    return HALOS[-1]


def measure_seconds(detector: Detector, side: int = 640) -> float:
    """Return the processor seconds that a megapixel takes on one core, the median of five runs."""
    image = np.random.default_rng(0).integers(0, 256, (1, side, side, 3), np.uint8)
    seconds = []
    for _ in range(5):
        start = time.process_time()
        detector(image)
        seconds.append(time.process_time() - start)
    return round(float(np.median(seconds)) / (side * side / 1e6), 3)


def _core_detections(
    detector: Detector, image: np.ndarray, halo: int
) -> tuple[Detections, Detections]:
    """Detections whose centre lies in the middle core: of the whole picture, and of core + halo."""
    top, left = ((side - CORE) // 2 // 32 * 32 for side in image.shape[:2])
    y0, x0 = max(0, top - halo), max(0, left - halo)
    window = image[y0 : top + CORE + halo, x0 : left + CORE + halo]
    found = (
        detector(image[None])[0],
        detector(np.ascontiguousarray(window)[None])[0].shift(x0, y0),
    )
    low, high = np.array([left, top]), np.array([left + CORE, top + CORE])
    whole, tile = (
        each.select(np.flatnonzero(((each.centres >= low) & (each.centres < high)).all(axis=1)))
        for each in found
    )
    return whole, tile


def _named(
    name: str, fixed: DetectorScore, matched: DetectorScore, percent: int
) -> dict[str, float]:
    return {
        f"{name}_recall": round(fixed.recall, 3),
        f"{name}_precision": round(fixed.precision, 3),
        f"{name}_recall_at_precision_{percent}": round(matched.recall, 3),
        f"{name}_ap50": round(fixed.average_precision, 3),
    }


def _prose(config: DetectorTraining, steps: int) -> str:
    places = "\n".join(
        f"- `{place.name}`: {', '.join(place.globs)} at scale {place.scale}"
        for place in (*config.validation, *config.held_out)
    )
    held_out = ", ".join(place.name for place in config.held_out)
    settings = yaml.safe_dump(
        config.model_dump(mode="json", include={"pictures", "rendered", "augmentation"}),
        default_flow_style=None,
        width=92,
    )
    recipe = "".join(f"    {line}\n" for line in settings.splitlines())
    return f"""# {config.weights.stem}

Finds vehicles ({", ".join(config.names)}) in aerial RGB pictures seen from above, at 11-16 cm per
pixel, and with less certainty at 6-9 cm. Horizontal boxes, scores in [0, 1]. Trained from random
weights on sharp pictures: it has never seen blur, so that it can judge what deblurring gives back.

## Recipe

`aerial-deblur train` with seed {config.seed}: {steps} steps of {config.batch} crops of
{config.crop} px, the loss of Ultralytics ({config.architecture}), AdamW
({config.learning_rate}, one cosine), averaged weights ({config.average}), float16 file.
PyTorch {torch.__version__}. Real crops are turned and mirrored with boxes kept tight; rows of
parked vehicles are pasted at any angle; rendered scenes add more angles and crowds. No augmentation
blurs.

{recipe}
## Numbers

IoU 0.5, all vehicles as one class, whole pictures. `score_threshold` is the lowest score at which
each validation set reaches precision {config.target_precision}; `recall` and `precision` are taken
there, `recall_at_precision` where the place itself reaches that precision, `ap50` needs no
threshold. The places {held_out} decided nothing and were never trained on.
`halo_px` is the margin at which tiles find what the whole picture finds, but for 1 % of the boxes.

{places}
- `rendered`: scenes of seeds that training never saw

The validation pictures show the training junction on another flight, so their numbers flatter. The
labels of all places leave out some vehicles at the frame's edge. Expect misses among buses at
6-9 cm per pixel, vehicles under trees, and kinds of vehicle that Munich and Minsk do not have.

## Data

The pictures are not part of this project; owners and licences are named above. The network's code
is Ultralytics' (AGPL-3.0), and some pictures ask for the same terms (CC-BY-SA): use and pass on
these weights under both.
"""
