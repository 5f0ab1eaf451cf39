"""The severity ladder: its numbers never change, and a run climbs it or chooses lengths."""

import pytest

from configs.load import ConfigError, validate
from configs.schema import BlurConfig
from configs.severity import LADDERS


def blur(**values) -> BlurConfig:
    return validate(BlurConfig, values, source="test")


def test_the_first_ladder_is_what_it_always_was():
    ladder = LADDERS[1]
    assert ladder.lengths == (4, 7, 11, 15, 21)
    assert ladder.angles == (0, 45, 90, 135)
    assert (ladder.read_noise, ladder.shot_noise) == (0.001, 0.003)


def test_severities_bring_the_angles_of_the_ladder():
    config = blur(severities=[2, 4])
    assert (config.ladder, config.severities) == (1, (2, 4))
    assert config.angles == LADDERS[1].angles


def test_what_a_run_wrote_down_is_read_back_as_the_same():
    config = blur(severities=[1, 5], seed=3)
    assert blur(**config.model_dump(mode="json")) == config


def test_lengths_keep_their_one_default_angle():
    assert blur(lengths=[7]).angles == (0,)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"lengths": [7]}, "lengths or severities, not both"),
        ({"angles": [0]}, "severities fix angles"),
        ({"read_noise": 0.01}, "severities fix read_noise at 0.001, got 0.01"),
        ({"shot_noise": 0}, "severities fix shot_noise"),
        ({"ladder": 9}, "ladder"),
        ({"severities": [0]}, "severities"),
        ({"severities": [6]}, "severities"),
    ],
)
def test_a_run_climbs_the_ladder_as_it_is(wrong, message):
    with pytest.raises(ConfigError, match=message):
        blur(**{"severities": [1]} | wrong)
