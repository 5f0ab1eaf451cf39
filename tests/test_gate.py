"""The gate: what alarms, what does not, how often by chance, and what is said."""

import json
import re

import numpy as np
import pytest
from made_runs import drawn_run, made_run
from upath import UPath

from configs.load import ConfigError
from configs.operations import GateConfig
from pipeline import gate as module
from pipeline import manifest
from pipeline.cli import main
from pipeline.gate import describe, gate
from pipeline.gate_checks import checks, judge
from pipeline.history import add_runs, run_row
from pipeline.manifest import OutputError

QUIET = {
    "labels": 2000,
    "gain": 0.08,
    "drift": 0.005,
    "pace": 0.05,
    "sizes": 0.05,
    "rejects": 0.002,
}
"""A deployment: 2,000 labels a night, gain 8 points, speed and input that differ by 5 %."""
NIGHTS = 14


def found(row, earlier, **settings):
    """Return the outcome of every check, by name."""
    return {each.name: each for each in judge(row, earlier, GateConfig(**settings))}


def history(nights: int = NIGHTS, **changes):
    """Return the rows of nights that differ a little, by a fixed pattern."""
    wobble = [(-1) ** night * (night % 3) for night in range(nights)]
    return [
        made_run(
            night,
            **{
                "recall_gain": 0.08 + 0.002 * off,
                "psnr_gain": 1.5 + 0.02 * off,
                "speed": 2 + 0.05 * off,
            }
            | changes,
        )
        for night, off in enumerate(wobble)
    ]


def worse(row, earlier, **settings) -> set[str]:
    return {n for n, each in found(row, earlier, **settings).items() if each.outcome == "worse"}


def rate(nights: dict, tonight: dict, *, trials: int, seed: int, check: str = "") -> float:
    """Return how often a drawn night alarms after drawn nights, at all or in one check."""
    rng, alarms = np.random.default_rng(seed), 0
    for _ in range(trials):
        earlier = [drawn_run(rng, night, nights=nights) for night in range(NIGHTS)]
        alarm = worse(drawn_run(rng, NIGHTS, nights=tonight), earlier)
        alarms += bool(alarm & {check} if check else alarm)
    return alarms / trials


def test_a_night_like_the_others_is_in_line():
    results = found(made_run(NIGHTS), history())
    assert {each.outcome for each in results.values()} == {"in line"}
    assert set(results) == {each.name for each in checks(GateConfig(), "labels")}


@pytest.mark.parametrize(
    ("changes", "alarm"),
    [
        ({"recall_gain": 0.01, "recall_gain_low": -0.01, "recall_gain_high": 0.03}, "recall gain"),
        (
            {"recall_gain": -0.05, "recall_gain_low": -0.07, "recall_gain_high": -0.03},
            "recall gain",
        ),
        ({"recall_gain": None, "recall_gain_low": None, "recall_gain_high": None}, "recall gain"),
        ({"psnr_gain": 0.9, "psnr_gain_low": 0.8, "psnr_gain_high": 1.0}, "PSNR gain"),
        ({"rejected": 20}, "share of windows rejected"),
        ({"unmade_mosaics": 1}, "scenes without a mosaic"),
        ({"speed": 1.0}, "speed"),
        ({"scenes": 12}, "scenes"),
        ({"scenes": 30}, "scenes"),
        ({"mpix": 200.0}, "pixels"),
        ({"input_bytes": 200_000_000}, "input"),
        ({"labels": 200}, "labels"),
    ],
)
def test_each_change_for_the_worse_alarms_alone(changes, alarm):
    assert worse(made_run(NIGHTS, **changes), history()) == {alarm}


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"recall_gain": 0.2, "recall_gain_low": 0.18, "recall_gain_high": 0.22}, "recall gain"),
        ({"psnr_gain": 4.0, "psnr_gain_low": 3.9, "psnr_gain_high": 4.1}, "PSNR gain"),
        ({"speed": 6.0}, "speed"),
    ],
)
def test_an_improvement_is_no_alarm_but_is_told(changes, check):
    results = found(made_run(NIGHTS, **changes), history())
    assert results[check].outcome == "better"
    assert not [each for each in results.values() if each.outcome == "worse"]


