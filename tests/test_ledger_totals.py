"""The totals of a finished run are counts of its rows, exactly. Witness: DuckDB."""

import json
from pathlib import Path

import duckdb
import pytest
from small_runs import config_of

from transforms.parquet import read_rows
from transforms.tables import SUMMARY, TILES

ARMS_WITH_TRUTH = ("reference", "before", "null", "unsharp", "after", "oracle")


def ask(output: Path, query: str) -> list[tuple]:
    """Answer a query in which the tables of a run stand by their names in braces."""
    names = ("tiles", "detections", "ledger", "summary", "histograms")
    return duckdb.sql(query.format(**{n: f"'{output}/{n}/*.parquet'" for n in names})).fetchall()


@pytest.fixture(scope="module")
def numbers(finished) -> dict[tuple[str, str], float]:
    """The summary of all tiles, by arm and metric."""
    rows = [row for row in read_rows(finished, SUMMARY) if row["stratum"] == "all"]
    return {(row["arm"], row["metric"]): row["value"] for row in rows}


def test_the_ledger_holds_the_objects_of_the_summary_and_of_the_tiles(finished, numbers):
    counts = dict(ask(finished, "select change, count(*) from {ledger} group by change"))
    [of_tiles] = ask(finished, "select sum(kept), sum(gained), sum(lost) from {tiles}")
    changes = ("kept", "gained", "lost")
    assert min(counts.values()) > 0
    assert dict(zip(changes, of_tiles, strict=True)) == counts
    assert {name: numbers["after", f"objects_{name}"] for name in changes} == counts


def test_what_is_detected_is_kept_and_lost_before_and_kept_and_gained_after(finished):
    detected = dict(ask(finished, "select arm, count(*) from {detections} group by arm"))
    objects = dict(ask(finished, "select change, count(*) from {ledger} group by change"))
    assert detected["before"] == objects["kept"] + objects["lost"]
    assert detected["after"] == objects["kept"] + objects["gained"]


@pytest.mark.parametrize("arm", ["before", "after"])
def test_every_object_is_a_detection_with_its_score_outcome_and_label(finished, arm):
    in_ledger = f"select key, class, score_{arm}, outcome_{arm}, label_{arm} from {{ledger}} "
    there = ask(finished, in_ledger + f"where score_{arm} is not null")
    detected = "select key, class, score, outcome, label from {detections} "
    assert sorted(there, key=str) == sorted(
        ask(finished, detected + f"where arm = '{arm}'"), key=str
    )


@pytest.mark.parametrize("arm", ARMS_WITH_TRUTH)
def test_recall_and_precision_are_counts_of_detections(finished, numbers, arm):
    query = f"select outcome, count(*) from {{detections}} where arm = '{arm}' group by outcome"
    outcomes = dict(ask(finished, query))
    found, false = outcomes.get("found", 0), outcomes.get("false", 0)
    [(labels, of_found, of_false)] = ask(
        finished,
        "select sum(arm.labels), sum(arm.found), sum(arm.false) "
        f"from (select unnest(arms) as arm from {{tiles}}) where arm.arm = '{arm}'",
    )
    assert (found, false) == (of_found, of_false)
    assert found > 0
    assert numbers[arm, "recall"] == found / labels
    assert numbers[arm, "precision"] == found / (found + false)


def test_every_label_of_the_file_is_owned_by_one_tile(finished):
    known = json.loads(config_of(finished).input.labels.read_text())["features"]
    query = "select sum(arms[1].labels) from {tiles}"
    assert ask(finished, query) == [(len(known),)]


@pytest.mark.parametrize("arm", ARMS_WITH_TRUTH)
def test_no_label_is_found_twice(finished, arm):
    query = (
        "select label from {detections} "
        f"where arm = '{arm}' and outcome = 'found' group by label having count(*) > 1"
    )
    assert ask(finished, query) == []


