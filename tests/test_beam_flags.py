"""Which flags Beam gets for which engine."""

import pytest
from apache_beam.options.pipeline_options import (
    DebugOptions,
    DirectOptions,
    FlinkRunnerOptions,
    PortableOptions,
    PrismRunnerOptions,
    SparkRunnerOptions,
    StandardOptions,
    WorkerOptions,
)

from configs.operations import EngineConfig
from pipeline.beam_flags import beam_options


def options_of(*flags, **settings):
    return beam_options(EngineConfig(**settings), flags)


def runner(options):
    return options.view_as(StandardOptions).runner


@pytest.mark.parametrize(("workers", "mode"), [(1, "in_memory"), (3, "multi_processing")])
def test_local_runs_in_this_process_or_in_several(workers, mode):
    direct = options_of(workers=workers).view_as(DirectOptions)
    assert direct.direct_running_mode == mode
    assert direct.direct_num_workers == workers


def test_flink_gets_its_address_as_url_and_workers_as_parallelism():
    options = options_of(name="flink", master="jm:8081", workers=4, worker_pool="localhost:50000")
    flink = options.view_as(FlinkRunnerOptions)
    assert runner(options) == "FlinkRunner"
    assert (flink.flink_master, flink.parallelism) == ("http://jm:8081", 4)
    assert flink.flink_version == "1.20"


def test_flink_without_a_master_is_the_cluster_within_the_job_server():
    assert options_of(name="flink").view_as(FlinkRunnerOptions).flink_master == "[local]"


@pytest.mark.parametrize("name", ["flink", "spark", "prism", "portable"])
def test_workers_come_from_the_pool_or_are_this_process(name):
    loop = options_of(name=name, job_endpoint="embed").view_as(PortableOptions)
    assert loop.environment_type == "LOOPBACK"
    pool = options_of(name=name, job_endpoint="embed", worker_pool="localhost:50000", workers=3)
    portable = pool.view_as(PortableOptions)
    assert portable.environment_type == "EXTERNAL"
    assert portable.environment_config == "localhost:50000"
    assert int(portable.sdk_worker_parallelism) == 3


def test_processes_of_a_machine_may_be_fewer_than_workers():
    options = options_of(name="flink", worker_pool="localhost:50000", workers=8, processes=1)
    assert int(options.view_as(PortableOptions).sdk_worker_parallelism) == 1


def test_a_job_longer_than_beams_time_limit_keeps_its_stream_of_states():
    portable = options_of(name="portable", job_endpoint="embed").view_as(PortableOptions)
    assert portable.job_server_timeout >= 7 * 24 * 3600


def test_spark_and_prism_get_their_files(tmp_path):
    spark = options_of(name="spark", job_server_jar=tmp_path / "spark.jar", workers=2)
    assert spark.view_as(SparkRunnerOptions).spark_job_server_jar == str(tmp_path / "spark.jar")
    assert spark.view_as(SparkRunnerOptions).spark_master_url == "local[2]"
    prism = options_of(name="prism", prism_binary=tmp_path / "prism")
    assert prism.view_as(PrismRunnerOptions).prism_location == str(tmp_path / "prism")


def test_dataflow_has_one_process_a_machine():
    options = options_of("--experiments=mine", name="dataflow", workers=7)
    experiments = options.view_as(DebugOptions).experiments
    assert {"use_runner_v2", "no_use_multiple_sdk_containers", "mine"} <= set(experiments)
    assert options.view_as(WorkerOptions).max_num_workers == 7


def test_a_users_flag_wins():
    flags = ("--parallelism=9", "--environment_type=LOOPBACK")
    options = options_of(*flags, name="flink", worker_pool="localhost:50000")
    assert options.view_as(FlinkRunnerOptions).parallelism == 9
    assert options.view_as(PortableOptions).environment_type == "LOOPBACK"


@pytest.mark.parametrize(
    "name", ["flink", "FlinkRunner", "apache_beam.runners.portability.flink_runner.FlinkRunner"]
)
def test_a_users_runner_wins_and_brings_its_own_flags(name):
    options = options_of(f"--runner={name}", "--flink_master=jm:1", workers=2)
    assert runner(options) == "FlinkRunner"
    flink = options.view_as(FlinkRunnerOptions)
    assert (flink.flink_master, flink.parallelism) == ("http://jm:1", 2)


@pytest.mark.parametrize(
    "name", ["DirectRunner", "directrunner", "direct", "SwitchingDirectRunner"]
)
def test_a_runner_that_chooses_by_the_network_is_refused(name):
    with pytest.raises(ValueError, match="picks an engine by what it can download"):
        options_of(f"--runner={name}")


def test_the_mode_that_loses_elements_is_refused():
    with pytest.raises(ValueError, match="loses elements"):
        options_of("--direct_running_mode=multi_threading")


def test_an_unknown_flag_is_refused():
    with pytest.raises(ValueError, match="no such flags: --flink_mastr=x"):
        options_of("--flink_mastr=x")


def test_flags_of_flinks_job_server_are_known():
    kept = options_of("--object_reuse", "--flink_conf_dir=/etc/flink", name="flink")
    assert kept.get_all_options(retain_unknown_options=True)["flink_conf_dir"] == "/etc/flink"
