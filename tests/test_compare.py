"""Comparing generators: one budget for all, nothing done twice, a table that tells what was run."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from pydantic import ValidationError
from scenes import textured, write_picture

from configs.comparison import Comparison, Contender
from configs.load import ConfigError, find_config, load_yaml, validate
from models.cards import sha256
from models.checkpoints import load_generator
from pipeline.compare import check, compare
from pipeline.comparison_figures import COST_FIGURE, CURVES_FIGURE, GRID_FIGURE
from pipeline.comparison_table import CSV, MARKDOWN, read_curve
from pipeline.contenders import STEPS, plan_steps, training_of, weights_of

UNET = {"variant": "unet", "widths": [8, 8], "blocks": [0, 0, 0]}


@pytest.fixture(scope="module")
def content(tmp_path_factory) -> dict:
    """A comparison of two tiny trainings and one bare network on seeded pictures."""
    folder = tmp_path_factory.mktemp("comparison")
    for number in range(3):
        picture = cv2.cvtColor(textured(256, 256, seed=number), cv2.COLOR_RGB2BGR)
        assert cv2.imwrite(str(folder / f"sharp{number}.png"), picture)
    scene = write_picture(folder / "scene.tif", textured(256, 256, seed=9))
    return {
        "kind": "comparison",
        "output": folder / "out",
        "budget_seconds": 0.5,
        "training": {
            "data": folder,
            "train": [{"pattern": "sharp[01].png"}],
            "validation": [{"pattern": "sharp2.png"}],
            "patch": 64,
            "batch": 1,
            "blur": {"length": [3, 9]},
            "bfloat16": False,
            "attribution": ["pictures: ours"],
        },
        "run": {
            "input": {"scenes": [str(scene)]},
            "read": {"core": 256, "halo": 0, "blur": {"lengths": [7], "angles": [30]}},
        },
        "grid": {"picture": folder / "sharp2.png", "side": 64},
        "cost": {"side": 64, "rounds": 1, "memory_side": 128},
        "contenders": [
            {"name": "low", "title": "low rate", "family": "challenger", "training": {
                "network": UNET, "learning_rate": 1e-4}},
            {"name": "high", "title": "high rate", "family": "v2", "training": {
                "network": UNET, "learning_rate": 1e-3}},
            {"name": "bare", "title": "bare", "family": "v1", "network": UNET},
        ],
    }  # fmt: skip


@pytest.fixture(scope="module")
def config(content) -> Comparison:
    return validate(Comparison, content, source="test")


@pytest.fixture(scope="module")
def finished(content, tmp_path_factory) -> Path:
    """The folder of a finished comparison."""
    path = tmp_path_factory.mktemp("yaml") / "tiny.yaml"
    path.write_text(json.dumps(content, default=str), encoding="utf-8")
    assert compare(str(path)) == 0
    before = {p: p.stat().st_mtime_ns for p in sorted(content["output"].rglob("*.safetensors"))}
    assert len(before) == 3
    assert compare(str(path)) == 0
    assert before == {p: p.stat().st_mtime_ns for p in before}, "a finished training ran again"
    return content["output"]


def test_a_contender_sets_single_keys_of_the_shared_training(config):
    low, high, _ = config.contenders
    assert training_of(config, low).learning_rate == 1e-4
    assert training_of(config, high).learning_rate == 1e-3
    assert training_of(config, low).blur == training_of(config, high).blur
    assert training_of(config, low, 7).steps == 7
    assert training_of(config, low).run != training_of(config, high).run


def test_a_contender_has_exactly_one_source():
    for given in ({}, {"weights": "a", "network": UNET}):
        with pytest.raises(ValidationError, match="exactly one of training, weights, network"):
            Contender(name="a", title="a", family="v1", **given)


def test_two_contenders_of_one_name_are_refused(content):
    twice = {**content, "contenders": content["contenders"][:1] * 2}
    with pytest.raises(ConfigError, match="names of contenders must differ, got low twice"):
        validate(Comparison, twice, source="test")


def test_a_mistake_in_a_training_is_found_before_any_training(content):
    wrong = {"name": "x", "title": "x", "family": "v1", "training": {"network": UNET, "bath": 1}}
    config = validate(Comparison, {**content, "contenders": [wrong]}, source="test")
    with pytest.raises(ConfigError, match="bath: unknown key"):
        check(config)


def test_the_steps_follow_from_the_budget_and_are_kept(config, tmp_path):
    config = config.model_copy(update={"output": tmp_path})
    steps = plan_steps(config, config.contenders[0])
    assert steps.count == max(1, int(config.budget_seconds / steps.seconds))
    assert not (tmp_path / "low" / "training" / "checkpoint.pt").exists()
    (tmp_path / "low" / STEPS).write_text('{"seconds": 0.25, "count": 2}')
    assert plan_steps(config, config.contenders[0]).count == 2


def test_shipped_comparisons_are_valid():
    path = find_config("compare_v1_v2")
    config = validate(Comparison, load_yaml(path), source=str(path))
    for contender in config.contenders:
        if contender.training is not None:
            training_of(config, contender)
    assert {contender.family for contender in config.contenders} == {"v1", "v2", "challenger"}


@pytest.mark.slow
def test_the_table_holds_what_was_measured(finished):
    with (finished / CSV).open(newline="") as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["low", "high", "bare"]
    for name in ("low", "high"):
        assert (
            int(rows[name]["steps"]) == json.loads((finished / name / STEPS).read_text())["count"]
        )
        gain = float(rows[name]["PSNR gain (dB)"])
        assert np.isfinite(gain)
        assert (
            float(rows[name]["PSNR train (dB)"])
            == read_curve(finished / name / "training" / "curve.csv")[-1]["train_psnr"]
        )
    assert rows["bare"]["PSNR gain (dB)"] == rows["bare"]["steps"] == ""
    assert rows["bare"]["parameters (M)"] == rows["low"]["parameters (M)"]
    lines = (finished / MARKDOWN).read_text().splitlines()
    assert len(lines) == 5
    assert lines[4].startswith("| bare | - |")


@pytest.mark.slow
def test_the_figures_are_pictures(finished):
    for name in (COST_FIGURE, CURVES_FIGURE, GRID_FIGURE):
        picture = cv2.imread(str(finished / name))
        assert picture.std() > 5


@pytest.mark.slow
def test_contenders_differ_only_in_what_they_set(finished, config):
    low, high, bare = (weights_of(config, one) for one in config.contenders)
    assert sha256(low) != sha256(high)
    assert load_generator(low)[1].options == load_generator(bare)[1].options
