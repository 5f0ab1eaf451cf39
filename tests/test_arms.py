"""The arms beside `after`: which exist, and what they hold."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from made_rows import make_scene
from scenes import textured

from configs.schema import ArmsConfig, BlurConfig, RunConfig
from transforms.arms import keep, make_arms, partial_arms, planned_arms
from transforms.functional.blur import blur_tile
from transforms.functional.windows import Rectangle
from transforms.records import ARMS, CONTROLS, Arm, Blur, Tile, Window


def make_tile(blur: Blur | None = None) -> Tile:
    sharp = textured(96, 128, seed=1)
    core = Rectangle(0, 0, 128, 96)
    window = Window(make_scene(), core, core, blur)
    valid = np.ones((96, 128), bool)
    if blur is None:
        return Tile(window, sharp, None, valid, None, valid)
    before = blur_tile(sharp, length=blur.length, angle=blur.angle, noise=0.001)
    return Tile(window, before, sharp, valid, None, valid)


def run_config(arms: dict | None = None, skip: dict | None = None, **blur) -> RunConfig:
    sections = {"arms": arms or {}, "read": {"blur": blur}, "deblur": {"skip": skip or {}}}
    return RunConfig.model_validate(sections, strict=False)


def arms_of(tile: Tile, **settings) -> dict[Arm, np.ndarray]:
    return make_arms(tile, config=ArmsConfig.model_validate(settings), sensor=BlurConfig())


def plan(arms: dict | None = None, skip: dict | None = None, **blur) -> tuple[Arm, ...]:
    return planned_arms(run_config(arms, skip, **blur))


def test_the_order_of_the_arms_holds_every_arm():
    assert get_args(Arm) == ARMS
    assert set(CONTROLS) < set(ARMS)


def test_the_null_control_keeps_every_grey_level():
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    np.testing.assert_array_equal(keep(levels), levels)


def test_the_null_control_is_the_input_and_the_unsharp_one_is_not():
    tile = make_tile()
    arms = arms_of(tile)
    assert list(arms) == ["null", "unsharp"]
    np.testing.assert_array_equal(arms["null"], tile.before)
    assert (arms["unsharp"] != tile.before).any()


@pytest.mark.parametrize("method", ["wiener", "richardson_lucy"])
def test_the_oracle_knows_the_blur_that_was_made_by_us(method):
    tile = make_tile(Blur(9, 0))
    oracle = arms_of(tile, oracle={"method": method})["oracle"].astype(float)
    assert oracle.shape == tile.before.shape
    before = tile.before.astype(float) - tile.reference
    assert ((oracle - tile.reference) ** 2).mean() < 0.8 * (before**2).mean()


def test_nobody_knows_the_blur_of_a_picture_as_it_came():
    assert "oracle" not in arms_of(make_tile())
    assert "oracle" not in arms_of(make_tile(Blur(9, 0)), oracle={"method": "none"})


@pytest.mark.parametrize("controls", [[], ["unsharp"], [None], ["null", "unsharp"]])
def test_only_the_wanted_controls_are_made(controls):
    """The null of YAML, None here, is the name of the control."""
    wanted = [control or "null" for control in controls]
    assert list(arms_of(make_tile(), controls=controls)) == wanted
    assert [arm for arm in plan({"controls": controls}) if arm in CONTROLS] == wanted


def test_a_run_says_beforehand_which_arms_it_will_have():
    assert plan() == ("before", "null", "unsharp", "after")
    unskipped = tuple(arm for arm in ARMS if arm != "unskipped")
    assert plan(lengths=[7]) == plan(severities=[1, 5]) == unskipped
    assert "oracle" not in plan({"oracle": {"method": "none"}}, lengths=[7])
    for tile in (make_tile(), make_tile(Blur(9, 0))):
        lengths = [] if tile.window.blur is None else [9]
        made = {"before", "after", *arms_of(tile)} | ({"reference"} if lengths else set())
        assert made == set(plan(lengths=lengths))


def test_the_audit_of_the_skip_rule_has_an_arm_of_its_own():
    assert "unskipped" in plan(skip={"below": 4})
    assert "unskipped" not in plan(skip={"below": 4, "audit": 0})
    assert partial_arms(run_config(skip={"below": 4})) == {"unskipped"}
    assert partial_arms(run_config()) == frozenset()


def test_controls_and_oracle_run_together_on_a_share_of_the_tiles():
    tile = make_tile(Blur(9, 0))
    tiles = [
        replace(tile, window=replace(tile.window, scene=make_scene(f"{n}.tif"))) for n in range(40)
    ]
    small = ArmsConfig.model_validate({"control_rate": 0.3, "oracle": {"method": "wiener"}})
    made = [make_arms(each, config=small, sensor=BlurConfig()) for each in tiles]
    assert {tuple(arms) for arms in made} == {(), ("null", "unsharp", "oracle")}
    assert 4 <= sum(map(bool, made)) <= 20
    again = [make_arms(each, config=small, sensor=BlurConfig()) for each in tiles[::-1]]
    assert [bool(arms) for arms in again[::-1]] == [bool(arms) for arms in made]


def test_arms_of_a_share_of_the_tiles_are_compared_on_these_alone():
    config = run_config({"control_rate": 0.5}, lengths=[7])
    assert partial_arms(config) == {"null", "unsharp", "oracle"}
    assert partial_arms(run_config({"control_rate": 0.5, "controls": []})) == frozenset()
