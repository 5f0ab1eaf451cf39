"""Identities: what makes a run the same run, and a window's result the same result."""

import re
from pathlib import Path

import pytest
from known_run import CONFIG, SCENES, WEIGHTS

from configs.operations import EngineConfig
from configs.schema import DeblurConfig, InputConfig
from pipeline import identity
from pipeline.identity import code_version, run_identity, settings_identity, work_identity


@pytest.fixture(autouse=True)
def one_code_version(monkeypatch):
    """Other people commit while tests run."""
    monkeypatch.setattr(identity, "code_version", lambda: "0.1.0")


def test_an_identity_is_12_hex_digits_and_repeats():
    identity = run_identity(CONFIG, SCENES, WEIGHTS)
    assert re.fullmatch("[0-9a-f]{12}", identity)
    assert identity == run_identity(CONFIG, SCENES[::-1], dict(reversed(WEIGHTS.items())))


@pytest.mark.parametrize(
    "change",
    [
        {"output": Path("elsewhere")},
        {"engine": EngineConfig(workers=2, batch_size=8)},
        {"deblur": DeblurConfig(backend="torch", gpu="plain")},
        {"max_rejected": 0.5},
    ],
    ids=lambda change: next(iter(change)),
)
def test_settings_that_change_no_row_keep_the_identity(change):
    config = CONFIG.model_copy(update=change)
    assert run_identity(config, SCENES, WEIGHTS) == run_identity(CONFIG, SCENES, WEIGHTS)


@pytest.mark.parametrize(
    ("config", "scenes", "weights"),
    [
        (
            CONFIG.model_copy(update={"deblur": DeblurConfig(normalisation="per_image")}),
            SCENES,
            WEIGHTS,
        ),
        (CONFIG, SCENES[:1], WEIGHTS),
        (CONFIG, [("in/a.tif", 1000, 6), *SCENES[1:]], WEIGHTS),
        (CONFIG, [*SCENES[:2], ("s3://in/c.tif", 3000, "e7aa"), SCENES[3]], WEIGHTS),
        (CONFIG, SCENES, WEIGHTS | {"vehicles_yolo": "00" * 32}),
    ],
    ids=["setting", "fewer scenes", "touched scene", "replaced object", "weights"],
)
def test_whatever_changes_a_row_changes_the_identity(config, scenes, weights):
    assert run_identity(config, scenes, weights) != run_identity(CONFIG, SCENES, WEIGHTS)


def test_a_url_that_is_signed_anew_is_the_same_run():
    def signed(key):
        url = f"https://in/d.tif?sv=1&sig={key}"
        return run_identity(changed("input", scenes=(url,)), [(url, 5, "e7a9")], WEIGHTS)

    assert signed("0af3") == signed("77b1")


def test_other_code_is_another_run(monkeypatch):
    before = run_identity(CONFIG, SCENES, WEIGHTS)
    monkeypatch.setattr(identity, "code_version", lambda: "0.1.1")
    assert run_identity(CONFIG, SCENES, WEIGHTS) != before


