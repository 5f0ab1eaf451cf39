"""The detector's model card: what the weights are, and what was measured with the written file."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from configs.train_detector import DetectorTraining
from models.cards import sha256
from models.cost import measure_cpu_seconds
from models.detector import Detector
from models.training.detector_score import (
    Found,
    detect_all,
    operating_threshold,
    place_images,
    rendered_images,
    score,
)
from models.yolo import build_network
from transforms.functional.boxes import Detections, Labels
from transforms.functional.matching import match_boxes

LICENCE = "AGPL-3.0 (architecture), CC-BY-SA (pictures)"
HALOS = (32, 64, 96, 128, 160, 192, 256)
CORE = 128

_SHARP = """\
Trained on sharp pictures: it has never seen blur, so that it can judge what deblurring gives
back."""

_BLURRED = """\
Trained on blurred pictures too: it is the answer "teach the detector blur instead of deblurring",
and must not judge what deblurring gives back. Its threshold was chosen on sharp pictures."""


def write_card(config: DetectorTraining, steps: int, parent: str = "") -> Path:
    """Measure the exported weights and write their card beside them; return the card's path.

    `steps` is how far the training came, `parent` the digest of the weights it started from.
    """
    detector = Detector.load(config.weights)
    places = {
        place.name: detect_all(detector, place_images(config, place))
        for place in config.validation + config.held_out
    }
    checks = [places[place.name] for place in config.validation]
    if config.validation_rendered is not None:
        places["rendered"] = detect_all(detector, rendered_images(config.validation_rendered))
        checks.append(places["rendered"])
    threshold = max(operating_threshold(check, config.target_precision) for check in checks)
    numbers = {
        "score_threshold": round(threshold, 3),
        "cpu_seconds_per_mpix": measure_cpu_seconds(detector),
    }
    for name, found in places.items():
        numbers |= _numbers(name, found, threshold, config.target_precision)
    halo = measure_halo(detector, [each for check in checks for each in check], threshold)
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
    card.write_text(f"---\n{front}---\n\n{describe(config, steps, parent)}", encoding="utf-8")
    return card


def measure_halo(detector: Detector, found: Sequence[Found], threshold: float) -> int:
    """Return the smallest halo in pixels at which tiles find what the whole picture finds.

    A core of 128 px is cut from the middle of each picture with growing halos, on the stride grid.
    A halo is enough when at most 1 % of the boxes above the threshold, with their centre in a core,
    have no counterpart of IoU 0.5 in the other; the largest is returned where none is.
    """
    for halo in HALOS:
        changed = total = 0
        for detections, picture in found:
            corner, tile = _tile(picture.image, halo)
            origin = _core_origin(picture.image)
            inside = detector(tile[None])[0].shift(*corner)
            whole, part = (_core(each, origin, threshold) for each in (detections, inside))
            matches = match_boxes(whole, Labels.plain(part.corners, part.classes), ious=(0.5,))
            changed += len(whole) + len(part) - 2 * int(matches.found.sum())
            total += len(whole) + len(part)
        if changed <= 0.01 * total:
            return halo
    return HALOS[-1]


def _core_origin(image: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Where the middle core begins, x and y, on the stride grid."""
    return np.array([max(0, side - CORE) // 2 // 32 * 32 for side in image.shape[1::-1]])


def _tile(image: NDArray[np.uint8], halo: int) -> tuple[tuple[int, int], NDArray[np.uint8]]:
    """Cut the middle core and its halo; return the tile's origin x, y, and its pixels."""
    x, y = _core_origin(image)
    left, top = max(0, x - halo), max(0, y - halo)
    tile = image[top : y + CORE + halo, left : x + CORE + halo]
    return (left, top), np.ascontiguousarray(tile)


def _core(detections: Detections, origin: NDArray[np.int64], threshold: float) -> Detections:
    """Detections above the threshold whose centre lies in the core."""
    offset = detections.centres - origin
    inside = ((offset >= 0) & (offset < CORE)).all(axis=1)
    return detections.select(np.flatnonzero(inside & (detections.scores >= threshold)))


def _numbers(
    name: str, found: Sequence[Found], threshold: float, precision: float
) -> dict[str, float]:
    fixed = score(found, threshold)
    matched = score(found, operating_threshold(found, precision))
    return {
        f"{name}_recall": round(fixed.recall, 3),
        f"{name}_precision": round(fixed.precision, 3),
        f"{name}_recall_at_precision_{round(100 * precision)}": round(matched.recall, 3),
        f"{name}_ap50": round(fixed.average_precision, 3),
    }


def _ground_sampling(config: DetectorTraining) -> tuple[float, float]:
    """The finest and the coarsest metres per pixel of the crops."""
    ends = [section.gsd / scale for section in config.pictures for scale in section.scales]
    if config.rendered is not None:
        (fine, coarse), (low, high) = config.rendered.gsd, config.rendered.scales
        ends += [fine / high, coarse / low]
    return min(ends), max(ends)


def describe(config: DetectorTraining, steps: int, parent: str) -> str:
    """Return the card's text: what the weights are for, how they were made, what was measured."""
    places = "\n".join(
        f"- `{place.name}`: {', '.join(place.globs)} at scale {place.scale}"
        for place in (*config.validation, *config.held_out)
    )
    held_out = ", ".join(place.name for place in config.held_out)
    shown = {"pictures", "rendered", "augmentation", "blur"}
    settings = yaml.safe_dump(
        config.model_dump(mode="json", include=shown, exclude_none=True),
        default_flow_style=None,
        width=92,
    )
    finest, coarsest = (round(100 * gsd) for gsd in _ground_sampling(config))
    start = f"the weights {parent[:12]}" if parent else "random weights"
    length = str(steps) if steps == config.steps else f"the first {steps} of {config.steps}"
    recipe = "".join(f"    {line}\n" for line in settings.splitlines())
    return f"""# {config.weights.stem}

Finds vehicles in aerial RGB pictures seen from above; its training covers {finest}-{coarsest} cm
per pixel. Classes: {", ".join(config.names)}. Horizontal boxes, scores in [0, 1].
{_SHARP if config.blur is None else _BLURRED}

## Recipe

`aerial-deblur train` with seed {config.seed}: {length} steps of {config.batch} crops of
{config.crop} px, the loss of Ultralytics ({config.architecture}), AdamW
({config.learning_rate}, one cosine), averaged weights ({config.average}), float16 file.
Started from {start}. PyTorch {torch.__version__}. Real crops are turned and mirrored
with boxes kept tight; rows of parked vehicles are pasted at any angle; rendered scenes add more
angles, crowds and shadows.

{recipe}
## Numbers

IoU 0.5, all vehicles as one class, whole pictures. `score_threshold` is the lowest score at which
each validation set reaches precision {config.target_precision}; `recall` and `precision` are taken
there, `recall_at_precision` where the place itself reaches that precision, `ap50` needs no
threshold. The places {held_out} chose no setting, threshold or checkpoint
and were never trained on.
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
