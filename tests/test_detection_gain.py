"""The main job: Beam and the plain loop write the same bytes, and nothing is lost."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from scenes import textured, write_picture
from small_runs import ALL_TABLES, again, config_of, configure, tables

from pipeline import manifest
from pipeline.direct import Networks, run_direct
from pipeline.planning import Plan, plan_run
from pipeline.run import replay, run
from transforms.functional.boxes import Detections
from transforms.inference import map_pending
from transforms.parquet import read_rows
from transforms.records import ARMS, Rejected, Tile
from transforms.tables import REJECTED, SUMMARY, TILES

pytestmark = pytest.mark.usefixtures("one_code_version")
NINE = 9
"""Windows of the finished run: 640 px in cores of 256."""


@pytest.fixture(scope="module")
def agreed(tmp_path_factory, rendered_scene, one_code_version) -> Path:
    """A finished run without labels and controls, on one rung of the ladder of blurs."""
    output = tmp_path_factory.mktemp("agreed") / "run"
    sections = {
        "read": {"core": 672, "blur": {"severities": [2]}},
        "arms": {"controls": [], "oracle": {"method": "none"}},
    }
    assert run(configure(output, rendered_scene[0], **sections)) == 0
    return output


@pytest.mark.parametrize("run_of", ["finished", "unjudged"])
def test_the_pipeline_writes_what_the_plain_loop_writes(run_of, tmp_path, request):
    written = request.getfixturevalue(run_of)
    plan = plan_run(config_of(written).model_copy(update={"output": tmp_path}))
    run_direct(plan, Networks.of(plan))
    assert tables(tmp_path) == tables(written)
    assert {path.split("/")[0] for path in tables(tmp_path)} == {table.name for table in ALL_TABLES}


@pytest.mark.parametrize("size", [1, 8])
def test_the_size_of_a_batch_changes_no_byte(finished, tmp_path, size):
    engine = config_of(finished).engine.model_copy(update={"batch_size": size})
    assert tables(again(finished, tmp_path / "run", engine=engine)) == tables(finished)


@pytest.mark.slow
@pytest.mark.parametrize("run_of", ["finished", "unjudged"])
def test_two_processes_write_what_one_writes(run_of, tmp_path, request):
    written = request.getfixturevalue(run_of)
    engine = config_of(written).engine.model_copy(update={"workers": 2})
    assert tables(again(written, tmp_path / "two", engine=engine)) == tables(written)


def test_every_planned_window_is_one_row(finished):
    plan = plan_run(config_of(finished))
    rows = list(read_rows(finished, TILES))
    assert sorted(row["key"] for row in rows) == sorted(window.key for window in plan.windows)
    assert len(rows) == plan.planned == NINE
    assert manifest.read(finished)["counts"] == {
        "planned": NINE,
        "measured": NINE,
        "empty": 0,
        "rejected": 0,
        "unmade_mosaics": 0,
    }


def test_the_null_control_equals_the_input(finished):
    """The stability check looks at `before` and `after` alone."""
    checks = ("arm", "stability_checked", "stability_found")
    for row in read_rows(finished, TILES):
        arms = {arm["arm"]: arm for arm in row["arms"]}
        null, before = (
            {name: value for name, value in arms[arm].items() if name not in checks}
            for arm in ("null", "before")
        )
        assert null == before


def test_a_run_has_the_arms_that_it_promised(finished):
    promised = manifest.read(finished)["arms"]
    assert promised == [arm for arm in ARMS if arm != "unskipped"]
    for row in read_rows(finished, TILES):
        assert [arm["arm"] for arm in row["arms"]] == promised
    reported = {row["arm"] for row in read_rows(finished, SUMMARY)} - {"run"}
    assert promised == sorted(reported, key=ARMS.index)


def test_the_oracle_is_closer_to_the_sharp_scene_than_the_input(finished):
    psnr = {
        row["arm"]: row["value"]
        for row in read_rows(finished, SUMMARY)
        if (row["stratum"], row["metric"]) == ("all", "psnr")
    }
    assert psnr["oracle"] > psnr["before"] + 1


def test_a_run_without_controls_has_none(agreed):
    rows = list(read_rows(agreed, TILES))
    assert {arm["arm"] for row in rows for arm in row["arms"]} == {"reference", "before", "after"}
    assert {(row["severity"], row["blur_length"]) for row in rows} == {(2, 7)}
    assert {row["blur_angle"] for row in rows} == {0, 45, 90, 135}
    assert "severity=2" in {row["stratum"] for row in read_rows(agreed, SUMMARY)}


def test_without_labels_agreement_is_called_that(agreed):
    numbers = {
        (row["arm"], row["metric"]): row["value"]
        for row in read_rows(agreed, SUMMARY)
        if row["stratum"] == "all"
    }
    assert numbers["reference", "agreement_recall"] == 1
    assert numbers["before", "agreement_recall"] < 1
    assert ("before", "recall") not in numbers


def test_the_detector_works_on_the_sharp_scene_and_blur_costs_recall(finished):
    recall = {
        row["arm"]: row["value"]
        for row in read_rows(finished, SUMMARY)
        if (row["stratum"], row["metric"]) == ("all", "recall")
    }
    assert recall["reference"] > 0.7
    assert recall["before"] < recall["reference"]


def test_a_finished_run_is_not_run_again(finished):
    assert run(config_of(finished)) == 99


def test_a_folder_with_another_run_is_refused_unless_forced(finished, tmp_path, rendered_scene):
    output = tmp_path / "copy"
    shutil.copytree(finished, output)
    other = configure(output, rendered_scene[0])
    with pytest.raises(ValueError, match="holds run"):
        run(other)
    assert run(other, force=True) == 0
    truth = {row["truth"] for row in read_rows(output, SUMMARY)}
    assert truth == {"none"}


def truncated(path: Path) -> Path:
    """Write a scene of 2 x 2 cores, cut so that its header and only some blocks can be read."""
    write_picture(path, textured(512, 512, seed=1))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path


def test_one_bad_scene_costs_its_own_windows_only(tmp_path):
    good = write_picture(tmp_path / "good.tif", textured(256, 256, seed=2))
    bad = truncated(tmp_path / "bad.tif")
    (tmp_path / "text.tif").write_text("no raster")
    output = tmp_path / "run"
    config = configure(output, tmp_path / "*.tif", read={"halo": 0})
    assert run(config) == 3
    tiles = {row["key"] for row in read_rows(output, TILES)}
    rejected = {row["key"]: row for row in read_rows(output, REJECTED)}
    assert f"{good.name}:0,0" in tiles
    assert rejected["text.tif"]["stage"] == "open"
    broken = [key for key in rejected if key.startswith(bad.name)]
    assert broken
    assert len(tiles) + len(rejected) == 1 + 4 + 1
    assert all(rejected[key]["stage"] == "read" for key in broken)
    assert rejected[broken[0]]["replay"] == f"aerial-deblur replay {output} {broken[0]}"
    assert replay(output, broken[0]) == 3
    assert replay(output, f"{good.name}:0,0") == 0
    assert run(config.model_copy(update={"max_rejected": 1.0}), force=True) == 0


def test_a_core_without_data_is_an_empty_row(tmp_path):
    image = textured(256, 512, seed=3)
    image[:, :256] = 0
    scene = write_picture(tmp_path / "half.tif", image, nodata=0)
    output = tmp_path / "run"
    assert run(configure(output, scene, read={"halo": 0})) == 0
    status = {row["col_off"]: row["status"] for row in read_rows(output, TILES)}
    assert status == {0: "empty", 256: "measured"}


def test_scenes_smaller_than_a_tile_and_without_crs_work(tmp_path):
    scene = write_picture(tmp_path / "small.tif", textured(40, 50, seed=4), crs=None)
    output = tmp_path / "run"
    assert run(configure(output, scene)) == 0
    [row] = read_rows(output, TILES)
    assert row["crs"] is None
    assert (row["left"], row["bottom"], row["right"], row["top"]) == (0, 0, 50, 40)


def tile_with(key: str, plan: Plan) -> Tile:
    image = np.zeros((8, 8, 3), np.uint8)
    [window] = [window for window in plan.windows if window.key == key]
    return Tile(window, image, None, np.ones((8, 8), bool), None, np.ones((8, 8), bool))


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_a_batch_that_is_too_large_is_halved(finished, limit):
    """A network that runs out of memory above `limit` tiles still settles all but the bad one."""
    plan = plan_run(config_of(finished))
    tiles = [tile_with(window.key, plan) for window in plan.windows]
    calls = []

    def network(batch):
        calls.append(len(batch))
        if len(batch) > limit:
            raise RuntimeError("CUDA out of memory. Tried to allocate 1 GiB")
        if tiles[4] in batch:
            raise ValueError("a poisoned tile")
        return [Detections.empty() for _ in batch]

    outcomes = map_pending(tiles, network, stage="detect", tile_of=lambda tile: tile)
    rejected = [outcome for outcome in outcomes if isinstance(outcome, Rejected)]
    assert [reject.key for reject in rejected] == [tiles[4].window.key]
    assert rejected[0].message == "a poisoned tile"
    assert isinstance(outcomes[4], Rejected)
    assert calls[0] == len(tiles)


def test_a_lost_device_ends_the_run(finished):
    plan = plan_run(config_of(finished))

    def network(batch):
        raise RuntimeError("CUDA error: device-side assert triggered")

    with pytest.raises(RuntimeError, match="device-side"):
        map_pending(
            [tile_with(plan.windows[0].key, plan)],
            network,
            stage="deblur",
            tile_of=lambda tile: tile,
        )