def test_fewer_rejects_than_usual_are_better():
    usual = [made_run(night, rejected=40) for night in range(NIGHTS)]
    assert found(made_run(NIGHTS), usual)["share of windows rejected"].outcome == "better"


@pytest.mark.parametrize(
    "changes",
    [
        {"recall_gain": 0.062, "recall_gain_low": 0.042, "recall_gain_high": 0.082},
        {"psnr_gain": 1.35, "psnr_gain_low": 1.25, "psnr_gain_high": 1.45},
        {"rejected": 3},
        {"speed": 1.5},
        {"scenes": 17},
    ],
)
def test_changes_that_do_not_matter_are_in_line(changes):
    still = [made_run(night) for night in range(NIGHTS)]
    assert worse(made_run(NIGHTS, **changes), still) == set()


def test_a_wide_interval_excuses_a_low_gain():
    few = {"recall_gain": 0.02, "recall_gain_low": -0.06, "recall_gain_high": 0.10}
    assert worse(made_run(NIGHTS, **few), history()) == set()
    many = few | {"recall_gain_low": 0.0, "recall_gain_high": 0.04}
    assert worse(made_run(NIGHTS, **many), history()) == {"recall gain"}


def spread_out(**changes):
    """Return nights whose gains lie evenly within 1.8 points around 8."""
    off = np.linspace(-0.018, 0.018, NIGHTS)
    return [
        made_run(night, **({"recall_gain": 0.08 + off[night]} | changes)) for night in range(NIGHTS)
    ]


def test_a_lost_claim_alarms_within_the_reach_of_chance():
    night = {"recall_gain": 0.02, "recall_gain_low": -0.0035, "recall_gain_high": 0.0435}
    finding = found(made_run(NIGHTS, **night), spread_out(), deviations=6)["recall gain"]
    assert finding.outcome == "worse"
    assert "14 of 14 earlier runs could claim a gain, this one cannot" in str(finding)
    # The same numbers where the earlier runs could claim nothing either.
    unclaimed = spread_out(recall_gain_low=-0.01)
    assert worse(made_run(NIGHTS, **night), unclaimed, deviations=6) == set()


def test_an_interval_below_zero_alarms_within_the_reach_of_chance():
    earlier = [row | {"recall_gain": row["recall_gain"] - 0.08} for row in spread_out()]
    night = {"recall_gain": -0.06, "recall_gain_low": -0.0835, "recall_gain_high": -0.0365}
    finding = found(made_run(NIGHTS, **night), earlier, deviations=6)["recall gain"]
    assert finding.outcome == "worse"
    assert "the whole interval is below zero" in str(finding)


def test_speeds_are_compared_on_the_same_engine_workers_and_device():
    other = history(engine="flink", workers=8)
    finding = found(made_run(NIGHTS, speed=0.1), other)["speed"]
    assert finding.outcome == "not judged"
    assert "same engine, workers, device" in str(finding)
    mixed = [made_run(night, engine="flink") for night in range(3)] + history()[3:]
    assert worse(made_run(NIGHTS, speed=0.5), mixed) == {"speed"}


def test_the_speed_of_a_resumed_run_is_not_judged_and_that_of_others_is_missed():
    resumed = found(made_run(NIGHTS, speed=None, resumed=40), history())["speed"]
    assert (resumed.outcome, resumed.why) == ("not judged", "")
    assert "resumed" in resumed.number
    assert worse(made_run(NIGHTS, speed=None), history()) == {"speed"}


def test_recall_is_not_compared_with_agreement():
    agreed = history(truth="reference")
    assert found(made_run(NIGHTS), agreed)["recall gain"].outcome == "not judged"
    night = made_run(NIGHTS, truth="reference", recall_gain=0.0, recall_gain_high=0.01)
    assert worse(night, agreed) == {"agreement recall gain"}


