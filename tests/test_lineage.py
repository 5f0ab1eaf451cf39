"""OpenLineage events: what a run read and wrote, in the words of the specification."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import NoneType
from typing import get_args, get_origin, get_type_hints

import attr
import pytest
from openlineage.client import event_v2, facet_v2
from small_runs import config_of
from upath import UPath

from configs.operations import ObserveConfig
from pipeline import manifest
from pipeline.lineage import emit
from pipeline.lineage_events import PRODUCER, describe_event, name_dataset
from transforms.parquet import read_rows
from transforms.tables import DETECTIONS, SUMMARY, TABLES

FACETS = {
    "run": {
        "processing_engine": facet_v2.processing_engine_run.ProcessingEngineRunFacet,
        "parent": facet_v2.parent_run.ParentRunFacet,
        "errorMessage": facet_v2.error_message_run.ErrorMessageRunFacet,
    },
    "job": {"jobType": facet_v2.job_type_job.JobTypeJobFacet},
    "facets": {
        "version": facet_v2.dataset_version_dataset.DatasetVersionDatasetFacet,
        "schema": facet_v2.schema_dataset.SchemaDatasetFacet,
    },
    "inputFacets": {
        "dataQualityMetrics": (
            facet_v2.data_quality_metrics_input_dataset.DataQualityMetricsInputDatasetFacet
        )
    },
    "outputFacets": {
        "outputStatistics": (
            facet_v2.output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet
        )
    },
}
"""Where a facet of the specification may stand, and the class made from its schema."""


PARENT = "3f5e83fa-3480-44ff-99c5-ff943904e5e8"


def events_of(config, run, *kinds, target: Path) -> list[dict]:
    observed = config.model_copy(update={"observe": ObserveConfig(lineage=target)})
    for kind in kinds:
        emit(observed, run, kind)
    return [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def complete(finished, tmp_path):
    config, run = config_of(finished), manifest.read(UPath(finished))
    return events_of(config, run, "COMPLETE", target=tmp_path / "events.jsonl")[0]


def check_facet(known: dict, kind: type) -> None:
    """Compare what was written with the class that OpenLineage generates from a facet's schema."""
    fields = {field.name: field for field in attr.fields(kind)}
    assert known.keys() <= fields.keys()
    needed = {name for name, field in fields.items() if field.default is attr.NOTHING}
    assert needed <= known.keys()
    assert known["_schemaURL"] == kind._get_schema()
    assert known["_producer"] == PRODUCER
    for name, hint in get_type_hints(kind).items():
        plain = {each for each in (get_args(hint) or (hint,)) if each is not NoneType}
        if name in known and get_origin(hint) is not dict and plain <= {str, int, float}:
            assert isinstance(known[name], tuple(plain)), name


@pytest.mark.parametrize("event", ["START", "COMPLETE"])
def test_events_and_facets_are_those_of_the_specification(finished, tmp_path, monkeypatch, event):
    monkeypatch.setenv(
        "OPENLINEAGE_PARENT_ID", f"airflow/maps.nightly/{'0' * 8}-{'0' * 4}-7000-8000-{'0' * 12}"
    )
    config, run = config_of(finished), manifest.read(UPath(finished))
    [written] = events_of(config, run, event, target=tmp_path / "events.jsonl")
    fields = {field.name for field in attr.fields(event_v2.RunEvent)}
    assert written.keys() == fields
    assert written["schemaURL"].endswith("/2-0-2/OpenLineage.json#/$defs/RunEvent")
    for name, facet in [*written["run"]["facets"].items(), *written["job"]["facets"].items()]:
        if name != "aerialDeblur_gain":
            check_facet(facet, (FACETS["run"] | FACETS["job"])[name])
    for dataset in [*written["inputs"], *written["outputs"]]:
        for place in ("facets", "inputFacets", "outputFacets"):
            for name, facet in dataset.get(place, {}).items():
                check_facet(facet, FACETS[place][name])


def test_start_and_end_are_events_of_one_run(finished, tmp_path):
    config, run = config_of(finished), manifest.read(UPath(finished))
    target = tmp_path / "deep" / "events.jsonl"
    start, end = events_of(config, run, "START", "COMPLETE", target=target)
    assert start["run"]["runId"] == end["run"]["runId"]
    assert start["job"] == end["job"]
    assert start["eventTime"] == run["started"] < run["finished"] == end["eventTime"]
    assert not start["outputs"]
    again = describe_event(run | {"started": run["finished"]}, UPath(finished), "START")
    assert again.run.runId != start["run"]["runId"]


def test_outputs_are_the_tables_with_their_rows_and_bytes(finished, complete):
    tables = {Path(dataset["name"]).name: dataset for dataset in complete["outputs"]}
    assert tables.keys() == {table.name for table in TABLES}
    statistics = tables["detections"]["outputFacets"]["outputStatistics"]
    files = list((finished / "detections").glob("*.parquet"))
    assert statistics["rowCount"] == len(list(read_rows(UPath(finished), DETECTIONS)))
    assert statistics["size"] == sum(file.stat().st_size for file in files)
    assert statistics["fileCount"] == len(files)
    columns = [field["name"] for field in tables["detections"]["facets"]["schema"]["fields"]]
    assert columns == [column.name for column in DETECTIONS.columns]


