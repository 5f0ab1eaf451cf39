"""A run whose scenes and tables lie on an S3-protocol server, from the list to the exit code."""

import json
import pickle
import shutil

import pyarrow.parquet as pq
import pytest
from small_runs import ALL_TABLES, configure
from stores import ACCESS_KEY, SECRET, store_in_environment
from upath import UPath

from pipeline import manifest
from pipeline.cli import main
from pipeline.detection_gain import DetectionGain
from pipeline.manifest import ExitCode
from pipeline.planning import plan_run
from pipeline.run import replay, run
from transforms.network import take_network_use
from transforms.parquet import list_parts, read_rows
from transforms.scene_reader import SceneReader
from transforms.storage import StorageError
from transforms.tables import REJECTED, TILES
from transforms.units import Keeper
from transforms.workplace import Workplace

pytestmark = pytest.mark.slow

SMALL = {
    "arms": {"controls": (), "oracle": {"method": "none"}},
    "measure": {"stability": 0, "interval": {"replicates": 0}},
    "max_rejected": 1,
}


@pytest.fixture(scope="module")
def store(store_server):
    """Return a bucket that the runs of this module share."""
    with store_in_environment(store_server, "maps-of-runs") as store:
        yield store


@pytest.fixture(scope="module")
def scene(store, rendered_scene):
    """Return the URL of a COG with blocks of 512 px."""
    return store.put("in/scene.tif", rendered_scene[0])


@pytest.fixture(scope="module")
def stored(store, scene, one_code_version):
    """Return the output on the store of a run, and what the server was asked."""
    config = configure(f"{store.url}/out", scene, **SMALL)
    assert run(config) == ExitCode.OK
    return config.output, store.take_requests()


@pytest.fixture(scope="module")
def local(rendered_scene, tmp_path_factory, one_code_version):
    """Return the output of the same run on the file system."""
    folder = tmp_path_factory.mktemp("local")
    shutil.copy(rendered_scene[0], folder / "scene.tif")
    config = configure(folder / "out", folder / "scene.tif", **SMALL)
    assert run(config) == ExitCode.OK
    return config.output


def test_rows_are_those_of_a_local_run(stored, local):
    output, _ = stored
    for table in ALL_TABLES:
        assert list(read_rows(output, table)) == list(read_rows(local, table)), table.name


def test_files_differ_from_local_ones_in_the_name_of_the_run_alone(store, stored, local, tmp_path):
    for part in list_parts(local):
        (tmp_path / "part").write_bytes(store.get(f"out/{part.path}"))
        ours, theirs = (pq.read_table(path) for path in (tmp_path / "part", local / part.path))
        assert ours.equals(theirs)
        known = [dict(table.schema.metadata) for table in (ours, theirs)]
        assert known[0].pop(b"run_id") != known[1].pop(b"run_id")
        assert known[0] == known[1]


def test_a_finished_run_left_its_tables_its_log_and_nothing_else(store, stored):
    output, _ = stored
    keys = [key.removeprefix("out/") for key in store.list_keys() if key.startswith("out/")]
    names = [key for key in keys if not key.startswith("_work/")]
    assert len(keys) - len(names) == 9  # what is kept of its windows
    parts = manifest.read(output)["outputs"]
    assert names == sorted(["_workers.log", "run.json", *(part["path"] for part in parts)])
    assert {part.path for part in list_parts(output)} == {part["path"] for part in parts}


def test_the_manifest_is_written_last(stored):
    _, asked = stored
    written = [
        one.path
        for one in asked
        if one.method in ("PUT", "POST") and "/out/" in one.path and "/_work/" not in one.path
    ]
    assert written[0].endswith("/out/run.json")
    assert written[-1].endswith("/out/run.json")


def test_the_scene_is_known_by_its_etag(stored, store, rendered_scene):
    [known] = manifest.read(stored[0])["inputs"]
    assert known["size"] == rendered_scene[0].stat().st_size
    assert len(known["version"]) == 32


def test_few_requests_read_a_tile(stored):
    output, asked = stored
    reads = manifest.read(output)["reads"]
    of_scene = [one for one in asked if one.method == "GET" and "/in/scene.tif" in one.path]
    tiles = manifest.read(output)["counts"]["planned"]
    assert reads["tiles"] == tiles
    assert reads["requests_per_tile"] <= 2
    assert len(of_scene) <= 2 * tiles
    sent = sum(one.sent for one in of_scene)
    counted = reads["bytes"] + reads["planning"]["bytes"]
    assert sent <= counted <= sent + 10_000, "lists are counted too"


def test_nothing_is_done_twice(store, stored, scene):
    config = configure(f"{store.url}/out", scene, **SMALL)
    assert run(config) == ExitCode.NOTHING_TO_DO
    written = [one for one in store.take_requests() if one.method in ("PUT", "POST", "DELETE")]
    assert written == []


def test_another_run_is_not_replaced(store, stored, scene):
    other = configure(f"{store.url}/out", scene, **SMALL | {"detect": {"score_threshold": 0.7}})
    with pytest.raises(manifest.OutputError, match="holds run"):
        run(other)


def test_a_window_is_replayed(store, stored, capsys):
    key = next(read_rows(stored[0], TILES, ["key"]))["key"]
    assert main(["replay", f"{store.url}/out", key]) == 0
    assert f"{key} measured" in capsys.readouterr().out
    assert replay(UPath(store.url) / "out", key) == 0