def test_without_truth_the_word_gain_does_not_appear():
    none = {"truth": "none", "labels": None, "recall_gain": None, "psnr_gain": None}
    findings = judge(made_run(NIGHTS, **none), history(**none), GateConfig())
    assert len(findings) == 6
    assert "gain" not in describe(made_run(NIGHTS, **none), history(**none), findings)


def test_only_the_last_runs_count():
    slower = [made_run(night, speed=1.0) for night in range(20, 34)]
    assert worse(made_run(40, speed=1.0), [*history(20), *slower]) == set()
    assert worse(made_run(40, speed=1.0), [*history(20), *slower], runs=34) == {"speed"}


def test_one_bad_night_neither_hides_nor_makes_another():
    spoilt = history()
    spoilt[5] |= {"speed": 0.2, "rejected": 300, "recall_gain": -0.5}
    assert worse(made_run(NIGHTS), spoilt) == set()
    assert worse(made_run(NIGHTS, speed=0.8, rejected=40), spoilt) == {
        "speed",
        "share of windows rejected",
    }


def test_false_alarms_are_rarer_than_one_night_in_a_hundred():
    assert rate(QUIET, QUIET, trials=600, seed=1) <= 0.01


@pytest.mark.parametrize(
    ("nights", "limit"),
    [({"labels": 150}, 0.02), ({"gain": 0.0}, 0.02), ({"gain": 0.03}, 0.03)],
    ids=["few labels", "no gain", "a weak gain"],
)
def test_false_alarms_are_rare_where_little_is_known(nights, limit):
    assert rate(QUIET | nights, QUIET | nights, trials=300, seed=2) <= limit


@pytest.mark.parametrize(
    ("change", "check", "power"),
    [
        ({"gain": 0.0}, "recall gain", 0.95),
        ({"gain": 0.02}, "recall gain", 0.7),
        ({"rejects": 0.05}, "share of windows rejected", 0.95),
    ],
    ids=["no gain any more", "a quarter of the gain", "rejects"],
)
def test_what_matters_is_found(change, check, power):
    assert rate(QUIET, QUIET | change, trials=100, seed=3, check=check) >= power


# From the shell's side: a history, a folder, and what is printed.


@pytest.fixture
def night(finished, tmp_path):
    """A finished run with a history of earlier ones, which are as it is but for their speed."""
    row = run_row(UPath(finished))
    earlier = [
        row | {key: made_run(back)[key] for key in ("run_id", "started", "finished")}
        for back in range(NIGHTS)
    ]
    target = UPath(tmp_path / "runs.parquet")
    add_runs([row, *earlier], target)
    return UPath(finished), target, earlier


def test_a_run_in_line_exits_0_with_one_line(night, capsys):
    output, target, _ = night
    assert gate(output, target) == 0
    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith("Gate passed: run ")
    assert "14 runs of the same settings" in line


def test_a_run_out_of_line_exits_4_with_one_paragraph(night, capsys):
    output, target, earlier = night
    faster = [row | {"speed": 50 * row["speed"], "code_version": "0.0.9"} for row in earlier]
    add_runs(faster, target)
    assert gate(output, target) == 4
    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith("Gate failed: run ")
    assert re.search(r"Speed [\d.]+ MPix/s, median [\d,.]+ MPix/s: more than [\d,.]+ MPix/s", line)
    assert "there changed code from 0.0.9 to " in line
    assert earlier[0]["run_id"] in line
    assert earlier[-1]["run_id"] in line