def test_inputs_are_scenes_and_labels_with_size_and_version(rendered_scene, complete):
    assert {Path(dataset["name"]) for dataset in complete["inputs"]} == set(rendered_scene)
    for dataset in complete["inputs"]:
        assert dataset["namespace"] == "file"
        status = Path(dataset["name"]).stat()
        assert dataset["inputFacets"]["dataQualityMetrics"]["bytes"] == status.st_size
        assert dataset["facets"]["version"]["datasetVersion"] == str(status.st_mtime_ns)


def test_our_own_facet_says_what_the_summary_says(finished, complete):
    rows = read_rows(UPath(finished), SUMMARY)
    [gain] = [
        row
        for row in rows
        if (row["stratum"], row["arm"], row["metric"]) == ("all", "after", "recall_gain")
    ]
    facet = complete["run"]["facets"]["aerialDeblur_gain"]
    assert facet["gains"]["recall_gain"]["value"] == gain["value"]
    assert facet["labels"] == gain["n"]
    assert facet["truth"] == "labels"
    assert facet["windows"]["planned"] == sum(
        facet["windows"][name] for name in ("measured", "empty", "rejected")
    )


def test_mosaics_are_outputs(finished):
    mosaic = {"path": "mosaics/a.tif", "size": 123, "sha256": "ab" * 32, "scene": "a"}
    run = manifest.read(UPath(finished)) | {"mosaics": [mosaic]}
    last = describe_event(run, UPath(finished), "COMPLETE").outputs[-1]
    assert last.name == str(finished / "mosaics/a.tif")
    assert last.outputFacets["outputStatistics"].size == 123
    assert last.facets["version"].datasetVersion == "ab" * 32


def test_a_run_that_broke_down_says_why(finished, tmp_path):
    config, run = config_of(finished), manifest.read(UPath(finished))
    broken = run | {"state": "failed", "exit_code": 1, "error": "OSError: gone"}
    broken |= {"counts": None, "outputs": [], "mosaics": []}
    [event] = events_of(config, broken, "FAIL", target=tmp_path / "events.jsonl")
    assert event["eventType"] == "FAIL"
    assert event["run"]["facets"]["errorMessage"]["message"] == "OSError: gone"
    assert event["run"]["facets"]["aerialDeblur_gain"]["gains"] == {}
    assert event["outputs"] == []


def test_a_run_without_truth_says_nothing_of_gain(unjudged, tmp_path):
    config, run = config_of(unjudged), manifest.read(UPath(unjudged))
    [event] = events_of(config, run, "COMPLETE", target=tmp_path / "events.jsonl")
    assert event["run"]["facets"]["aerialDeblur_gain"]["gains"] == {}


@pytest.mark.parametrize(
    ("location", "namespace", "name"),
    [
        ("s3://maps/may/a.tif", "s3://maps", "may/a.tif"),
        ("s3a://maps/a.tif", "s3://maps", "a.tif"),
        ("gcs://maps/a.tif", "gs://maps", "a.tif"),
        (
            "abfss://maps@account.dfs.core.windows.net/a.tif",
            "abfss://maps@account.dfs.core.windows.net",
            "a.tif",
        ),
        ("https://host:8443/may/a.tif?sig=secret#x", "https://host:8443", "may/a.tif"),
        ("https://user:secret@host/a.tif", "https://host", "a.tif"),
        ("/data/a b.tif", "file", "/data/a b.tif"),
        ("file:///data/a.tif", "file", "/data/a.tif"),
    ],
)
def test_datasets_are_named_by_the_rules(location, namespace, name):
    assert name_dataset(location) == (namespace, name)


def test_a_relative_name_is_made_absolute():
    assert name_dataset("a.tif") == ("file", str(Path.cwd() / "a.tif"))


def test_the_parent_and_the_namespace_come_from_the_environment(finished, monkeypatch):
    monkeypatch.setenv("OPENLINEAGE_NAMESPACE", "maps-production")
    monkeypatch.setenv("OPENLINEAGE_PARENT_ID", f"airflow/maps.nightly/{PARENT}")
    event = describe_event(manifest.read(UPath(finished)), UPath(finished), "START")
    assert event.job.namespace == "maps-production"
    known = event.run.facets["parent"]
    assert (known.run.runId, known.job.namespace, known.job.name) == (
        PARENT,
        "airflow",
        "maps.nightly",
    )


def test_lines_of_several_writers_stay_apart(finished, tmp_path):
    config, run = config_of(finished), manifest.read(UPath(finished))
    target = tmp_path / "events.jsonl"
    observed = config.model_copy(update={"observe": ObserveConfig(lineage=target)})
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: emit(observed, run, "COMPLETE"), range(12)))
    lines = target.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 12
    assert len({json.dumps(json.loads(line)) for line in lines}) == 1


def test_without_the_setting_nothing_is_loaded_or_written(finished):
    code = (
        "import sys; from upath import UPath; from pipeline import manifest\n"
        "from configs.schema import RunConfig; from pipeline.lineage import emit\n"
        "emit(RunConfig.model_validate({}), {}, 'START')\n"
        "sys.exit('openlineage' in sys.modules)"
    )
    root = Path(__file__).resolve().parents[1]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


def test_a_missing_package_is_named(finished, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pipeline.lineage_events", None)
    config = config_of(finished)
    observed = config.model_copy(update={"observe": ObserveConfig(lineage=tmp_path / "e.jsonl")})
    with pytest.raises(ValueError, match=r"aerial-deblur\[lineage\]"):
        emit(observed, {}, "START")
