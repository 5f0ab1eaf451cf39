"""The graph that Dataflow gets, built without a cloud: its stages, hints, images and shuffles."""

import pickle
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2 as api
from apache_beam.runners.portability.fn_api_runner import translations
from apache_beam.testing.util import assert_that
from apache_beam.transforms.environments import DockerEnvironment
from small_runs import configure
from stub_networks import use_stubs

from configs.load import load_yaml, validate
from configs.schema import RunConfig
from pipeline.beam_flags import beam_options
from pipeline.detection_gain import DetectionGain
from pipeline.measure_windows import MeasureWindows
from pipeline.planning import Plan, plan_run
from transforms.units import Keeper
from transforms.workplace import Workplace

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).resolve().parents[1] / "examples" / "dataflow"
IMAGE = "registry.example/aerial-deblur:1"
ACCELERATOR = "type:nvidia-l4;count:1;install-nvidia-driver"
HINTS = {
    common_urns.resource_hints.ACCELERATOR.urn: ACCELERATOR.encode(),
    common_urns.resource_hints.MIN_RAM_BYTES.urn: b"24000000000",
}
MEASURED = [
    "Resume",
    "ReadTiles/Group",
    "ReadTiles/ReadGroup",
    "Gather",
    "Deblur/Deblur batch",
    "Detect/Detect batch",
    "Measure/Measure batch",
    "KeepUnits/Keep",
]
SHUFFLES = {
    "PlanWindows/Spread",
    "Reconcile/ByScene",
    "Summarize/Sum",
    "Summarize/Clusters",
    "Summarize/Strata",
    "Histograms/Sum",
    "Seams/Meet",
    "Seams/SumLine",
    "Seams/SumStratum",
    "WriteTiles/Gather",
    "WriteDetections/Gather",
    "WriteLedger/Gather",
    "WriteHistograms/Gather",
    "WriteSummary/Gather",
    "WriteRejected/Gather",
}
"""Where elements are grouped: once to spread the windows, and where something is summed, settled
between neighbours or written in parts."""
FLAGS = [
    "--project=maps",
    "--region=europe-west4",
    "--temp_location=gs://maps/tmp",
    f"--sdk_container_image={IMAGE}",
]


def plan_of(folder: Path, scene: tuple[Path, Path], **sections) -> Plan:
    engine = {"name": "dataflow", "workers": 4, "accelerator": ACCELERATOR, "ram": "24GB"}
    config = configure(folder / "out", *scene, **{"engine": engine} | sections)
    with pytest.MonkeyPatch.context() as patch:
        use_stubs(patch)
        return plan_run(config, local=False)


def keeper_of(plan: Plan) -> Keeper:
    output, settings = plan.config.output, str(plan.manifest["work_id"])
    place = Workplace.of(output, attempt="dry", settings=settings)
    return Keeper(place, plan.config.mosaic.write)


def build(plan: Plan, options: PipelineOptions) -> beam.Pipeline:
    pipeline = beam.Pipeline(options=options)
    _ = pipeline | "DetectionGain" >> DetectionGain(plan, keeper_of(plan))
    return pipeline


@pytest.fixture(scope="module", params=[False, True], ids=["tables", "mosaics"])
def plan(request, tmp_path_factory, rendered_scene, one_code_version) -> Plan:
    """A plan for Dataflow, without and with mosaics."""
    folder = tmp_path_factory.mktemp("dataflow")
    return plan_of(folder, rendered_scene, mosaic={"write": request.param})


@pytest.fixture(scope="module")
def graph(plan) -> api.Pipeline:
    """The pipeline as every engine gets it."""
    image = DockerEnvironment.from_container_image(IMAGE)
    pipeline = build(plan, PipelineOptions(["--runner=FnApiRunner"]))
    return pipeline.to_runner_api(default_environment=image)


@pytest.fixture(scope="module")
def stages(graph) -> list[translations.Stage]:
    """What is fused into one, as Beam itself fuses it."""
    phases = [
        translations.annotate_downstream_side_inputs,
        translations.fix_side_input_pcoll_coders,
        translations.lift_combiners,
        translations.expand_gbk,
        translations.sink_flattens,
        translations.greedily_fuse,
        translations.sort_stages,
    ]
    known = frozenset([common_urns.primitives.FLATTEN.urn])
    _, fused = translations.create_and_optimize_stages(graph, phases, known)
    return list(fused)


def leaves(graph: api.Pipeline) -> list[api.PTransform]:
    transforms = graph.components.transforms.values()
    return [each for each in transforms if not each.subtransforms and each.outputs]


def inner_name(name: str) -> str:
    return name.removeprefix("DetectionGain/").removeprefix("MeasureWindows/")


def test_pixels_live_in_one_stage(stages, plan):
    [stage] = [s for s in stages if any(t.unique_name.endswith("/ReadGroup") for t in s.transforms)]
    names = [inner_name(each.unique_name) for each in stage.transforms]
    wanted = list(MEASURED)
    if plan.config.mosaic.write:
        wanted.insert(wanted.index("Detect/Detect batch"), "WriteCores/Write cores")
    for part in wanted:
        assert any(name.startswith(part) for name in names), part
    others = {name.split("/")[0] for name in names} - {part.split("/")[0] for part in wanted}
    # What is left hands windows in and results out.
    assert all(name.startswith("ref_PCollection") or name == "All" for name in others), others


