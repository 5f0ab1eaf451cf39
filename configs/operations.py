"""How a run is operated: the engine, what operators are told, and when they are alarmed.

Nothing here changes a row of any table.
"""

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, PlainSerializer, field_validator, model_validator
from upath import UPath

from configs.base import Section

Fraction = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(gt=0, le=7 * 24 * 3600)]


def _to_path(path: object) -> object:
    return UPath(path) if isinstance(path, str | Path) else path


Folder = Annotated[UPath, BeforeValidator(_to_path), PlainSerializer(str)]
"""A folder on a file system, or below a URL of an object store such as s3://bucket/night."""
File = Folder
"""A file on a file system, or an object of a store."""


class EngineConfig(Section):
    """Which engine runs the job, how much at once, and when it is taken for broken.

    `local` is Beam's FnApiRunner: in this process, or in `workers` processes. The others are
    servers: `flink` and `spark` (`master` is the cluster's address; the job server is started from
    `job_server_jar`, or is the one at `job_endpoint`), `prism` (`prism_binary`), and `portable`,
    any job server at `job_endpoint`. On these the SDK processes come from a pool (`aerial-deblur
    worker-pool`) at `worker_pool`, which every worker machine has; without one they run in this
    process, for tests. `workers` is then the parallelism, and `processes` how many SDK processes
    a worker machine has: the slots of a task manager, or 1 where there is a GPU; None is `workers`.
    A job that failed there is submitted again up to `retries` times; what is finished is not done
    again. `dataflow` is Google's service; its project, region and image are Beam's own flags.

    `accelerator` (`type:nvidia-l4;count:1;install-nvidia-driver`, say) and `ram` (`24GB`, say)
    are asked for where pixels are read and networks run, as one stage.

    On a CPU every process computes on one thread, so that results do not depend on the number of
    workers. `auto` is as many processes as there are cores to use, locally; 1 for a run so small
    that starting them takes longer than they save, for a GPU, and on all other engines.

    `batch_size` tiles go through the networks together; on a CPU that is no faster. `auto` is tried
    once on a GPU of this machine, within a share of its memory, and remembered; 4 everywhere else.

    Scenes are decoded in a process of their own, which is ended after `read_seconds`: a file that
    stops or kills its decoder costs its own windows only. None decodes in the worker. A run without
    a finished window for `start_seconds` after its start, or for `stall_seconds` later, is stopped.
    """

    name: Literal["local", "flink", "spark", "prism", "portable", "dataflow"] = "local"
    workers: Annotated[int, Field(ge=1, le=4096)] | Literal["auto"] = "auto"
    batch_size: Annotated[int, Field(ge=1, le=256)] | Literal["auto"] = "auto"
    master: str | None = None
    job_endpoint: str | None = None
    job_server_jar: Path | None = None
    prism_binary: Path | None = None
    worker_pool: str | None = None
    flink_version: Annotated[str, Field(pattern=r"^\d+\.\d+$")] = "1.20"
    processes: Annotated[int, Field(ge=1, le=256)] | None = None
    retries: Annotated[int, Field(ge=0, le=100)] = 3
    accelerator: str | None = None
    ram: str | None = None
    read_seconds: Seconds | None = 300.0
    start_seconds: Seconds = 600.0
    stall_seconds: Seconds = 3600.0

    @property
    def parallelism(self) -> int:
        """Return the number of workers, 1 as long as nobody has chosen it."""
        return 1 if self.workers == "auto" else self.workers

    @property
    def batch(self) -> int:
        """Return the number of tiles that go together, 4 as long as nobody has chosen it."""
        return 4 if self.batch_size == "auto" else self.batch_size


class ObserveConfig(Section):
    """What an operator is told beside run.json.

    `log` is the form of the lines in `_workers.log`. `prometheus` is a file NAME.prom for the node
    exporter's textfile collector, `pushgateway` the URL of one, `lineage` a file of OpenLineage
    events, one a line. `history` is the Parquet file that gets a row for every run that comes to
    its end.
    """

    log: Literal["text", "json"] = "text"
    prometheus: Path | None = None
    pushgateway: str | None = None
    lineage: Path | None = None
    history: File | None = None

    @field_validator("prometheus", "lineage", mode="before")
    @classmethod
    def _is_local(cls, path: object) -> object:
        if "://" in str(path):
            raise ValueError(f"this must be a local file, got {path}")
        return path

    @field_validator("prometheus")
    @classmethod
    def _is_collected(cls, path: Path | None) -> Path | None:
        if path is not None and path.suffix != ".prom":
            raise ValueError(f"prometheus must be NAME.prom, or nobody collects it, got {path}")
        return path

    @field_validator("pushgateway")
    @classmethod
    def _is_url(cls, url: str | None) -> str | None:
        if url is not None and not _is_web_address(url):
            raise ValueError(f"pushgateway must be a URL with http:// or https://, got {url}")
        return url


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


class GateConfig(Section):
    """When a run is taken for worse than those before it (`aerial-deblur gate`).

    It is compared with the last `runs` runs of the same settings that ended well; fewer than
    `least` are no basis. A number is out of line if it is further from their median than chance
    reaches and than the smallest change that matters. Chance reaches as far as `deviations`
    standard deviations, and further the fewer runs they are known from. The changes that matter:
    `found` (of the labels, or of what a sharp picture shows) and `rejects` as shares, `psnr` in dB,
    `speed` and `inputs` as shares of the median.
    """

    runs: Annotated[int, Field(ge=3, le=1000)] = 14
    least: Annotated[int, Field(ge=3, le=1000)] = 5
    deviations: Annotated[float, Field(gt=0, le=6)] = 3.0
    found: Fraction = 0.02
    psnr: Annotated[float, Field(ge=0, le=20)] = 0.2
    rejects: Fraction = 0.01
    speed: Fraction = 0.3
    inputs: Fraction = 0.2

    @model_validator(mode="after")
    def _enough_runs(self) -> "GateConfig":
        if self.least > self.runs:
            raise ValueError(f"least must not exceed runs={self.runs}, got {self.least}")
        return self
