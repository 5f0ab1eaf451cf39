"""Planning: what must hold before a worker starts."""

import io
import json

import numpy as np
import pytest
from rich.console import Console
from scenes import textured, transform_of, write_picture, write_scene
from small_runs import configure
from stub_networks import use_stubs

from configs.schema import DeblurConfig, RunConfig
from models.cards import CheckpointError, sha256
from pipeline.planning import check_exact, describe, find_weights, plan_run
from transforms.functional.radiometry import REACH


def test_an_exact_run_needs_a_halo_that_covers_all_that_is_seen():
    def config(halo, **deblur):
        return RunConfig(read={"halo": halo}, deblur={"exact": True} | deblur)

    check_exact(config(288), 288 - REACH)
    check_exact(config(288, lock=False), 288)
    with pytest.raises(
        ValueError, match=r"at least 352 px: .* sees 288 px, and .* 64 px more; got"
    ):
        check_exact(config(320), 288)


@pytest.mark.slow
def test_an_exact_run_of_the_shipped_weights_is_planned_with_its_halo_only(tmp_path):
    scene = write_picture(tmp_path / "a.tif", textured(128, 128, 1))
    settings = {"deblur": {"exact": True}}
    with pytest.raises(ValueError, match=r"at least 288 px: deblur_dsc sees 224"):
        plan_run(configure(tmp_path / "run", scene, read={"halo": 256}, **settings))
    assert plan_run(configure(tmp_path / "run", scene, read={"halo": 288}, **settings)).windows


def test_sequences_need_pictures_of_a_camera(tmp_path):
    scene = write_picture(tmp_path / "a.tif", textured(128, 128, 1))
    measure = {"interval": {"clusters": "sequence"}}
    with pytest.raises(ValueError, match="sequence"):
        plan_run(configure(tmp_path / "run", scene, measure=measure))


def test_a_run_without_any_scene_says_how_to_name_some():
    with pytest.raises(ValueError, match=r"give input\.scenes or input\.stac"):
        plan_run(RunConfig())


def test_the_manifest_tells_how_each_scene_is_rendered(tmp_path):
    array = np.moveaxis(textured(128, 128, 1), -1, 0).astype(np.uint16) * 16
    scene = write_scene(tmp_path / "a.tif", array, photometric="rgb")
    config = configure(tmp_path / "run", scene, read={"stretch": {"low": 100, "high": 3000}})
    [known] = plan_run(config).manifest["scenes"]
    assert known["name"] == "a.tif"
    assert known["dtype"] == "uint16"
    assert known["bands"] == (1, 2, 3)
    assert known["stretch"] == ((100, 3000),) * 3
    json.dumps(known)


@pytest.mark.parametrize("said", ["EPSG:32633,2026-05-01T10:00:00Z", "EPSG:32632,2026-05-02"])
def test_another_place_or_time_in_an_index_is_another_run(tmp_path, said):
    place = {"crs": None, "transform": transform_of()}
    scene = write_picture(tmp_path / "a.tif", textured(128, 128, 1), **place)
    index = tmp_path / "night.csv"
    config = configure(tmp_path / "run", index)

    def plan(row: str) -> str:
        index.write_text(f"location,crs,time\n{scene.name},{row}\n")
        return plan_run(config).run_id

    before = plan("EPSG:32632,2026-05-01T10:00:00Z")
    assert plan("EPSG:32632,2026-05-01T10:00:00Z") == before
    assert plan(said) != before


def test_a_plan_tells_what_the_halo_costs_at_other_cores_and_who_works(tmp_path, monkeypatch):
    use_stubs(monkeypatch)
    scene = write_picture(tmp_path / "a.tif", textured(1024, 1024, 1))
    plan = plan_run(configure(tmp_path / "run", scene, read={"core": 256, "halo": 64}))
    console = Console(width=200, file=io.StringIO())
    console.print(describe(plan))
    said = console.file.getvalue()
    # 4 cores a side read 4 * 256 + 6 * 64 px, 2 cores 2 * 512 + 2 * 64, one the side alone.
    tax = [f"{(read / 1024) ** 2:.2f} x" for read in (1408, 1152, 1024)]
    expected = f"{tax[0]} for a halo of 64 px, {tax[1]} with core 512, {tax[2]} with core 1024"
    assert expected in said
    assert "this process, for" in said


def test_the_8_bit_network_that_is_run_is_one_of_the_weights(tmp_path):
    weights = tmp_path / "own.safetensors"
    weights.write_bytes(b"weights")
    config = DeblurConfig(weights=str(weights))
    assert find_weights(config).digests == {str(weights): sha256(weights)}
    coarse = config.model_copy(update={"dtype": "int8"})
    with pytest.raises(FileNotFoundError, match="aerial-deblur quantize"):
        find_weights(coarse)
    quantized = tmp_path / "own.int8.onnx"
    quantized.write_bytes(b"of " + sha256(weights).encode())
    assert find_weights(coarse).digests == {
        str(weights): sha256(weights),
        f"{weights} in 8 bits": sha256(quantized),
    }
    assert find_weights(config).digests == {str(weights): sha256(weights)}
    weights.write_bytes(b"other weights")
    with pytest.raises(CheckpointError, match="was made of other weights"):
        find_weights(coarse)