def test_gained_and_lost_objects_meet_the_truth_as_the_summary_says(finished, numbers):
    query = (
        "select change, coalesce(outcome_after, outcome_before), reblur, count(*) "
        "from {ledger} where change <> 'kept' group by all"
    )
    groups = ask(finished, query)

    def total(change: str, outcome: str, reblur: str | None = None) -> int:
        return sum(
            count
            for known_change, known_outcome, verdict, count in groups
            if (known_change, known_outcome) == (change, outcome) and reblur in (None, verdict)
        )

    assert numbers["after", "objects_gained_true"] == total("gained", "found") > 0
    assert numbers["after", "objects_gained_false"] == total("gained", "false")
    assert numbers["after", "objects_lost_true"] == total("lost", "found")
    assert numbers["after", "objects_lost_false"] == total("lost", "false")
    invented = [total("gained", outcome, "inconsistent") for outcome in ("found", "false")]
    names = ("objects_gained_inconsistent_true", "objects_gained_inconsistent_false")
    assert [numbers["after", name] for name in names] == invented


def test_every_gained_object_and_no_other_has_a_verdict(finished, numbers):
    query = "select reblur, count(*) from {ledger} where change = 'gained' group by reblur"
    verdicts = dict(ask(finished, query))
    assert None not in verdicts
    for verdict in ("consistent", "inconsistent", "undecided"):
        assert numbers["after", f"objects_gained_{verdict}"] == verdicts.get(verdict, 0)
    others = "select count(*) from {ledger} where change <> 'gained' and reblur is not null"
    assert ask(finished, others) == [(0,)]


def test_the_shift_of_scores_is_the_mean_over_the_kept(finished, numbers):
    query = (
        "select avg(score_after::double - score_before::double) from {ledger} where change = 'kept'"
    )
    assert numbers["after", "score_shift"] == pytest.approx(ask(finished, query)[0][0], rel=1e-12)


@pytest.mark.parametrize("arm", ["before", "after"])
def test_stability_is_the_share_found_again(finished, numbers, arm):
    [(found, checked)] = ask(
        finished,
        "select sum(arm.stability_found), sum(arm.stability_checked) "
        f"from (select unnest(arms) as arm from {{tiles}}) where arm.arm = '{arm}'",
    )
    assert 0 < found <= checked
    assert numbers[arm, "stability"] == found / checked


def test_histograms_hold_every_valid_pixel_once(finished):
    [(valid,)] = ask(finished, "select sum(valid_pixels) from {tiles}")
    assert valid == 640**2
    query = "select distinct pixels, list_sum(counts) from {histograms}"
    assert ask(finished, query) == [(valid, valid)]


def test_the_strata_of_a_class_add_up_to_the_whole(finished, numbers):
    query = (
        "select sum(value) from {summary} where metric = 'objects_kept' "
        "and stratum similar to 'class=[a-z]+'"
    )
    assert ask(finished, query) == [(numbers["after", "objects_kept"],)]


def test_detections_lie_in_their_core_or_are_the_after_of_an_object_that_does(finished):
    """Next to a border of cores the deeper view has an object, at most a pixel outside."""
    cores = {row["key"]: row for row in read_rows(finished, TILES)}
    columns = "key, arm, score, x0, y0, x1, y1"
    outside = [
        row
        for row in ask(finished, f"select {columns} from {{detections}}")
        if not _lies_in(cores[row[0]], row[3:])
    ]
    assert all(arm == "after" for _, arm, *_ in outside)
    for key, _, score, *_ in outside:
        query = (
            f"select d.x0, d.y0, d.x1, d.y1 from {{detections}} d join {{ledger}} l "
            f"on d.key = l.key and d.score = l.score_before and d.arm = 'before' "
            f"where l.key = '{key}' and l.score_after = {score}::float and l.change = 'kept'"
        )
        assert any(_lies_in(cores[key], box) for box in ask(finished, query))


def _lies_in(core: dict, box: tuple, margin: float = 1) -> bool:
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    across = core["col_off"] - margin <= x < core["col_off"] + core["width"] + margin
    return across and core["row_off"] - margin <= y < core["row_off"] + core["height"] + margin
