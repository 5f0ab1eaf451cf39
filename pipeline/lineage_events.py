"""OpenLineage events of a run, made with the project's own client: job, run, inputs, outputs."""

import os
import uuid
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import attr
from openlineage.client import facet_v2 as facets
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.serde import Serde
from upath import UPath

from pipeline.history import describe_run
from pipeline.identity import DISTRIBUTION, version_of
from pipeline.lineage import Event
from pipeline.manifest import Manifest
from transforms.storage import size_of
from transforms.tables import TABLES, Column

STORES = {"s3a": "s3", "gcs": "gs"}
"""Other names of a protocol, and the one that OpenLineage gives it."""
PRODUCER = f"pkg:generic/{DISTRIBUTION}@{version_of(DISTRIBUTION)}"
"""Who says so, as a package URL."""
COUNTS = ("planned", "measured", "empty", "rejected")
NUMBERS = ("recall_gain", "psnr_gain")


@attr.define
class GainRunFacet(facets.RunFacet):
    """Our own facet `aerialDeblur_gain`: what the run says of deblurring, and how much it did.

    `gains` are those of the table `summary` over everything, each with value, low and high.
    """

    runId: str  # noqa: N815 - OpenLineage writes names so
    codeVersion: str  # noqa: N815
    settingsId: str | None  # noqa: N815
    exitCode: int  # noqa: N815
    truth: str | None
    labels: int | None
    gains: dict[str, dict[str, float | None]]
    windows: dict[str, int | None]
    mpix: float | None


def to_json(run: Manifest, output: UPath, event: Event) -> str:
    """Return an event as one line of JSON."""
    return Serde.to_json(describe_event(run, output, event))


def describe_event(run: Manifest, output: UPath, event: Event) -> RunEvent:
    """Return an event of a run that wrote to `output`.

    Two environment variables are those of every OpenLineage client: OPENLINEAGE_NAMESPACE is the
    job's namespace, OPENLINEAGE_PARENT_ID (`namespace/job/run`) the task that started the run.
    """
    started = event == "START"
    return RunEvent(
        eventType=RunState(event),
        eventTime=run["started"] if started else run["finished"],
        run=Run(_uuid(run), _run_facets(run, output, started=started)),
        job=Job(
            os.environ.get("OPENLINEAGE_NAMESPACE", DISTRIBUTION),
            ".".join(["detection_gain", *filter(None, [run.get("settings_id")])]),
            {
                "jobType": facets.job_type_job.JobTypeJobFacet(
                    "BATCH", "BEAM", "JOB", producer=PRODUCER
                )
            },
        ),
        inputs=[_input(file) for file in [*run["inputs"], *run["labels"]]],
        outputs=[] if started else [*_tables(run, output), *_mosaics(run, output)],
        producer=PRODUCER,
    )


def name_dataset(location: str) -> tuple[str, str]:
    """Return namespace and name of a file, object or page by the rules of OpenLineage.

    Query and user of a URL are left out: they can be secrets.

    >>> name_dataset("s3://maps/may/a.tif"), name_dataset("https://host/a.tif?signature=1")
    (('s3://maps', 'may/a.tif'), ('https://host', 'a.tif'))
    """
    if "://" not in location:
        return "file", str(Path(location).absolute())
    parts = urlsplit(location)
    if parts.scheme == "file":
        return "file", parts.path
    scheme, host = STORES.get(parts.scheme, parts.scheme), parts.netloc
    # A container of Azure stands where a user does: abfss://container@account.dfs.core.windows.net
    if scheme in ("http", "https"):
        host = host.rpartition("@")[2]
    return f"{scheme}://{host}", parts.path.removeprefix("/")


