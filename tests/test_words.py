"""What a run without truth says, and what it must not: recall, precision and gain."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_runs import ALL_TABLES, config_of

from pipeline import manifest
from transforms.functional.sampling import in_sample
from transforms.parquet import read_rows
from transforms.records import ARMS
from transforms.tables import LEDGER, SUMMARY, TILES, Table

FORBIDDEN = {"recall", "precision", "gain"}
TRUTH_COLUMNS = ("labels", "found", "false")


def words_of(*texts: str) -> set[str]:
    """Return the words of texts, in small letters: `gained` is another word than `gain`."""
    return set(re.split("[^a-z]+", " ".join(texts).lower()))


def texts_of(value: Any) -> Iterator[str]:
    """Yield every key and text inside of lists and dictionaries."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from texts_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts_of(inner)


def keys_of(value: Any) -> Iterator[str]:
    """Yield every key inside of lists and dictionaries."""
    for inner in value.values() if isinstance(value, dict) else value:
        if isinstance(inner, dict | list):
            yield from keys_of(inner)
    if isinstance(value, dict):
        yield from value


def fields_of(field: pa.Field) -> Iterator[pa.Field]:
    """Yield a column and the fields inside of it."""
    yield field
    inner = field.type.value_type if pa.types.is_list(field.type) else field.type
    if pa.types.is_struct(inner):
        for each in inner:
            yield from fields_of(each)


def schema_words(output: Path, table: Table) -> set[str]:
    """Return the words of a table's columns, of what explains them, and of its own description."""
    [path] = (output / table.name).glob("*.parquet")
    schema = pq.read_schema(path)
    texts = [key.decode() + " " + value.decode() for key, value in schema.metadata.items()]
    for column in schema:
        for field in fields_of(column):
            texts += [field.name, *(value.decode() for value in (field.metadata or {}).values())]
    return words_of(*texts)


@pytest.mark.parametrize("table", ALL_TABLES, ids=lambda table: table.name)
def test_no_table_of_a_run_without_truth_speaks_of_recall_precision_or_gain(unjudged, table):
    said = words_of(*(text for row in read_rows(unjudged, table) for text in texts_of(row)))
    assert not said & FORBIDDEN
    assert not schema_words(unjudged, table) & FORBIDDEN


def test_run_json_of_a_run_without_truth_has_no_such_key(unjudged):
    keys = set(keys_of(manifest.read(unjudged)))
    assert {"run_id", "score_threshold", "outputs"} <= keys
    assert not words_of(*keys) & FORBIDDEN


def test_it_speaks_of_kept_gained_and_lost_of_stability_and_sharpness(unjudged):
    assert {row["change"] for row in read_rows(unjudged, LEDGER)} == {"kept", "gained", "lost"}
    metrics = words_of(*(row["metric"] for row in read_rows(unjudged, SUMMARY)))
    assert {"kept", "gained", "lost", "shift", "stability", "sharpness", "change"} <= metrics
    columns = schema_words(unjudged, TILES)
    assert {"kept", "gained", "lost", "stability", "sharpness"} <= columns


def test_without_truth_no_outcome_stands_anywhere(unjudged):
    for row in read_rows(unjudged, TILES):
        assert row["truth"] == "none"
        assert all(arm[name] is None for arm in row["arms"] for name in TRUTH_COLUMNS)
    assert {row["truth"] for row in read_rows(unjudged, SUMMARY)} == {"none"}


def test_with_truth_the_words_are_there(finished):
    """So the facts above can fail."""
    metrics = words_of(*(row["metric"] for row in read_rows(finished, SUMMARY)))
    assert metrics >= FORBIDDEN


def test_sharp_tiles_are_skipped_and_say_so(unjudged):
    rows = list(read_rows(unjudged, TILES))
    skipped = [row for row in rows if row["skipped"]]
    assert 0 < len(skipped) < len(rows)
    for row in rows:
        judged = row["estimated_confidence"] > 0
        assert row["skipped"] == (judged and row["estimated_length"] < 8)
    [counts] = [
        {
            row["metric"]: row["value"]
            for row in read_rows(unjudged, SUMMARY)
            if row["stratum"] == "all"
        }
    ]
    assert counts["tiles_skipped"] == len(skipped)
    assert counts["skipped_pixels"] == sum(row["valid_pixels"] for row in skipped)


def test_after_equals_before_in_a_skipped_tile(unjudged):
    for row in (row for row in read_rows(unjudged, TILES) if row["skipped"]):
        arms = {arm["arm"]: arm | {"arm": ""} for arm in row["arms"]}
        assert arms["after"] == arms["before"]
        assert (row["gained"], row["lost"]) == (0, 0)


def test_a_share_of_the_skipped_tiles_is_audited(unjudged):
    audited = set()
    for row in read_rows(unjudged, TILES):
        drawn = in_sample(row["key"], rate=0.5, purpose="skip")
        names = {arm["arm"] for arm in row["arms"]}
        assert ("unskipped" in names) == (row["skipped"] and drawn)
        audited |= {row["key"]} if "unskipped" in names else set()
    tiles = {
        row["value"]
        for row in read_rows(unjudged, SUMMARY)
        if (row["stratum"], row["metric"]) == ("skip=audited", "tiles")
    }
    assert tiles == {len(audited)}
    assert audited


def test_controls_run_on_their_share_of_the_tiles_alone(unjudged):
    ran = 0
    for row in read_rows(unjudged, TILES):
        names = {arm["arm"] for arm in row["arms"]}
        drawn = in_sample(row["key"], rate=0.5, purpose="controls")
        assert names & {"null", "unsharp"} == ({"null", "unsharp"} if drawn else set())
        ran += drawn
    reported: dict[str, set[str]] = {"all": set(), "controls=ran": set(), "skip=audited": set()}
    for row in read_rows(unjudged, SUMMARY):
        if row["stratum"] in reported:
            reported[row["stratum"]].add(row["arm"])
    assert reported == {
        "all": {"run", "before", "after"},
        "controls=ran": {"run", "before", "null", "unsharp", "after"},
        "skip=audited": {"run", "before", "after", "unskipped"},
    }
    assert 0 < ran < len(list(read_rows(unjudged, TILES)))
    assert json.dumps(manifest.read(unjudged)["arms"]) == json.dumps(
        [arm for arm in ARMS if arm not in ("reference", "oracle")]
    )


def test_stability_is_looked_at_on_its_share_of_the_tiles_alone(unjudged):
    assert config_of(unjudged).measure.stability == 0.5
    for row in read_rows(unjudged, TILES):
        drawn = in_sample(row["key"], rate=0.5, purpose="stability")
        checked = {arm["arm"]: arm["stability_checked"] for arm in row["arms"]}
        detections = {arm["arm"]: arm["detections"] for arm in row["arms"]}
        for arm in ("before", "after"):
            assert (checked[arm] > 0) <= drawn
            assert (checked[arm] > 0) or not drawn or detections[arm] == 0