@pytest.mark.parametrize("name", ["labels.geojson", "labels/a.txt"])
def test_changed_labels_are_another_run(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("one")
    given = tmp_path / Path(name).parts[0]
    config = CONFIG.model_copy(update={"input": InputConfig(labels=given)})
    before = run_identity(config, SCENES, WEIGHTS)
    path.write_text("another")
    assert run_identity(config, SCENES, WEIGHTS) != before


@pytest.mark.parametrize("role", ["labels", "area", "ignore"])
@pytest.mark.parametrize("changed", ["town.shp", "town.dbf", "town.prj"])
def test_every_file_of_a_shapefile_is_part_of_the_run(tmp_path, role, changed):
    for name in ("town.shp", "town.shx", "town.dbf", "town.prj"):
        (tmp_path / name).write_text("one")
    config = CONFIG.model_copy(update={"input": InputConfig(**{role: tmp_path / "town.shp"})})
    before = run_identity(config, SCENES, WEIGHTS)
    (tmp_path / "city.dbf").write_text("another town")
    assert run_identity(config, SCENES, WEIGHTS) == before
    (tmp_path / changed).write_text("another")
    assert run_identity(config, SCENES, WEIGHTS) != before


@pytest.mark.parametrize("role", ["aoi", "area", "ignore"])
def test_changed_areas_are_another_run(tmp_path, role):
    path = tmp_path / "area.geojson"
    path.write_text("one")
    config = CONFIG.model_copy(update={"input": InputConfig(**{role: path})})
    before = run_identity(config, SCENES, WEIGHTS)
    path.write_text("another")
    assert run_identity(config, SCENES, WEIGHTS) != before


def test_the_same_polygons_as_area_and_as_ignore_are_two_runs(tmp_path):
    (tmp_path / "a.geojson").write_text("one")
    known = {
        run_identity(
            CONFIG.model_copy(update={"input": InputConfig(**{role: tmp_path / "a.geojson"})}),
            SCENES,
            WEIGHTS,
        )
        for role in ("labels", "area", "ignore")
    }
    assert len(known) == 3


def changed(section, **values):
    """Return the configuration with other values in one section."""
    return CONFIG.model_copy(update={section: getattr(CONFIG, section).model_copy(update=values)})


@pytest.mark.parametrize(
    "config",
    [
        changed("input", scenes=("in/tonight/*.tif",)),
        changed("engine", workers=8),
        changed("measure", least=5, strata=(("class",),)),
        changed("report", shards=4),
        changed("mosaic", write=True),
    ],
    ids=["inputs", "engine", "what sums up", "parts", "mosaics"],
)
def test_what_changes_no_window_keeps_the_work(config):
    assert work_identity(config, WEIGHTS) == work_identity(CONFIG, WEIGHTS)


@pytest.mark.parametrize(
    "config",
    [
        changed("input", crs="EPSG:32632"),
        changed("read", core=512),
        changed("deblur", lock=False),
        changed("arms", controls=()),
        changed("detect", score_threshold=0.6),
        changed("measure", iou=0.3),
        changed("measure", stability=0.5),
    ],
    ids=["crs", "core", "lock", "arms", "threshold", "iou", "stability"],
)
def test_what_changes_a_window_is_other_work(config):
    assert work_identity(config, WEIGHTS) != work_identity(CONFIG, WEIGHTS)


def test_other_weights_labels_and_code_are_other_work(tmp_path, monkeypatch):
    before = work_identity(CONFIG, WEIGHTS)
    assert work_identity(CONFIG, WEIGHTS | {"deblur_dsc": "00" * 32}) != before
    (tmp_path / "labels.geojson").write_text("one")
    assert work_identity(changed("input", labels=tmp_path / "labels.geojson"), WEIGHTS) != before
    monkeypatch.setattr(identity, "code_version", lambda: "0.1.1")
    assert work_identity(CONFIG, WEIGHTS) != before


def test_runs_of_other_nights_can_be_compared_and_other_settings_cannot():
    tonight = changed("input", scenes=("in/tonight/*.tif",), labels=Path("tonight.geojson"))
    assert settings_identity(tonight) == settings_identity(CONFIG)
    assert settings_identity(changed("gate", runs=3)) == settings_identity(CONFIG)
    assert settings_identity(changed("measure", least=5)) != settings_identity(CONFIG)


@pytest.fixture
def asked_anew():
    """The version is asked for once in a process: let this test be the first, and the last."""
    code_version.cache_clear()
    yield
    code_version.cache_clear()


@pytest.mark.usefixtures("asked_anew")
def test_the_code_version_needs_no_git(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert "+g" not in code_version()


@pytest.mark.usefixtures("asked_anew")
def test_a_checkout_names_its_commit():
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        pytest.skip("not a checkout")
    assert re.search(r"\+g[0-9a-f]{12}(\.dirty[0-9a-f]{8})?$", code_version())


@pytest.mark.usefixtures("asked_anew")
def test_a_process_keeps_the_version_that_it_started_with(monkeypatch):
    before = code_version()
    monkeypatch.setenv("PATH", "")
    assert code_version() == before


def test_another_backend_is_the_same_run_and_other_work():
    deblur = CONFIG.deblur.model_copy(update={"backend": "openvino"})
    other = CONFIG.model_copy(update={"deblur": deblur})
    assert run_identity(CONFIG, SCENES, WEIGHTS) == run_identity(other, SCENES, WEIGHTS)
    assert settings_identity(CONFIG) == settings_identity(other)
    assert work_identity(CONFIG, WEIGHTS) != work_identity(other, WEIGHTS)
