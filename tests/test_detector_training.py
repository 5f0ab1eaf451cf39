"""Facts about the detector's training: boxes follow pixels, places stay apart, runs resume."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from configs.load import load_yaml
from configs.train_deblurrer import BlurSampling
from configs.train_detector import DetectorTraining, PictureSet
from models.cards import read_card, sha256
from models.detector import Detector
from models.training.detector_card import describe
from models.training.detector_crops import VehicleCrops, similarity, warp
from models.training.detector_data import (
    LabelledPicture,
    find_pictures,
    horizontal_boxes,
    read_labels,
    vehicles_from_boxes,
    vehicles_from_corners,
)
from models.training.detector_light import cast_shadow, recolour
from models.training.detector_loop import (
    CHECKPOINT,
    LOG,
    DetectorRun,
    claim_output,
    collate,
    learning_rate,
    train_detector,
)
from models.training.detector_score import (
    LabelledImage,
    detect_all,
    operating_threshold,
    place_images,
    score,
)
from models.yolo import build_network, load_network, save_network
from transforms.functional.boxes import Detections, xyxy_to_corners

RECIPES = sorted(Path("configs").glob("train_detector*.yaml"))
SHIPPED = [path for path in RECIPES if path.stem != "train_detector"]
DATA = Path("../shared/data")
CLASS_MAP = {"car": "vehicle", "truck": "vehicle", "bus": "vehicle", "minibus": "vehicle"}


def config(root, **changes):
    """A training on two made pictures: bright vehicles on a dark ground."""
    rng = np.random.default_rng(5)
    (root / "place").mkdir(parents=True, exist_ok=True)
    for name in ("a", "b", "c"):
        picture = rng.integers(20, 60, (200, 300, 3), np.uint8)
        lines = []
        for x, y in ((60, 50), (150, 120), (240, 70)):
            picture[y - 8 : y + 8, x - 20 : x + 20] = 230
            lines.append(f"0 {x / 300} {y / 200} {40 / 300} {16 / 200}")
        cv2.imwrite(str(root / "place" / f"{name}.png"), picture)
        (root / "place" / f"{name}.txt").write_text("\n".join(lines))
    section = {
        "globs": ["place/[ab].*"],
        "share": 1.0,
        "gsd": 0.12,
        "scales": [0.7, 1.1],
        "any_angle": True,
        "donor": True,
    }
    values = {
        "kind": "detector",
        "data": root,
        "output": root / "run",
        "weights": root / "weights.safetensors",
        "class_map": CLASS_MAP,
        "pictures": [section],
        "validation": [{"name": "place", "globs": ["place/c.*"]}],
        "crop": 64,
        "batch": 2,
        "steps": 4,
        "warmup": 1,
        "checkpoint_every": 2,
        "bfloat16": False,
    }
    return DetectorTraining(**(values | changes))


def one_class(boxes):
    return vehicles_from_boxes(np.float32(boxes), np.zeros(len(boxes), np.int32))


# Boxes


@settings(deadline=None)
@given(
    quarter=st.integers(0, 3),
    scale=st.sampled_from([0.5, 1.0, 2.0]),
    mirrored=st.booleans(),
    width=st.integers(4, 60),
    height=st.integers(4, 60),
)
def test_quarter_turns_neither_grow_nor_shrink_boxes(quarter, scale, mirrored, width, height):
    vehicles = one_class([[0, 0, width, height]])
    matrix = similarity(scale, 90.0 * quarter, mirrored, np.zeros(2), np.zeros(2))
    (box,), tight = horizontal_boxes(vehicles, matrix, 8)
    sides = (height, width) if quarter % 2 else (width, height)
    assert box[2:] - box[:2] == pytest.approx(scale * np.array(sides), rel=1e-4)
    assert tight.all()


@given(degrees=st.floats(0, 360))
def test_a_turned_long_box_is_tighter_than_its_turned_corners(degrees):
    vehicles = one_class([[-20, -8, 20, 8]])
    matrix = similarity(1.0, degrees, False, np.zeros(2), np.zeros(2))
    (box,), _ = horizontal_boxes(vehicles, matrix, 8)
    corners = np.array([[-20, -8], [20, -8], [20, 8], [-20, 8]]) @ matrix[:, :2].T
    assert (box[2:] <= corners.max(axis=0) + 1e-3).all()
    assert (box[2:] >= 7.9).all()


def test_a_box_of_unknown_orientation_is_tight_only_near_quarter_turns():
    vehicles = one_class([[0, 0, 30, 28]])
    tight = [
        bool(
            horizontal_boxes(
                vehicles, similarity(1.0, degrees, False, np.zeros(2), np.zeros(2)), 8
            )[1][0]
        )
        for degrees in (0, 6, 45, 97, 120)
    ]
    assert tight == [True, True, False, True, False]


def test_corners_give_back_the_rectangle_they_came_from():
    angle, half = 0.6, np.float32([20, 8])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corners = np.float32([[-20, -8], [20, -8], [20, 8], [-20, 8]]) @ turn.T + [50, 60]
    vehicles = vehicles_from_corners(corners[None], np.zeros(1, np.int32))
    assert vehicles.centres[0] == pytest.approx([50, 60])
    assert vehicles.halves[0] == pytest.approx(half)
    assert vehicles.angles[0] == pytest.approx(angle)


def test_labels_are_read_in_pixels_and_mapped_to_classes(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("2 0.5 0.5 0.2 0.1\n")
    vehicles = read_labels(path, (100, 200), [0, 0, 1, 0])
    assert vehicles.centres.tolist() == [[100, 50]]
    assert vehicles.halves[0] == pytest.approx([20, 5])
    assert vehicles.classes.tolist() == [1]
    assert len(read_labels(tmp_path / "none.txt", (100, 200), [0])) == 0


def test_a_broken_label_file_is_named(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("0 0.5 0.5\n")
    with pytest.raises(ValueError, match=r"a\.txt"):
        read_labels(path, (10, 10), [0])


# Pixels


def test_a_quarter_turn_moves_pixels_and_changes_none():
    """No blur of any kind: where no resampling is needed, none happens."""
    image = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    picture = LabelledPicture(((1.0, image),), one_class([]), 0.1)
    centre = np.full(2, 32.0)
    turned = warp(picture, similarity(1.0, 90, False, centre, centre), (64, 64))
    assert np.array_equal(turned, np.rot90(image, -1))


def test_recolouring_without_strength_changes_nothing():
    still = dict.fromkeys(
        ("brightness", "contrast", "gamma", "saturation", "white_balance", "noise"), 0
    )
    section = DetectorTraining.model_fields["augmentation"].default.model_copy(update=still)
    image = np.random.default_rng(1).integers(0, 256, (16, 16, 3), np.uint8)
    assert np.array_equal(recolour(image, section, np.random.default_rng(0)), image)


def test_boxes_lie_on_the_vehicles_whatever_the_view(tmp_path):
    """The witness is the picture: bright vehicles on a dark ground, one per crop."""
    still = {"rows": 0, "noise": 0, "brightness": 0, "contrast": 0, "gamma": 0}
    crops = VehicleCrops(config(tmp_path, augmentation=still, crop=96))
    seen = 0
    for slot in range(60):
        crop = crops.crop(0, slot)
        bright = crop.image.min(axis=2) > 140
        if len(crop.boxes) != 1 or not bright.any() or bright[[0, -1]].any():
            continue
        if bright[:, [0, -1]].any():
            continue
        rows, columns = np.nonzero(bright)
        visible = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert crop.boxes[0] == pytest.approx(visible, abs=4)
        seen += 1
    assert seen >= 5


def test_a_crop_depends_on_seed_step_and_slot_alone(tmp_path):
    first, second = VehicleCrops(config(tmp_path)), VehicleCrops(config(tmp_path))
    wanted = first.crop(3, 1)
    second.batch(0)
    got = second.crop(3, 1)
    assert np.array_equal(wanted.image, got.image)
    assert np.array_equal(wanted.boxes, got.boxes)
    other = VehicleCrops(config(tmp_path, seed=1)).crop(3, 1)
    assert not np.array_equal(wanted.image, other.image)


def test_blur_changes_the_pixels_of_a_crop_and_nothing_else(tmp_path):
    blur = {"length": [5, 9], "sharp_share": 0.5}
    sharp, blurred = VehicleCrops(config(tmp_path)), VehicleCrops(config(tmp_path, blur=blur))
    changed = 0
    for slot in range(12):
        wanted, got = sharp.crop(3, slot), blurred.crop(3, slot)
        assert np.array_equal(wanted.boxes, got.boxes)
        assert np.array_equal(got.image, blurred.crop(3, slot).image)
        changed += not np.array_equal(wanted.image, got.image)
    assert 0 < changed < 12


def test_a_shadow_darkens_one_part_and_leaves_the_rest():
    image = np.full((64, 64, 3), 200, np.uint8)
    parts = []
    for seed in range(20):
        shaded = cast_shadow(image, np.random.default_rng(seed))
        assert (shaded <= image).all()
        parts.append(float((shaded[..., 0] < 160).mean()))
    assert 0.1 < np.mean(parts) < 0.6
    assert np.array_equal(image, np.full((64, 64, 3), 200, np.uint8))


def test_boxes_stay_inside_their_crop(tmp_path):
    crops = VehicleCrops(config(tmp_path))
    boxes = np.concatenate([crops.crop(0, slot).boxes for slot in range(50)])
    assert len(boxes)
    assert boxes.min() >= 0
    assert boxes.max() <= 64
    assert (boxes[:, 2:] - boxes[:, :2]).min() >= 4


def test_parked_rows_add_vehicles_and_label_them(tmp_path):
    def count(rows):
        crops = VehicleCrops(config(tmp_path, crop=160, augmentation={"rows": rows}))
        return sum(len(crops.crop(0, slot).boxes) for slot in range(20))

    assert count(1.0) > 1.5 * count(0.0)


# Places


def test_held_out_pictures_are_never_loaded(tmp_path):
    with pytest.raises(ValueError, match=r"held-out.*a\.png"):
        VehicleCrops(config(tmp_path, held_out=[{"name": "a", "globs": ["place/a*"]}]))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_the_recipes_keep_the_test_places_apart(recipe):
    shipped = DetectorTraining(**load_yaml(recipe))
    if not DATA.exists():
        pytest.skip("the pictures of ../shared/data are not here")
    groups = [
        {path for pattern in patterns for path in find_pictures(DATA, pattern)}
        for patterns in (
            [pattern for section in shipped.pictures for pattern in section.globs],
            [pattern for place in shipped.validation for pattern in place.globs],
            [pattern for place in shipped.held_out for pattern in place.globs],
        )
    ]
    assert [len(group) for group in groups] == [38, 4, 18]
    assert len(set.union(*groups)) == sum(map(len, groups))


def test_a_glob_that_finds_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        find_pictures(tmp_path, "nowhere/*")


def test_every_label_name_needs_a_class(tmp_path):
    with pytest.raises(ValidationError, match="minibus"):
        config(tmp_path, class_map={"car": "v", "truck": "v", "bus": "v"})


def test_classes_are_the_distinct_values_in_order(tmp_path):
    classes = {"car": "small", "truck": "large", "bus": "large", "minibus": "small"}
    assert config(tmp_path, class_map=classes).names == ("small", "large")
    assert isinstance(config(tmp_path).pictures[0], PictureSet)


# The loop


def test_the_learning_rate_warms_up_and_ends_at_one_per_cent(tmp_path):
    settings = config(tmp_path, steps=100, warmup=10, learning_rate=1.0)
    rates = [learning_rate(step, settings) for step in range(101)]
    assert rates[9] == 1.0
    assert rates[100] == pytest.approx(0.01)
    assert np.diff(rates[:10]).min() > 0
    assert np.diff(rates[10:]).max() < 0


def test_a_batch_holds_relative_boxes_with_their_crop(tmp_path):
    crops = VehicleCrops(config(tmp_path)).batch(0)
    batch = collate(crops, torch.device("cpu"))
    assert batch["img"].shape == (2, 3, 64, 64)
    assert batch["batch_idx"].tolist() == [0.0] * len(crops[0].boxes) + [1.0] * len(crops[1].boxes)
    boxes = np.concatenate([crop.boxes for crop in crops])
    widths = (boxes[:, 2] - boxes[:, 0]) / 64
    assert batch["bboxes"][:, 2].numpy() == pytest.approx(widths)


def test_validation_pictures_are_not_trained_on_either(tmp_path):
    with pytest.raises(ValueError, match=r"held-out.*b\.png"):
        VehicleCrops(config(tmp_path, validation=[{"name": "b", "globs": ["place/b*"]}]))


@pytest.mark.slow
@pytest.mark.parametrize("blur", [None, {"length": [3, 9], "sharp_share": 0.3}])
def test_a_resumed_run_ends_with_the_same_weights(tmp_path, blur):
    whole = config(tmp_path, output=tmp_path / "whole", blur=blur)
    train_detector(whole)
    expected = torch.load(whole.output / CHECKPOINT, weights_only=True)
    halves = config(tmp_path, output=tmp_path / "halves", steps=4, blur=blur)
    claim_output(halves)
    crops = VehicleCrops(halves)
    torch.manual_seed(halves.seed)
    first = DetectorRun(halves)
    for step in range(2):
        first.advance(crops.batch(step))
    first.checkpoint()
    train_detector(halves)
    got = torch.load(halves.output / CHECKPOINT, weights_only=True)
    assert got["step"] == expected["step"] == 4
    assert all(
        torch.equal(got["average"][name], expected["average"][name]) for name in got["average"]
    )
    lines = [json.loads(line) for line in (halves.output / LOG).read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4]
    card = read_card(halves.weights)
    assert Detector.load(halves.weights, sha256=card.sha256).names == ("vehicle",)
    assert card.parameters == 3_011_043
    assert 0 <= card.numbers["place_recall"] <= 1
    assert 0 < card.numbers["score_threshold"] <= 1


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    """Untrained weights and their digest."""
    path = tmp_path_factory.mktemp("parent") / "parent.safetensors"
    torch.manual_seed(3)
    save_network(
        build_network("yolov8n.yaml", 1), path, architecture="yolov8n.yaml", names=("vehicle",)
    )
    return path, sha256(path)


def test_a_run_starts_from_the_weights_it_is_told_and_remembers_them(tmp_path, parent):
    path, digest = parent
    child = config(tmp_path, start_from=str(path))
    claim_output(child)
    run = DetectorRun(child)
    run.resume()
    expected = load_network(path).state_dict()
    assert run.parent == digest
    assert all(torch.equal(run.average[name], value) for name, value in expected.items())
    run.advance(VehicleCrops(child).batch(0))
    run.checkpoint()
    resumed = DetectorRun(child.model_copy(update={"start_from": "gone.safetensors"}))
    resumed.resume()
    assert (resumed.step, resumed.parent) == (1, digest)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "yolov8s.yaml"}, "start_from must be a yolov8s.yaml"),
        ({"class_map": {**CLASS_MAP, "bus": "bus"}}, "start_from must have the classes"),
    ],
)
def test_foreign_weights_to_start_from_are_refused(tmp_path, parent, changes, message):
    run = DetectorRun(config(tmp_path, start_from=str(parent[0]), **changes))
    with pytest.raises(ValueError, match=message):
        run.resume()


def test_the_card_names_the_parent_and_says_whether_blur_was_seen(tmp_path):
    sharp = config(tmp_path)
    judge = describe(sharp, 4, "")
    assert "Started from random weights." in judge
    assert "it has never seen blur" in judge
    taught = describe(sharp.model_copy(update={"blur": BlurSampling()}), 4, "0123456789abcdef")
    assert "Started from the weights 0123456789ab." in taught
    assert "must not judge what deblurring gives back" in taught
    assert "covers 11-17 cm" in judge


def test_a_folder_of_another_run_is_refused_but_more_steps_are_not(tmp_path):
    claim_output(config(tmp_path))
    claim_output(config(tmp_path, steps=8))
    with pytest.raises(ValueError, match="another configuration"):
        claim_output(config(tmp_path, seed=1))


# Scores


def made_result(seed):
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 400, (40, 2))
    boxes = np.concatenate([low, low + rng.uniform(10, 40, (40, 2))], axis=1).astype(np.float32)
    found = boxes[:30] + rng.normal(0, 2, (30, 4))
    noise = rng.uniform(0, 400, (25, 2))
    found = np.concatenate([found, np.concatenate([noise, noise + 20], axis=1)])
    scores = np.concatenate([rng.uniform(0.2, 1, 30), rng.uniform(0, 0.8, 25)]).astype(np.float32)
    order = np.argsort(-scores)
    detections = Detections(xyxy_to_corners(found[order]), scores[order], np.zeros(55, np.int32))
    blank = np.zeros((8, 8, 3), np.uint8)
    return detections, LabelledImage(blank, boxes, np.zeros(40, np.int32))


def test_average_precision_agrees_with_pycocotools(capsys):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    results = [made_result(seed) for seed in range(3)]
    truth, found = COCO(), []
    truth.dataset = {"images": [], "annotations": [], "categories": [{"id": 1}]}
    for image, (detections, picture) in enumerate(results, start=1):
        truth.dataset["images"].append({"id": image})
        for x0, y0, x1, y1 in picture.boxes.tolist():
            number = len(truth.dataset["annotations"]) + 1
            box = [x0, y0, x1 - x0, y1 - y0]
            truth.dataset["annotations"].append(
                {"id": number, "image_id": image, "category_id": 1, "bbox": box, "iscrowd": 0}
                | {"area": box[2] * box[3]}
            )
        for (x0, y0, x1, y1), confidence in zip(
            detections.xyxy.tolist(), detections.scores.tolist(), strict=True
        ):
            found.append(
                {"image_id": image, "category_id": 1, "bbox": [x0, y0, x1 - x0, y1 - y0]}
                | {"score": confidence}
            )
    truth.createIndex()
    coco = COCOeval(truth, truth.loadRes(found), "bbox")
    coco.evaluate()
    coco.accumulate()
    expected = coco.eval["precision"][0, :, 0, 0, 2].mean()
    capsys.readouterr()
    measured = score(results, 0.5)
    assert measured.labels == 120
    assert measured.average_precision == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize("target", [0.5, 0.8, 0.95])
def test_the_threshold_is_the_lowest_that_reaches_the_precision(target):
    results = [made_result(seed) for seed in range(4)]
    threshold = operating_threshold(results, target)
    assert score(results, threshold).precision >= target
    scores = np.concatenate([detections.scores for detections, _ in results])
    assert all(score(results, float(low)).precision < target for low in scores[scores < threshold])


@pytest.mark.slow
@pytest.mark.parametrize("recipe", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_detector_finds_what_its_card_says_on_a_street_it_never_saw(recipe):
    if not DATA.exists():
        pytest.skip("the pictures of ../shared/data are not here")
    shipped = DetectorTraining(**load_yaml(recipe))
    card = read_card(shipped.weights)
    street = next(place for place in shipped.held_out if place.name == "munich_street")
    detector = Detector.load(shipped.weights, sha256=card.sha256)
    found = detect_all(detector, place_images(shipped, street))
    measured = score(found, card.numbers["score_threshold"])
    assert measured.labels == 370
    assert measured.recall == pytest.approx(card.numbers["munich_street_recall"], abs=0.01)
    assert measured.precision == pytest.approx(card.numbers["munich_street_precision"], abs=0.01)
    assert card.numbers["munich_street_recall_at_precision_80"] >= 0.7


def test_without_detections_the_threshold_is_one():
    picture = LabelledImage(
        np.zeros((8, 8, 3), np.uint8), np.float32([[0, 0, 4, 4]]), np.zeros(1, np.int32)
    )
    found = [(Detections.empty(), picture)]
    assert operating_threshold(found, 0.8) == 1.0
    assert score(found, 1.0).recall == 0.0
