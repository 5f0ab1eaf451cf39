"""The flags that go to Beam: ours by default, the user's if given."""

import argparse
from collections.abc import Sequence

from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    PipelineOptions,
    StandardOptions,
    _BeamArgumentParser,
)

from configs.operations import EngineConfig

LOCAL_RUNNER = "FnApiRunner"
RUNNERS = {
    "local": LOCAL_RUNNER,
    "flink": "FlinkRunner",
    "spark": "SparkRunner",
    "prism": "PrismRunner",
    "portable": "PortableRunner",
    "dataflow": "DataflowRunner",
}
"""Beam's name of each engine."""

LOSSY_MODE = "multi_threading"
CHOOSES_BY_NETWORK = ("DirectRunner", "SwitchingDirectRunner")

WEEK = 7 * 24 * 3600
"""Seconds; Beam ends the streams of a job's state and messages after --job_server_timeout."""

FLINK_FLAGS = (
    "disable_metrics",
    "execution_mode_for_batch",
    "execution_retry_delay",
    "faster_copy",
    "flink_conf_dir",
    "load_balance_bundles",
    "max_bundle_size",
    "max_bundle_time_mills",
    "number_of_execution_retries",
    "object_reuse",
    "operator_chaining",
    "re_iterable_group_by_key_result",
)
"""Flags of Flink's job server for batch jobs, which Beam's Python side does not list."""


def beam_options(engine: EngineConfig, flags: Sequence[str]) -> PipelineOptions:
    """Return the options of a run; the user's flags win over ours.

    A --runner among the flags wins over `engine.name`, too. Raises ValueError for a flag that Beam
    does not know, for settings that are missing, and for those that are known to lose elements or
    to choose another engine depending on the network.
    """
    known, unknown = _parser().parse_known_args(list(flags))
    if unknown:
        raise ValueError(f"Beam knows no such flags: {' '.join(unknown)}")
    runner = runner_of(known.runner) if known.runner else RUNNERS[engine.name]
    if runner in CHOOSES_BY_NETWORK:
        raise ValueError(
            f"--runner={known.runner} picks an engine by what it can download; "
            f"use --runner={LOCAL_RUNNER} (the default) or name the engine you want"
        )
    if known.direct_running_mode == LOSSY_MODE:
        raise ValueError(
            f"--direct_running_mode={LOSSY_MODE} loses elements in Beam 2.77; "
            "use in_memory or multi_processing (engine.workers > 1)"
        )
    options = PipelineOptions([*_ours(engine, runner), *flags, f"--runner={runner}"])
    flink = options.view_as(FlinkRunnerOptions)
    flink.flink_master = _with_scheme(flink.flink_master)
    return options


def runner_of(name: str) -> str:
    """Return a runner as Beam's class is called, from any way in which Beam accepts it."""
    classes = [path.rpartition(".")[2] for path in StandardOptions.ALL_KNOWN_RUNNERS]
    known = {runner.lower(): runner for runner in classes}
    last = name.rpartition(".")[2].lower()
    return known.get(last) or known.get(f"{last}runner") or name


def _ours(engine: EngineConfig, runner: str) -> list[str]:
    """Return the flags that follow from the settings, for the runner that will run."""
    match runner:
        case "FnApiRunner":
            return _local(engine)
        case "FlinkRunner":
            return [*_flink(engine), *_portable(engine)]
        case "SparkRunner":
            return [*_spark(engine), *_portable(engine)]
        case "PrismRunner":
            return [*_given("prism_location", engine.prism_binary), *_portable(engine)]
        case "PortableRunner":
            return _portable(engine)
        case "DataflowRunner":
            return _dataflow(engine)
    return []


def _local(engine: EngineConfig) -> list[str]:
    mode = "in_memory" if engine.parallelism == 1 else "multi_processing"
    return [f"--direct_running_mode={mode}", f"--direct_num_workers={engine.parallelism}"]


def _flink(engine: EngineConfig) -> list[str]:
    return [
        f"--flink_version={engine.flink_version}",
        f"--flink_master={engine.master or '[local]'}",
        f"--parallelism={engine.parallelism}",
        *_given("flink_job_server_jar", engine.job_server_jar),
    ]


def _spark(engine: EngineConfig) -> list[str]:
    return [
        f"--spark_master_url={engine.master or f'local[{engine.parallelism}]'}",
        *_given("spark_job_server_jar", engine.job_server_jar),
    ]


def _portable(engine: EngineConfig) -> list[str]:
    """Return what every job server needs: where workers come from, and patience."""
    workers = ["--environment_type=LOOPBACK"]
    if engine.worker_pool is not None:
        workers = [
            "--environment_type=EXTERNAL",
            f"--environment_config={engine.worker_pool}",
            f"--sdk_worker_parallelism={engine.processes or engine.parallelism}",
        ]
    return [
        *workers,
        f"--job_server_timeout={WEEK}",
        *_given("job_endpoint", engine.job_endpoint),
    ]


def _dataflow(engine: EngineConfig) -> list[str]:
    return [
        "--experiments=use_runner_v2",
        # One process a machine: one owner of its GPU, one copy of both networks.
        "--experiments=no_use_multiple_sdk_containers",
        "--sdk_location=container",
        f"--max_num_workers={engine.parallelism}",
    ]


def _given(flag: str, setting: object | None) -> list[str]:
    return [] if setting is None else [f"--{flag}={setting}"]


def _with_scheme(master: str) -> str:
    """Return a Flink master as URL; names such as [local] stay."""
    return master if master.startswith(("[", "http://", "https://")) else f"http://{master}"


def _parser() -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = _BeamArgumentParser(
        add_help=False, allow_abbrev=False, conflict_handler="resolve"
    )
    for options in PipelineOptions.__subclasses__():
        options._add_argparse_args(parser)
    for flag in FLINK_FLAGS:
        parser.add_argument(f"--{flag}", nargs="?")
    return parser
