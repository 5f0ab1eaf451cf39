"""Comparing by rounds: who runs when, and what is made of it."""

import pytest

from pipeline.rounds import Lap, Spread, compare, fastest, in_turn, run_rounds, speed_of


def test_every_second_round_goes_the_other_way():
    ran = []

    def rival(name):
        def lap():
            ran.append(name)
            return Lap(1.0, 1.0, 1.0)

        return lap

    laps = run_rounds({name: rival(name) for name in "abc"}, rounds=3)
    assert "".join(ran) == "abccbaabc"
    assert {name: len(each) for name, each in laps.items()} == {"a": 3, "b": 3, "c": 3}
    assert in_turn("ab", 1) == ["b", "a"]


def test_speed_is_that_of_the_wall_clock():
    assert Lap(mpix=6.0, wall=2.0, cpu=4.0).speed == 3.0
    laps = [Lap(1.0, wall, 9.0) for wall in (1.0, 0.5, 0.25)]
    assert speed_of(laps) == Spread(median=2.0, low=1.0, high=4.0)


def test_ratios_are_those_within_a_round():
    # The machine is twice as slow in the second round: neither the ratio nor its spread sees it.
    baseline = [Lap(1.0, 1.0, 1.0), Lap(1.0, 2.0, 1.0)]
    ours = [Lap(3.0, 1.0, 1.0), Lap(3.0, 2.0, 1.0)]
    assert compare(ours, baseline) == Spread(3.0, 3.0, 3.0)
    with pytest.raises(ValueError, match="shorter"):
        compare(ours, baseline[:1])


def test_the_fastest_is_so_by_its_median():
    steady, lucky = [Lap(2.0, 1.0, 1.0)] * 3, [Lap(speed, 1.0, 1.0) for speed in (1.0, 1.0, 9.0)]
    assert fastest({"steady": steady, "lucky": lucky}) == "steady"


def test_a_spread_in_words():
    assert str(Spread.of([3.0, 1.0, 2.0])) == "2.00 (1.00 to 3.00)"
