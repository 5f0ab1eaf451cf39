"""What Prometheus is told: by a file, by a push, and what an operator is alarmed of."""

import re
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from upath import UPath

from configs.operations import ObserveConfig
from pipeline import manifest, prometheus
from pipeline.prometheus import describe_run, report_run
from transforms.parquet import read_rows
from transforms.tables import SUMMARY

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples" / "prometheus"
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool is not installed (Debian's package prometheus)"
)
LATER = "2100-01-01T02:00:00+00:00"


@pytest.fixture
def run(finished):
    return manifest.read(UPath(finished))


@pytest.fixture
def file(tmp_path):
    return tmp_path / "textfile" / "aerial_deblur.prom"


def report(file, output, run):
    return report_run(ObserveConfig(prometheus=file), UPath(output), run)


def broken(run):
    """Return what run.json says of a run that broke down."""
    unknown = {"counts": None, "metrics": None, "stage_seconds": {}, "mpix": 0.0}
    return {**run, **unknown, "state": "failed", "exit_code": 1, "finished": LATER}


def samples(text):
    """Return the values of a text, by name and labels but `settings`."""
    return {
        (sample.name.removeprefix("aerial_deblur_"), *sorted(labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if (labels := {k: v for k, v in sample.labels.items() if k != "settings"}) is not None
    }


def test_the_file_says_what_run_json_and_the_tables_say(finished, run, file):
    assert report(file, finished, run) == []
    found = samples(file.read_text())
    assert found["exit_code",] == 0
    assert found["windows", ("status", "measured")] == run["counts"]["measured"]
    assert found["windows", ("status", "rejected")] == 0
    assert found["rejects", ("stage", "read")] == 0
    assert found["pixels",] == run["mpix"] * 1e6
    assert found["stage_seconds", ("stage", "deblur")] == run["stage_seconds"]["deblur"]
    assert found["device_pictures", ("device", "cpu")] > 0
    assert found["success_timestamp_seconds",] == found["finished_timestamp_seconds",]
    assert not any(name.startswith("gpu_busy") for name, *_ in found)
    [gain] = [
        row
        for row in read_rows(UPath(finished), SUMMARY)
        if (row["stratum"], row["arm"], row["metric"]) == ("all", "after", "recall_gain")
    ]
    assert found["recall_gain",] == gain["value"]
    assert found.get(("recall_gain_low",)) == gain["low"]


def test_every_sample_names_its_settings(finished, run, file):
    report(file, finished, run)
    families = list(text_string_to_metric_families(file.read_text()))
    assert families
    for family in families:
        assert family.type == "gauge"
        assert family.documentation
        assert all(s.labels["settings"] == run["settings_id"] for s in family.samples)


def test_without_truth_nobody_speaks_of_recall_or_gain(unjudged, file):
    report(file, unjudged, manifest.read(UPath(unjudged)))
    text = file.read_text()
    assert "aerial_deblur_windows" in text
    assert not re.search("recall|gain|precision", text)


def test_after_a_failure_the_last_success_is_still_known(finished, run, file):
    report(file, finished, run)
    before = samples(file.read_text())
    report(file, finished, broken(run))
    after = samples(file.read_text())
    assert after["exit_code",] == 1
    assert after["finished_timestamp_seconds",] > before["finished_timestamp_seconds",]
    for name in ("success_timestamp_seconds", "recall_gain", "pixels"):
        assert after[name,] == before[name,]


def test_a_first_run_that_fails_has_no_success(finished, run, file):
    report(file, finished, broken(run))
    names = {name for name, *_ in samples(file.read_text())}
    assert "exit_code" in names
    assert not {"success_timestamp_seconds", "recall", "windows"} & names


def test_a_success_replaces_all_that_was_told_before(finished, run, file):
    file.parent.mkdir()
    file.write_text("# TYPE aerial_deblur_old gauge\naerial_deblur_old 1\n")
    report(file, finished, run)
    assert "aerial_deblur_old" not in file.read_text()


@pytest.mark.parametrize(
    "damaged", ["aerial_deblur_exit_code{ 1", 'aerial_deblur_exit_code{settings="a", =""} 1\n']
)
def test_a_damaged_file_is_replaced(finished, run, file, damaged):
    file.parent.mkdir()
    file.write_text(damaged)
    assert report(file, finished, broken(run)) == []
    assert samples(file.read_text())["exit_code",] == 1


def test_a_file_that_cannot_be_written_is_a_warning_and_stays_as_it_was(finished, run, tmp_path):
    file = tmp_path / "folder.prom"
    (file / "x").mkdir(parents=True)
    [problem] = report(file, finished, run)
    assert str(file) in problem
    assert [path.name for path in tmp_path.iterdir()] == ["folder.prom"]


def test_a_file_that_the_collector_would_ignore_is_refused():
    with pytest.raises(ValueError, match=r"NAME\.prom"):
        ObserveConfig(prometheus="metrics.txt")


@pytest.mark.parametrize("name", ["prometheus", "lineage"])
def test_a_local_file_is_no_url(name):
    with pytest.raises(ValueError, match=r"local file, got s3://maps/told\.prom"):
        ObserveConfig(**{name: "s3://maps/told.prom"})


@pytest.mark.parametrize("url", ["gateway:9091", "http://", "http://[::1", "http://gateway:port"])
def test_a_gateway_that_is_no_address_is_refused(url):
    with pytest.raises(ValueError, match="pushgateway must be a URL"):
        ObserveConfig(pushgateway=url)


def test_tables_that_cannot_be_read_are_a_warning(run, file, tmp_path):
    (tmp_path / "summary").mkdir()
    (tmp_path / "summary" / "part-0.parquet").write_bytes(b"PAR1 and no more")
    [problem] = report(file, tmp_path, run)
    assert "tables of the run cannot be read" in problem


def test_nothing_is_read_if_nobody_wants_to_know(run):
    assert report_run(ObserveConfig(), UPath("/nonexistent"), run) == []


@pytest.fixture
def gateway():
    """A push gateway that answers as it is told, and remembers what it was told."""

    class Gateway(BaseHTTPRequestHandler):
        def do_PUT(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.server.pushed.append((self.command, self.path, body.decode()))
            self.server.answer.wait(5)
            self.send_response(self.server.status)
            self.end_headers()

        do_POST = do_PUT  # noqa: N815

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Gateway) as server:
        server.pushed, server.status, server.answer = [], 200, threading.Event()
        server.answer.set()
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        server.url = f"http://127.0.0.1:{server.server_port}"
        yield server
        server.answer.set()
        server.shutdown()
        thread.join()


def push(server, output, run):
    return report_run(ObserveConfig(pushgateway=server.url), UPath(output), run)


def test_a_gateway_gets_all_of_a_success_and_of_a_failure_what_is_known(gateway, finished, run):
    assert push(gateway, finished, run) == []
    assert push(gateway, finished, broken(run)) == []
    (first, path, told), (second, same_path, failure) = gateway.pushed
    assert (first, second) == ("PUT", "POST")
    assert path == same_path == f"/metrics/job/aerial_deblur/instance/{run['settings_id']}"
    families = describe_run(UPath(finished), run)
    assert {f.name for f in text_string_to_metric_families(told)} == {f.name for f in families}
    assert samples(failure)["exit_code",] == 1
    assert ("success_timestamp_seconds",) not in samples(failure)


def test_a_gateway_that_refuses_is_a_warning(gateway, finished, run):
    gateway.status = 500
    [problem] = push(gateway, finished, run)
    assert gateway.url in problem
    assert "500" in problem


def test_a_gateway_that_is_silent_is_a_warning(gateway, finished, run, monkeypatch):
    monkeypatch.setattr(prometheus, "PUSH_SECONDS", 0.05)
    gateway.answer.clear()
    [problem] = push(gateway, finished, run)
    assert "timed out" in problem


def test_a_gateway_that_is_not_there_is_a_warning_and_the_file_is_written(finished, run, file):
    observe = ObserveConfig(prometheus=file, pushgateway="http://127.0.0.1:9")
    [problem] = report_run(observe, UPath(finished), run)
    assert "push gateway" in problem
    assert file.is_file()


def gpu_run(run):
    """Return what run.json would say, had a GPU computed."""
    metrics = {**run["metrics"], "gpu_busy": {"seconds": 9.0, "share": 0.5}}
    return {**run, "metrics": metrics}


def test_alerts_ask_for_what_runs_tell(finished, run):
    told = {f.name for f in describe_run(UPath(finished), gpu_run(run))}
    # The fixture has too few tiles for an interval, and nothing was resumed.
    told |= {"aerial_deblur_recall_gain_low", "aerial_deblur_resumed_windows"}
    rules = yaml.safe_load((EXAMPLES / "alerts.yaml").read_text())["groups"][0]["rules"]
    asked = {name for rule in rules for name in re.findall(r"aerial_deblur_\w+", rule["expr"])}
    assert asked
    assert asked <= told


def test_docs_name_every_number(finished, run):
    text = (ROOT / "docs" / "observability.md").read_text()
    told = {f.name for f in describe_run(UPath(finished), gpu_run(run))}
    assert [
        name for name in sorted(told) if f"`{name.removeprefix('aerial_deblur_')}" not in text
    ] == []


@needs_promtool
@pytest.mark.parametrize("ended", ["well", "badly"])
def test_promtool_finds_no_fault_in_the_file(finished, run, file, ended):
    report(file, finished, run if ended == "well" else broken(run))
    with file.open() as lines:
        checked = subprocess.run(
            [PROMTOOL, "check", "metrics"], stdin=lines, capture_output=True, text=True, check=False
        )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


@needs_promtool
@pytest.mark.parametrize(("what", "name"), [("check", "alerts.yaml"), ("test", "alerts_test.yaml")])
def test_promtool_understands_the_alerts_and_they_fire_when_they_should(what, name):
    command = [PROMTOOL, what, "rules", name]
    checked = subprocess.run(command, cwd=EXAMPLES, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