def test_the_command_returns_what_schedulers_read(night, tmp_path, capsys):
    output, target, earlier = night
    command = ["gate", str(output), "--against"]
    assert main([*command, str(target)]) == 0
    assert main([*command, str(target), "--set", "gate.least=14"]) == 0
    add_runs([row | {"speed": 50 * row["speed"]} for row in earlier], target)
    assert main([*command, str(target)]) == 4
    assert main([*command, str(tmp_path / "mistyped.parquet")]) == 2
    assert main(["gate", str(tmp_path / "absent"), "--against", str(target)]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_settings_of_the_gate_can_be_given(night, capsys):
    output, target, earlier = night
    add_runs([row | {"speed": 1.2 * row["speed"]} for row in earlier], target)
    assert gate(output, target) == 0
    assert gate(output, target, ["gate.speed=0.05"]) == 4
    with pytest.raises(ConfigError, match="least must not exceed"):
        gate(output, target, ["gate.least=20"])
    with pytest.raises(ConfigError, match="unknown key"):
        gate(output, target, ["gate.sped=1"])
    with pytest.raises(ValueError, match="only settings of the gate"):
        gate(output, target, ["read.core=512"])


@pytest.mark.parametrize(
    "change",
    [
        {"settings_id": "0" * 12},
        {"settings_id": None},
        {"state": "failed", "exit_code": 3},
        {"started": "2999-01-01T00:00:00+00:00"},
    ],
    ids=["other settings", "old version", "failed", "later"],
)
def test_runs_that_are_no_basis_are_not_compared_with(night, tmp_path, capsys, change):
    output, _, earlier = night
    target = UPath(tmp_path / "other.parquet")
    add_runs([row | change for row in earlier], target)
    assert gate(output, target) == 0
    said = capsys.readouterr().out
    assert said.startswith("Not judged")
    assert "passed" not in said


def test_a_run_of_a_version_that_says_not_what_it_is_comparable_with_is_not_judged(
    night, monkeypatch, capsys
):
    output, target, earlier = night
    monkeypatch.setattr(module, "run_row", lambda _: earlier[-1] | {"settings_id": None})
    assert gate(output, target) == 0
    assert capsys.readouterr().out.startswith("Not judged")


def test_a_folder_with_runs_is_a_history_too(finished, tmp_path, capsys):
    for back in range(3):
        copy = tmp_path / f"night-{back}"
        copy.mkdir()
        for source in finished.rglob("*"):
            if source.suffix in (".parquet", ".json"):
                place = copy / source.relative_to(finished)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(source.read_bytes())
        text = (copy / "run.json").read_text(encoding="utf-8")
        began = manifest.read(UPath(finished))["started"]
        (copy / "run.json").write_text(
            text.replace(began, f"2020-05-0{back + 1}{began[10:]}"), encoding="utf-8"
        )
    assert gate(UPath(finished), UPath(tmp_path), ["gate.least=3"]) in (0, 4)
    assert "the 3 runs of the same settings" in capsys.readouterr().out
    assert gate(UPath(finished), UPath(tmp_path), ["gate.least=4"]) == 0
    assert "3 earlier runs" in capsys.readouterr().out


def test_what_is_no_history_is_an_error_and_no_pass(finished, tmp_path):
    with pytest.raises(ValueError, match="neither"):
        gate(UPath(finished), UPath(tmp_path / "mistyped.parquet"))
    (tmp_path / "notes.parquet").write_bytes(b"no Parquet")
    with pytest.raises(ValueError, match=r"notes\.parquet is no history of runs"):
        gate(UPath(finished), UPath(tmp_path / "notes.parquet"))


@pytest.mark.parametrize("state", ["running", "failed"])
def test_a_run_that_did_not_come_to_its_end_cannot_be_judged(finished, tmp_path, state):
    run = manifest.read(UPath(finished)) | {"state": state, "counts": None}
    if state == "running":
        del run["finished"]
    (tmp_path / "run.json").write_text(json.dumps(run), encoding="utf-8")
    with pytest.raises(ValueError, match="no finished run"):
        gate(UPath(tmp_path), UPath(tmp_path))


def test_a_folder_without_a_run_cannot_be_judged(tmp_path):
    (tmp_path / "run.json").write_text("{}", encoding="utf-8")
    with pytest.raises(OutputError):
        gate(UPath(tmp_path), UPath(tmp_path))


def test_numbers_have_units_and_signs():
    row = made_run(NIGHTS, recall_gain=0.01, recall_gain_low=-0.01, recall_gain_high=0.03)
    text = describe(row, history(), judge(row, history(), GateConfig()))
    assert "Recall gain +1.0 points (95 %: -1.0 to +3.0), median +8.0 points" in text
    assert text.count("Gate failed") == 1
    assert "\n" not in text
