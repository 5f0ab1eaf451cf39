"""The calibrated threshold is that of the main job's own table, and the config survives it."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from scenes import textured

from configs.load import load_yaml, override, validate
from configs.schema import RunConfig
from pipeline.calibrate import choose, provenance
from pipeline.cli import main
from pipeline.direct import Networks, run_direct
from pipeline.planning import plan_run
from pipeline.sharp_set import SharpSet, search
from transforms.functional.operating_point import Outcomes, Target
from transforms.outcomes import UnattainedError, choose_threshold, collect_outcomes, estimate
from transforms.parquet import read_rows
from transforms.reconcile import reconcile
from transforms.tables import DETECTIONS, SUMMARY

PRECISION = Target("precision", 0.9)
TEXT = """\
# Why this set: it is rendered.
input:
  scenes: [{scene}]
  labels: {labels}
  label_classes: {{car: vehicle, van: vehicle, truck: vehicle, bus: vehicle}}
read: {{core: 128, halo: 64}}   # 25 windows
arms: {{controls: []}}
detect:
  score_threshold: 0.3   # a guess
measure: {{interval: {{replicates: 100}}}}
output: {output}
"""


@pytest.fixture
def config_file(tmp_path, rendered_scene) -> Path:
    """The path of a config with comments, for the rendered scene and its labels."""
    scene, labels = rendered_scene
    path = tmp_path / "run.yaml"
    path.write_text(TEXT.format(scene=scene, labels=labels, output=tmp_path / "out"))
    return path


def load(path: Path, *changes: str) -> RunConfig:
    return validate(RunConfig, override(load_yaml(path), changes), source=str(path))


def search_all(config: RunConfig) -> tuple[SharpSet, list]:
    sharp = SharpSet.open(config)
    return sharp, reconcile(list(search(sharp, sharp.windows)), sharp.ruler.border)


def run_main_job(config: RunConfig) -> Path:
    """Run the main job; return its output."""
    config.output.mkdir(parents=True)
    plan = plan_run(config)
    run_direct(plan, Networks.of(plan))
    return config.output


@pytest.mark.slow
def test_the_threshold_is_the_lowest_in_the_main_jobs_table(config_file):
    config = load(config_file, "detect.score_threshold=0.01")
    sharp, rows = search_all(config)
    threshold, _ = choose(sharp, rows, PRECISION)
    table = read_rows(run_main_job(config), DETECTIONS)
    met = [(row["score"], row["outcome"]) for row in table if row["arm"] == "before"]
    reached = []
    for candidate in {score for score, _ in met}:
        kept = [outcome for score, outcome in met if score >= candidate]
        found, false = kept.count("found"), kept.count("false")
        if found + false and found / (found + false) >= PRECISION.value:
            reached.append(candidate)
    assert {score for score, _ in met if score >= threshold} == {
        score for score, _ in met if score >= min(reached)
    }
    assert threshold <= min(reached)


@pytest.mark.slow
def test_the_main_job_measures_at_the_threshold_what_was_promised(config_file):
    assert (
        main(["calibrate", str(config_file), "--precision", "0.9", "--write", str(config_file)])
        == 0
    )
    config = load(config_file)
    sharp, rows = search_all(config)
    threshold, promised = choose(sharp, rows, PRECISION)
    assert config.detect.score_threshold == threshold
    measured = {
        row["metric"]: row
        for row in read_rows(run_main_job(config), SUMMARY)
        if (row["stratum"], row["arm"]) == ("all", "before")
    }
    for name in ("recall", "precision", "false_per_km2"):
        assert promised[name].value == pytest.approx(measured[name]["value"], rel=1e-12)
        assert promised[name].n == measured[name]["n"]
        assert promised[name].clusters == measured[name]["clusters"]
        assert promised[name].interval.low == pytest.approx(measured[name]["low"], rel=1e-9)
    assert promised["precision"].value >= 0.9
    # That of a run is read from bins of the score.
    assert promised["average_precision"].value == pytest.approx(measured["ap50"]["value"], abs=2e-3)


def test_writing_changes_one_number_and_says_where_it_comes_from(config_file):
    before = config_file.read_text()
    command = ["calibrate", str(config_file), "--precision", "0.9", "--write", str(config_file)]
    assert main(command) == 0
    once = config_file.read_text()
    sharp = SharpSet.open(load(config_file))
    threshold = load(config_file).detect.score_threshold
    assert once == before.replace(
        "  score_threshold: 0.3 ",
        f"  # {provenance(PRECISION, sharp)}\n  score_threshold: {threshold} ",
    )
    assert main(command) == 0
    assert config_file.read_text() == once


def test_without_a_file_the_lines_to_set_are_printed(config_file, capsys):
    before = config_file.read_text()
    assert main(["calibrate", str(config_file), "--false-per-km2", "100"]) == 0
    assert config_file.read_text() == before
    lines = capsys.readouterr().out.splitlines()[-2:]
    assert lines[0].startswith("# calibrated: false_per_km2 <= 100 of vehicles_yolo 4488b3136f5a")
    threshold = yaml.safe_load("\n".join(lines))["detect"]["score_threshold"]
    sharp, rows = search_all(load(config_file))
    chosen, numbers = choose(sharp, rows, Target("false_per_km2", 100))
    assert threshold == chosen
    assert numbers["false_per_km2"].value <= 100


def test_a_synthetic_blur_and_the_threshold_of_the_config_have_no_say(config_file, capsys):
    assert main(["calibrate", str(config_file), "--precision", "0.9"]) == 0
    plain = capsys.readouterr().out
    changes = ["--set", "read.blur={lengths: [9]}", "--set", "detect.score_threshold=0.9"]
    assert main(["calibrate", str(config_file), "--precision", "0.9", *changes]) == 0
    said = capsys.readouterr()
    assert said.out == plain
    assert "read.blur is left out" in said.err


def test_a_target_that_all_detections_attain_asks_for_a_lower_floor(config_file, capsys):
    floor = ["--set", "detect.score_floor=0.25"]
    assert main(["calibrate", str(config_file), "--precision", "0.5", *floor]) == 0
    assert "with a lower detect.score_floor" in capsys.readouterr().err


def test_the_order_of_windows_is_of_no_matter(config_file):
    sharp, rows = search_all(load(config_file))
    backwards = reconcile(list(search(sharp, sharp.windows[::-1])), sharp.ruler.border)
    (a, of_a), (b, of_b) = (choose(sharp, each, PRECISION) for each in (rows, backwards))
    assert a == b
    assert {**of_a, "average_precision": None} == {**of_b, "average_precision": None}


def test_outcomes_are_counted_by_the_cluster_of_their_tile(config_file):
    sharp, rows = search_all(load(config_file))
    outcomes, names = collect_outcomes(rows, sharp.clusters, arm="before", classes=1)
    assert list(names) == sorted({sharp.clusters.name(window) for window in sharp.windows})
    for number, name in enumerate(names):
        mine = [row for row in rows if sharp.clusters.name(row.window) == name]
        seen = [row.arm("before").sightings for row in mine]
        claimed = sum(int(each.claimed.sum()) for each in seen)
        assert (outcomes.clusters == number).sum() == claimed
        assert outcomes.labels[number].sum() == sum(int(row.owned.sum()) for row in mine)
    # 640 px of 0.15 m a side; the ellipsoid differs from the map's plane by a few 1e-4.
    assert outcomes.km2.sum() == pytest.approx((640 * 0.15 / 1000) ** 2, rel=2e-3)


def test_the_digest_of_a_set_depends_on_its_content_and_not_on_its_place(config_file, tmp_path):
    config = load(config_file)
    known = SharpSet.open(config).digest
    scene, labels = Path(config.input.scenes[0]), config.input.labels
    (tmp_path / "moved").mkdir()
    moved = [Path(shutil.copy(path, tmp_path / "moved")) for path in (scene, labels)]
    elsewhere = config.input.model_copy(update={"scenes": (str(moved[0]),), "labels": moved[1]})
    config = config.model_copy(update={"input": elsewhere})
    assert SharpSet.open(config).digest == known
    moved[1].write_text(moved[1].read_text() + "\n")
    assert SharpSet.open(config).digest != known


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "input.labels=null"], "labels are needed"),
        (["--precision", "1.5"], "precision must be in (0, 1], got 1.5"),
        (["--set", "detect.device=cuda:7"], "cuda:7"),
        (["--write", "nowhere.yaml"], "nowhere.yaml: cannot be read"),
        (["--", "--runner=FnApiRunner"], "takes no Beam flags"),
    ],
)
def test_mistakes_are_found_before_a_window_is_read(config_file, arguments, message, capsys):
    given = [] if "--precision" in arguments else ["--precision", "0.9"]
    assert main(["calibrate", str(config_file), *given, *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "windows" not in said


def test_a_file_that_could_not_be_written_is_refused_before_a_window_is_read(
    config_file, tmp_path, capsys
):
    other = tmp_path / "other.yaml"
    other.write_text("detect: {score_treshold: 0.5}\n")
    command = ["calibrate", str(config_file), "--precision", "0.9", "--write", str(other)]
    assert main(command) == 2
    said = capsys.readouterr().err
    assert "score_treshold: unknown key" in said
    assert "windows" not in said


def test_false_detections_per_ground_need_the_ground(tmp_path, capsys):
    scene = tmp_path / "plain.png"
    assert cv2.imwrite(str(scene), textured(96, 96, seed=1))
    (tmp_path / "plain.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    command = ["--input", str(scene), "--labels", str(tmp_path), "--false-per-km2", "50"]
    names = ["--set", "input.label_names=[vehicle]"]
    path = tmp_path / "run.yaml"
    path.write_text("{}\n")
    assert main(["calibrate", str(path), *command, *names]) == 2
    assert "plain.png has no CRS: give input.gsd" in capsys.readouterr().err
    assert main(["calibrate", str(path), *command, *names, "--set", "input.gsd=0.1"]) == 2
    assert "no threshold gives a false_per_km2 of at most 50" in capsys.readouterr().err


def test_a_set_of_which_too_much_is_rejected_gives_no_threshold(config_file, tmp_path, capsys):
    broken = tmp_path / "broken.tif"
    broken.write_bytes(b"no picture")
    [scene] = load(config_file).input.scenes
    command = ["--precision", "0.9", "--write", str(config_file), "--input", scene, str(broken)]
    before = config_file.read_text()
    assert main(["calibrate", str(config_file), *command]) == 3
    assert "broken.tif rejected at open" in capsys.readouterr().err
    assert config_file.read_text() == before


def made(scores: list[float], found: list[bool], labels: int) -> Outcomes:
    """Return outcomes of one class in one cluster."""
    n = len(scores)
    met = np.array(found, bool)
    classes, clusters = np.zeros(n, np.int32), np.zeros(n, np.int64)
    labelled = np.array([[labels]], np.int64)
    return Outcomes(np.array(scores, np.float32), met, ~met, classes, clusters, labelled, None)


@pytest.mark.parametrize(
    ("outcomes", "message"),
    [
        (
            made([0.5, 0.25], [False, True], 3),
            r"precision of at least 0.9: the best is 0.5, at 0.25",
        ),
        (made([], [], 3), "nothing was detected"),
    ],
)
def test_a_target_that_is_never_attained_tells_the_best(outcomes, message):
    with pytest.raises(UnattainedError, match=message):
        choose_threshold(outcomes, PRECISION, floor=0.01)


def test_without_a_label_nothing_is_chosen():
    with pytest.raises(ValueError, match="no label that counts"):
        choose_threshold(made([0.5], [False], 0), PRECISION, floor=0.01)


def test_few_clusters_give_no_interval():
    outcomes = made([0.5, 0.75], [True, True], 2)
    config = RunConfig().measure.interval
    numbers = estimate(outcomes, ["only"], threshold=0.5, target=PRECISION, config=config)
    assert {name: number.interval for name, number in numbers.items()} == dict.fromkeys(numbers)
    assert "false_per_km2" not in numbers
    assert numbers["recall"].value == 1
