"""The command line: errors before anything starts, and help that a newcomer understands."""

import subprocess
import sys

import pytest
import yaml
from scenes import textured, write_picture

from models.cards import read_card, shipped_weights
from pipeline.cli import main
from pipeline.train import train
from tests.published_files import published_file


@pytest.fixture
def config(tmp_path):
    """The path of a valid configuration with one small scene."""
    scene = write_picture(tmp_path / "scene.tif", textured(96, 128, seed=5))
    path = tmp_path / "run.yaml"
    content = {"input": {"scenes": [str(scene)]}, "output": str(tmp_path / "out")}
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize(
    "command", ["run", "plan", "replay", "calibrate", "train", "models", "demo"]
)
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    assert command in capsys.readouterr().out


def test_help_loads_no_heavy_library():
    code = (
        "import sys\nfrom pipeline.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "sys.exit(bool({'torch', 'apache_beam', 'ultralytics', 'rasterio'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_no_command_is_an_error(capsys):
    with pytest.raises(SystemExit) as stopped:
        main([])
    assert stopped.value.code == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "read.corre=512"], "read.corre: unknown key"),
        (["--set", "read.core=500"], "multiple of 32"),
        (["--set", "read"], "an override is section.key=value"),
        (["--set", "deblur.weights=missing.pt"], "weights must be a file or one of"),
        (["--set", "deblur.sha256=" + "f" * 64], "differs: got"),
        (["--set", "detect.sha256=" + "f" * 64], "differs"),
        (["--set", "deblur.device=cuda:7"], "promised device='cuda:7'"),
        (["--set", "detect.device=cuda:7"], "cuda:7"),
        (["--set", "report.crs=EPSG:1"], "EPSG:1"),
        (["--set", "detect.score_floor=0.9"], "score_floor must not exceed"),
        (["--set", "read.bands=[1, 2]"], "one or three"),
        (["--set", "read.stretch={low: 5, high: 5}"], "low < high"),
        (["--input", "no_such_*.tif"], "no file matches 'no_such_*.tif'"),
        (["--labels", "no_labels.geojson"], "does not exist"),
        (["--", "--bogus_flag=1"], "Beam knows no such flags: --bogus_flag=1"),
        (["--", "--runner=DirectRunner"], "use --runner=FnApiRunner"),
        (["--", "--direct_running_mode=multi_threading"], "loses elements"),
    ],
)
def test_mistakes_are_found_before_anything_starts(config, tmp_path, arguments, message, capsys):
    assert main(["run", str(config), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_configuration_that_is_not_there_names_the_shipped_ones(capsys):
    assert main(["run", "nowhere.yaml"]) == 2
    assert "demo" in capsys.readouterr().err


def test_a_file_that_is_no_mapping_is_an_error(tmp_path, capsys):
    path = tmp_path / "list.yaml"
    path.write_text("- 1\n- 2\n")
    assert main(["run", str(path)]) == 2
    assert "a mapping of sections is wanted, got list" in capsys.readouterr().err


def test_a_run_without_scenes_says_what_to_give(config, capsys):
    assert main(["run", str(config), "--set", "input.scenes=[]"]) == 2
    assert "--input GLOB" in capsys.readouterr().err


def test_a_folder_that_holds_something_else_is_refused(config, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.docx").write_text("precious")
    assert main(["run", str(config)]) == 2
    assert "is not empty and holds no run" in capsys.readouterr().err


def test_plan_says_what_would_be_done_and_writes_nothing(config, tmp_path, capsys):
    assert main(["plan", str(config), "--set", "read.core=64", "--set", "read.halo=0"]) == 0
    said = capsys.readouterr().out
    assert "windows" in said
    assert "4 " in said
    assert "about" in said
    assert not (tmp_path / "out").exists()


def test_models_lists_what_is_shipped_with_digest_and_licence(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["models"]) == 0
    said = capsys.readouterr().out
    for word in ("deblur_dsc", "vehicles_yolo", "AGPL", "recall"):
        assert word in said


def test_inspecting_shipped_weights_tells_what_they_are(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    assert main(["models", "inspect", "deblur_dsc"]) == 0
    said = capsys.readouterr().out
    card = read_card(shipped_weights()["deblur_dsc"])
    for word in (
        "a DeblurGAN-v2 mobilenet_dsc generator with F=96",
        "batch norms with running statistics: frozen or per_image",
        f"{card.parameters:,}",
        f"{card.halo_px} px",
        "kMAC/px",
        card.sha256,
    ):
        assert word in said


def test_inspecting_a_published_file_works_by_its_path(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    path = published_file(tmp_path / "fpn_mobilenet.h5")
    assert main(["models", "inspect", str(path)]) == 0
    said = capsys.readouterr().out
    for word in ("MobileNet generator with F=128", "3,312,707", "41.3 kMAC/px", "not measured"):
        assert word in said


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing.h5", "weights must be a file or one of"),
        ("page.h5", "it looks like an HTML page"),
        ("vehicles_yolo", "holds a detector"),
    ],
)
def test_inspecting_what_is_no_deblurrer_says_so_and_fails(tmp_path, capsys, name, message):
    (tmp_path / "page.h5").write_text("<!doctype html>")
    given = str(tmp_path / name) if "." in name else name
    assert main(["models", "inspect", given]) == 2
    assert message in capsys.readouterr().err


def test_replay_of_an_unknown_window_is_an_error(config, tmp_path, capsys):
    assert main(["run", str(config)]) == 0
    assert main(["replay", str(tmp_path / "out"), "scene.tif:9,9"]) == 2
    assert "plans no window 'scene.tif:9,9'" in capsys.readouterr().err
    assert main(["replay", str(tmp_path / "out"), "scene.tif:0,0"]) == 0


@pytest.mark.parametrize("target", [[], ["--precision", "0.8", "--false-per-km2", "50"]])
def test_calibrating_needs_exactly_one_target(config, target, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["calibrate", str(config), *target])
    assert stopped.value.code == 2
    assert "--false-per-km2" in capsys.readouterr().err


def test_training_needs_a_kind(tmp_path):
    path = tmp_path / "train.yaml"
    path.write_text("kind: poem\n")
    with pytest.raises(ValueError, match="kind must be 'deblurrer' or 'detector', got 'poem'"):
        train(str(path), [])


def test_shipped_weights_must_be_those_of_their_card(config, monkeypatch, capsys):
    monkeypatch.setattr("pipeline.planning.sha256", lambda path: "0" * 64)
    assert main(["run", str(config)]) == 2
    assert "is not the file of its card" in capsys.readouterr().err
