"""Every settled window has one receipt, and every status a value, a colour and a meaning."""

import dataclasses

import pytest
from made_rows import make_scene

from transforms.functional.windows import Rectangle
from transforms.mosaic_status import (
    CLASSES,
    COLOURS,
    VALUES,
    Receipt,
    Status,
    count_statuses,
    receipts_of,
)
from transforms.records import Rejected, TileRow, Window

CORE = Rectangle(128, 64, 64, 64)
ROW = dataclasses.replace(
    TileRow.empty(Window(make_scene("day/1/a.tif"), CORE, CORE, None), "none"), status="measured"
)


@pytest.mark.parametrize(
    ("row", "status"),
    [
        (ROW, "deblurred"),
        (dataclasses.replace(ROW, status="empty"), "empty"),
        (dataclasses.replace(ROW, skipped=True), "skipped"),
        (dataclasses.replace(ROW, fallback="flat"), "fallback"),
    ],
)
def test_a_row_has_a_receipt(row: TileRow, status: Status) -> None:
    assert receipts_of(row) == [Receipt("day/1/a.tif", (128, 64), status)]


def test_a_rejected_window_has_the_receipt_of_its_place() -> None:
    lost = Rejected(ROW.window.key, "day/1/a.tif", "measure", "ValueError", "no")
    assert receipts_of(lost) == [Receipt("day/1/a.tif", (128, 64), "rejected")]


def test_a_scene_that_was_never_opened_has_none() -> None:
    assert receipts_of(Rejected("a.tif", "a.tif", "open", "SceneError", "no")) == []


def test_every_status_has_a_value_a_meaning_and_a_colour() -> None:
    assert sorted(VALUES.values()) == sorted(CLASSES) == list(range(len(COLOURS)))
    assert len(set(COLOURS)) == len(COLOURS)
    assert len({name for name, _ in CLASSES.values()}) == len(CLASSES)


def test_counts_name_every_status_once() -> None:
    assert count_statuses(["skipped", "deblurred", "skipped"]) == {
        "empty": 0,
        "deblurred": 1,
        "skipped": 2,
        "fallback": 0,
        "rejected": 0,
    }