def test_two_workers_write_the_same_rows(store, stored, scene):
    config = configure(f"{store.url}/two", scene, **SMALL | {"engine": {"workers": 2}})
    assert run(config) == ExitCode.OK
    for table in ALL_TABLES:
        assert list(read_rows(config.output, table)) == list(read_rows(stored[0], table))
    reads = manifest.read(config.output)["reads"]
    assert reads["tiles"] == 9
    assert reads["requests"] > 0


def test_stale_parts_are_removed_and_a_lost_part_is_made_again(store, scene, one_code_version):
    config = configure(f"{store.url}/torn", scene, **SMALL)
    store.put("torn/tiles/part-epsg1-00000.parquet", b"PAR1")
    assert run(config, force=True) == ExitCode.OK
    names = [key for key in store.list_keys() if key.startswith("torn/tiles/")]
    assert names == ["torn/tiles/part-epsg32632-00000.parquet"]
    before = store.get(names[0])
    store.delete(names[0])
    assert run(config) == ExitCode.OK
    assert store.get(names[0]) == before


def test_secrets_stay_in_the_environment(store, stored, scene):
    plan = plan_run(configure(f"{store.url}/out", scene, **SMALL))
    UPath(plan.config.output).exists()
    place = Workplace.of(plan.config.output, attempt="one", settings="")
    shipped = pickle.dumps(DetectionGain(plan, Keeper(place)))
    texts = [shipped, store.get("out/run.json"), store.get("out/_workers.log")]
    assert all(word.encode() not in text for text in texts for word in (SECRET, ACCESS_KEY))


def test_a_missing_bucket_ends_before_any_work(tmp_path, scene, capsys):
    (tmp_path / "run.yaml").write_text("{}")
    given = ["run", str(tmp_path / "run.yaml"), "--input", scene, "--output", "s3://no-bucket/out"]
    assert main(given) == ExitCode.BAD_CONFIG
    said = capsys.readouterr().err
    assert "s3://no-bucket/out cannot be reached" in said
    assert "Check the name of the bucket" in said


def test_a_bucket_that_may_not_be_written_ends_before_any_work(store, scene):
    config = configure(f"{store.url}/locked", scene, **SMALL)
    store.fail("/locked/", times=99, status=403, method="PUT")
    with pytest.raises(StorageError, match="rights to list, read and write"):
        run(config)
    store.heal()
    assert not any(key.startswith("locked") for key in store.list_keys())


def test_a_scene_that_is_refused_halfway_is_a_reject_and_the_others_are_read(
    store, scene, rendered_scene, monkeypatch, one_code_version
):
    monkeypatch.setenv("GDAL_HTTP_RETRY_DELAY", "0.1")
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "1")
    other = store.put("in/other.tif", rendered_scene[0])
    content = SMALL | {"input": {"scenes": [scene, other]}}
    config = configure(f"{store.url}/faults", scene, **SMALL)
    section = config.input.model_copy(update={"scenes": tuple(content["input"]["scenes"])})
    config = config.model_copy(update={"input": section})
    plan = plan_run(config)
    for step in ("take_inventory", "complete_plan"):
        monkeypatch.setattr(f"pipeline.run.{step}", lambda *_, **__: plan)
    store.fail("/in/other.tif", times=10_000, status=503)
    assert run(config) == ExitCode.OK
    store.heal()
    rejects = list(read_rows(config.output, REJECTED))
    assert {row["scene"] for row in rejects} == {"other.tif"}
    assert {row["stage"] for row in rejects} == {"read"}
    assert len(rejects) == len(list(read_rows(config.output, TILES))) == 9


def test_stumbling_servers_change_no_row(store, stored, scene, monkeypatch, one_code_version):
    monkeypatch.setenv("GDAL_HTTP_RETRY_DELAY", "0.1")
    config = configure(f"{store.url}/stumbling", scene, **SMALL)
    store.fail("/in/scene.tif", times=3, status=503)
    for folder in ("_work/units/", "_work/attempts/", "tiles/"):
        store.fail(f"stumbling/{folder}", times=1, status=503, method="PUT")
    assert run(config) == ExitCode.OK
    for table in ALL_TABLES:
        assert list(read_rows(config.output, table)) == list(read_rows(stored[0], table))


def test_windows_of_a_large_cog_cost_few_requests(store, tmp_path, one_code_version):
    from pipeline.demo import write_demo_scene

    path, _ = write_demo_scene(tmp_path, seed=5, size=2048)
    url = store.put("in/large.tif", path)
    plan = plan_run(configure(f"{store.url}/x", url, read={"core": 512, "halo": 64}))
    take_network_use()
    store.take_requests()
    reader = SceneReader(plan.config.input)
    for window in plan.windows:
        reader.read_window(window)
    reader.close()
    asked, use = store.take_requests(), take_network_use()
    print(json.dumps({"tiles": len(plan.windows), "asked": len(asked), "use": repr(use)}))
    assert len(asked) <= 2 * len(plan.windows)
    assert use.requests <= len(asked)
    assert use.bytes == sum(one.sent for one in asked) <= 1.1 * path.stat().st_size