def test_hints_stand_where_pixels_are_and_nowhere_else(graph):
    environments = graph.components.environments
    for each in leaves(graph):
        if not each.environment_id:
            continue  # the engine does it itself
        hints = dict(environments[each.environment_id].resource_hints)
        pixels = each.unique_name.startswith("DetectionGain/MeasureWindows/")
        assert hints == (HINTS if pixels else {}), each.unique_name


def test_without_hints_there_is_one_environment(tmp_path, rendered_scene):
    plan = plan_of(tmp_path, rendered_scene, engine={"name": "dataflow"})
    image = DockerEnvironment.from_container_image(IMAGE)
    pipeline = build(plan, PipelineOptions(["--runner=FnApiRunner"]))
    graph = pipeline.to_runner_api(default_environment=image)
    used = {each.environment_id for each in leaves(graph) if each.environment_id}
    assert len(used) == 1


def test_all_run_in_the_image(graph):
    for each in graph.components.environments.values():
        assert each.urn == common_urns.environments.DOCKER.urn
        assert api.DockerPayload.FromString(each.payload).container_image == IMAGE


def test_shuffles_are_those_of_the_design(graph, plan):
    grouping = (
        common_urns.primitives.GROUP_BY_KEY.urn,
        common_urns.composites.COMBINE_PER_KEY.urn,
    )
    combined = [
        f"{each.unique_name}/"
        for each in graph.components.transforms.values()
        if each.spec.urn == common_urns.composites.COMBINE_PER_KEY.urn
    ]
    found = {
        "/".join(inner_name(each.unique_name).split("/")[:2])
        for each in graph.components.transforms.values()
        if each.spec.urn in grouping and not each.unique_name.startswith(tuple(combined))
    }
    assert found == SHUFFLES | ({"MakeMosaics/Assemble"} if plan.config.mosaic.write else set())


def test_what_leaves_the_stage_grows_with_borders_not_with_pixels(
    tmp_path, rendered_scene, monkeypatch
):
    use_stubs(monkeypatch)
    small, large = (
        leaving_bytes(tmp_path / str(core), rendered_scene, core) for core in (128, 512)
    )
    assert large < 0.2 * 512 * 512 * 3
    assert large < 5 * small  # sixteen times the pixels, four times the border


def leaving_bytes(folder: Path, scene: tuple[Path, Path], core: int) -> int:
    """Return the size of the largest element that leaves the stage."""
    folder.mkdir()
    plan = plan_of(folder, scene, read={"core": core})
    sizes: list[int] = []

    def note(found: list[int]) -> None:
        (folder / "sizes").write_text(" ".join(map(str, found)))

    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        measured = (
            pipeline
            | beam.Create(plan.windows, reshuffle=False)
            | MeasureWindows(plan, keeper_of(plan))
        )
        assert_that(measured | beam.Map(pickle.dumps) | beam.Map(len), note)
    sizes = [int(size) for size in (folder / "sizes").read_text().split()]
    assert len(sizes) == len(plan.windows)
    return max(sizes)


@pytest.fixture(scope="module")
def job(plan):
    """The request that would go to Dataflow; nothing is sent or staged."""
    pytest.importorskip("google.cloud.dataflow", reason="needs apache-beam[gcp]")
    pytest.importorskip("google.cloud.storage", reason="needs apache-beam[gcp]")
    from apache_beam.runners.dataflow.internal.apiclient import Environment

    options = beam_options(plan.config.engine, [*FLAGS, "--dry_run=True"])
    job = build(plan, options).run().job
    return Environment(
        packages=[],
        options=options,
        environment_version="8",
        proto_pipeline_staged_url="gs://maps/tmp/pipeline.pb",
        proto_pipeline=job.proto_pipeline,
    ).proto


def test_dataflow_starts_one_process_a_machine(job):
    assert {"use_runner_v2", "no_use_multiple_sdk_containers"} <= set(job.experiments)
    assert "use_multiple_sdk_containers" not in job.experiments


def test_dataflow_starts_our_image_with_hints_only_from_the_graph(job, plan):
    [pool] = job.worker_pools
    images = {each.container_image for each in pool.sdk_harness_container_images}
    assert images == {IMAGE}
    assert len(pool.sdk_harness_container_images) == 2  # with and without a GPU
    assert pool.autoscaling_settings.max_num_workers == plan.config.engine.workers
    # Dataflow refuses an accelerator for the whole job beside one for a part of it.
    assert not [option for option in job.service_options if "accelerator" in option]


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_examples_ask_for_a_gpu_for_both_networks(path):
    config = validate(RunConfig, load_yaml(path), source=str(path))
    assert config.engine.name == "dataflow"
    assert config.deblur.device == config.detect.device == "cuda"
    assert "install-nvidia-driver" in config.engine.accelerator
