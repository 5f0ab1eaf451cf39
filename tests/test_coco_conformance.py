"""Matching and average precision are COCO's, as two independent implementations of it say.

A case is one class in a few pictures; pictures hold fifty classes, so that one run of the
witnesses judges fifty cases. COCO knows no ignored labels but crowds and those of an unwanted
area: an ignored label that is no crowd has area 0 here, everything else area 10.
"""

import contextlib
import io
import itertools
from dataclasses import dataclass

import faster_coco_eval
import numpy as np
import pycocotools.coco
import pycocotools.cocoeval
import pytest

from tests.made_boxes import draw_picture
from transforms.functional.average_precision import average_precision
from transforms.functional.boxes import ANY_CLASS, Detections, Labels
from transforms.functional.matching import UNMATCHED, Matches, match_boxes

CLASSES = 50
# COCO's ten thresholds, and two at which much and next to nothing matches.
THRESHOLDS = np.concatenate([[0.1], np.linspace(0.5, 0.95, 10), [1.0]])
COCO_TEN = slice(1, 11)
FASTER = (faster_coco_eval.COCO, faster_coco_eval.COCOeval_faster)
PYCOCO = (pycocotools.coco.COCO, pycocotools.cocoeval.COCOeval)


@dataclass
class Written:
    """Pictures in COCO's format, and which (picture, label) each annotation id stands for."""

    dataset: dict
    results: list[dict]
    labels: dict[int, int]


def write(pictures: list[tuple[Detections, Labels]]) -> Written:
    """Write pictures down; a label of any class is written once in every class."""
    annotations, results, sources = [], [], {}
    for image, (found, truth) in enumerate(pictures, start=1):
        for label in range(len(truth)):
            kind = int(truth.classes[label])
            for category in range(CLASSES) if kind == ANY_CLASS else [kind]:
                only_ignored = truth.ignored[label] and not truth.crowd[label]
                facts = {"iscrowd": int(truth.crowd[label]), "area": 0 if only_ignored else 10}
                place = place_of(image, category, truth.xyxy[label])
                sources[len(annotations) + 1] = label
                annotations.append(facts | place | {"id": len(annotations) + 1})
        for box, score, kind in zip(found.xyxy, found.scores, found.classes, strict=True):
            results.append(place_of(image, int(kind), box) | {"score": float(score)})
    dataset = {
        "images": [{"id": i + 1, "width": 99, "height": 99} for i in range(len(pictures))],
        "annotations": annotations,
        "categories": [{"id": category, "name": str(category)} for category in range(CLASSES)],
    }
    return Written(dataset, results, sources)


def place_of(image: int, category: int, xyxy: np.ndarray) -> dict:
    x0, y0, x1, y1 = xyxy.tolist()
    return {"image_id": image, "category_id": category, "bbox": [x0, y0, x1 - x0, y1 - y0]}


def judge(witness, written: Written):
    """Return the evaluation of a witness without COCO's limit of 100 detections."""
    to_dataset, to_evaluation = witness
    with contextlib.redirect_stdout(io.StringIO()):
        dataset = to_dataset()
        dataset.dataset = written.dataset
        dataset.createIndex()
        results = dataset.loadRes(written.results)
        for detection in results.dataset["annotations"]:
            detection["area"] = 10
        evaluation = to_evaluation(dataset, results, iouType="bbox")
        evaluation.params.iouThrs = THRESHOLDS
        evaluation.params.maxDets = [100_000]
        evaluation.params.areaRng = [[1, 1e10]]
        evaluation.params.areaRngLbl = ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation


def draw(seed: int, *, crowded: bool) -> list[tuple[Detections, Labels]]:
    """Return pictures with few objects in many classes, or with hundreds in two of them.

    Every other seed has so few that some classes have no labels, or no detections, or neither.
    """
    rng = np.random.default_rng(seed)
    most, classes = (300, 2) if crowded else (600 if seed % 2 else 80, CLASSES)
    counts = [(rng.integers(9, most // 2), rng.integers(9, most)) for _ in range(3)]
    # One picture without labels, one without detections, one without either.
    counts += [(0, 40), (40, 0), (0, 0)]
    return [draw_picture(rng, labels=n, detections=k, classes=classes) for n, k in counts]


def match(picture: tuple[Detections, Labels]) -> Matches:
    return match_boxes(*picture, ious=THRESHOLDS.tolist())


def scored(pictures, matches: list[Matches], category: int) -> list[tuple[float, float]]:
    """Return average precision and recall of a class at every threshold; nan without labels."""
    own = [found.classes == category for found, _ in pictures]
    labels = sum(int((y.classes[~y.ignored] == category).sum()) for _, y in pictures)
    both = list(zip(pictures, own, strict=True))
    scores = np.concatenate([found.scores[mine] for (found, _), mine in both])
    pooled = [(m.found[:, mine], m.false[:, mine]) for m, mine in zip(matches, own, strict=True)]
    found, false = (np.concatenate(masks, axis=1) for masks in zip(*pooled, strict=True))
    return [
        (
            average_precision(scores, found[t], false[t], labels=labels),
            found[t].sum() / labels if labels else np.nan,
        )
        for t in range(len(THRESHOLDS))
    ]


CASES = [*((seed, False) for seed in range(20)), *((seed, True) for seed in range(100, 103))]


@pytest.mark.parametrize(("seed", "crowded"), CASES)
def test_every_match_is_that_of_pycocotools(seed, crowded):
    pictures = draw(seed, crowded=crowded)
    written = write(pictures)
    judged = judge(PYCOCO, written).evalImgs
    first = np.cumsum([1, *(len(found) for found, _ in pictures)])
    matches = [match(picture) for picture in pictures]
    compared = 0
    for fact in filter(None, judged):
        image = fact["image_id"] - 1
        detections = np.array(fact["dtIds"], int) - first[image]
        taken = [[written.labels.get(int(i), UNMATCHED) for i in row] for row in fact["dtMatches"]]
        assert (matches[image].labels[:, detections] == np.array(taken)).all()
        assert (matches[image].ignored[:, detections] == fact["dtIgnore"]).all()
        compared += len(detections)
    assert compared == len(written.results) > 40


@pytest.mark.parametrize(("witness", "case"), list(itertools.product([PYCOCO, FASTER], CASES)))
def test_average_precision_and_recall_are_those_of_two_witnesses(witness, case):
    pictures = draw(case[0], crowded=case[1])
    judged = judge(witness, write(pictures)).eval
    matches = [match(picture) for picture in pictures]
    ours = np.array([scored(pictures, matches, category) for category in range(CLASSES)])
    theirs = np.stack(
        [judged["precision"][:, :, :, 0, 0].mean(axis=1).T, judged["recall"][:, :, 0, 0].T], axis=2
    )
    theirs[theirs == -1] = np.nan
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9)
    averages = [np.nanmean(values[:, COCO_TEN, 0]) for values in (ours, theirs)]
    assert averages[0] == pytest.approx(averages[1], abs=1e-9)
    assert 0 < averages[0] < 1