def _run_facets(run: Manifest, output: UPath, *, started: bool) -> dict[str, facets.RunFacet]:
    found: dict[str, facets.RunFacet] = {
        "processing_engine": facets.processing_engine_run.ProcessingEngineRunFacet(
            version=run["versions"]["apache-beam"], name="Apache Beam", producer=PRODUCER
        )
    }
    parent = os.environ.get("OPENLINEAGE_PARENT_ID", "").rsplit("/", 2)
    if len(parent) == 3:
        namespace, job, parent_run = parent
        found["parent"] = facets.parent_run.ParentRunFacet(
            run=facets.parent_run.Run(parent_run),
            job=facets.parent_run.Job(namespace, job),
            producer=PRODUCER,
        )
    if started:
        return found
    found["aerialDeblur_gain"] = _gain(run, output)
    if run.get("error"):
        found["errorMessage"] = facets.error_message_run.ErrorMessageRunFacet(
            message=run["error"], programmingLanguage="PYTHON", producer=PRODUCER
        )
    return found


def _gain(run: Manifest, output: UPath) -> GainRunFacet:
    row = describe_run(run, output)
    return GainRunFacet(
        runId=row["run_id"],
        codeVersion=row["code_version"],
        settingsId=row["settings_id"],
        exitCode=row["exit_code"],
        truth=row["truth"],
        labels=row["labels"],
        gains={
            name: {"value": row[name], "low": row[f"{name}_low"], "high": row[f"{name}_high"]}
            for name in NUMBERS
            if row[name] is not None
        },
        windows={name: row[name] for name in COUNTS},
        mpix=row["mpix"],
        producer=PRODUCER,
    )


def _input(file: Manifest) -> InputDataset:
    changed = file.get("mtime_ns")
    version = file.get("version", changed)
    when = None if changed is None else datetime.fromtimestamp(changed / 1e9, UTC).isoformat()
    metrics = facets.data_quality_metrics_input_dataset.DataQualityMetricsInputDatasetFacet(
        columnMetrics={}, bytes=file["size"], fileCount=1, lastUpdated=when, producer=PRODUCER
    )
    known: dict[str, facets.DatasetFacet] = {}
    if version is not None:
        known["version"] = _version(str(version))
    return InputDataset(
        *name_dataset(file["path"]), facets=known, inputFacets={"dataQualityMetrics": metrics}
    )


def _tables(run: Manifest, output: UPath) -> Iterable[OutputDataset]:
    """Yield every table that has parts, as one dataset: its folder."""
    parts = defaultdict(list)
    for part in run.get("outputs") or []:
        parts[part["path"].split("/")[0]].append(part)
    for table in (table for table in TABLES if table.name in parts):
        sizes = [size_of(output / part["path"]) for part in parts[table.name]]
        schema = facets.schema_dataset.SchemaDatasetFacet(
            [_field(column) for column in table.columns], producer=PRODUCER
        )
        yield OutputDataset(
            *name_dataset(str(output / table.name)),
            facets={"schema": schema},
            outputFacets=_statistics(
                rows=sum(part["rows"] for part in parts[table.name]),
                size=None if None in sizes else sum(filter(None, sizes)),
                files=len(sizes),
            ),
        )


def _mosaics(run: Manifest, output: UPath) -> Iterable[OutputDataset]:
    for mosaic in run.get("mosaics") or []:
        yield OutputDataset(
            *name_dataset(str(output / mosaic["path"])),
            facets={"version": _version(mosaic["sha256"])},
            outputFacets=_statistics(rows=None, size=mosaic["size"], files=1),
        )


def _version(version: str) -> facets.DatasetFacet:
    made = facets.dataset_version_dataset.DatasetVersionDatasetFacet
    return made(version, producer=PRODUCER)


def _statistics(
    *, rows: int | None, size: int | None, files: int
) -> dict[str, facets.OutputDatasetFacet]:
    made = facets.output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet
    return {"outputStatistics": made(rowCount=rows, size=size, fileCount=files, producer=PRODUCER)}


def _field(column: Column) -> facets.schema_dataset.SchemaDatasetFacetFields:
    return facets.schema_dataset.SchemaDatasetFacetFields(
        name=column.name,
        type=column.type,
        description=f"{column.description} [{column.unit}]" if column.unit else column.description,
        fields=[_field(field) for field in column.fields],
    )


def _uuid(run: Manifest) -> str:
    """Return the same UUID for every event of a run; one that is done again has another."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{DISTRIBUTION}:{run['run_id']}:{run['started']}"))
