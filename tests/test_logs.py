"""Lines of logs: their form, and what they say they are about."""

import json
import logging
import re
from datetime import datetime

import pytest
from apache_beam.runners.worker.log_handler import FnApiLogRecordHandler
from made_rows import make_scene
from upath import UPath

from transforms.functional.windows import Rectangle
from transforms.logs import LogForm, StderrHandler, about, log_reject
from transforms.records import Rejected, Window

SCENE = make_scene()
WINDOWS = [
    Window(SCENE, core, core, None) for core in (Rectangle(col, 0, 64, 64) for col in (0, 64))
]
JSON = LogForm("json", run_id="run1", attempt="try1")
TEXT = LogForm("text", run_id="run1", attempt="try1")
REJECTED = Rejected(WINDOWS[0].key, SCENE.name, "read", "RasterioIOError", "no such block")
log = logging.getLogger("transforms.test")


def logged(form, capfd, write):
    """Return the lines that come to standard error."""
    capfd.readouterr()
    with form.installed():
        write()
    return capfd.readouterr().err.splitlines()


def objects(capfd, write):
    return [json.loads(line) for line in logged(JSON, capfd, write)]


def test_a_line_is_an_object_with_time_origin_and_run(capfd):
    [line] = objects(capfd, lambda: log.info("%d tiles of Zürich", 3))
    assert datetime.fromisoformat(line.pop("time")).utcoffset().total_seconds() == 0
    assert line.pop("process") > 0
    assert line == {
        "level": "INFO",
        "logger": "transforms.test",
        "message": "3 tiles of Zürich",
        "run_id": "run1",
        "attempt": "try1",
    }


def test_a_line_names_the_window_that_is_processed(capfd):
    def write():
        with about(WINDOWS[:1]):
            log.info("inside")
        log.info("outside")

    inside, outside = objects(capfd, write)
    assert (inside["scene"], inside["tile"]) == (SCENE.name, WINDOWS[0].key)
    assert not {"scene", "tile", "tiles"} & outside.keys()


def test_a_line_names_all_windows_of_a_batch(capfd):
    def write():
        with about(WINDOWS):
            log.info("x")

    [line] = objects(capfd, write)
    assert line["tiles"] == [window.key for window in WINDOWS]
    assert line["scene"] == SCENE.name


def test_a_reject_is_one_warning_with_its_stage_and_the_command_that_tries_it_again(capfd):
    def write():
        with about(WINDOWS):
            log_reject(REJECTED, UPath("out/night"))

    [line] = objects(capfd, write)
    assert line["level"] == "WARNING"
    assert (line["tile"], line["stage"], line["exception"]) == (
        WINDOWS[0].key,
        "read",
        "RasterioIOError",
    )
    assert line["replay"].startswith("aerial-deblur replay out/night ")
    assert "no such block" in line["message"]
    assert line["replay"] in line["message"]


def test_an_exception_stays_in_its_line(capfd):
    def write():
        try:
            raise KeyError("x")
        except KeyError:
            log.exception("failed")

    [line] = objects(capfd, write)
    assert "KeyError: 'x'" in line["exc_info"]


def test_text_has_the_same_keys_in_brackets(capfd):
    [line] = logged(TEXT, capfd, lambda: log_reject(REJECTED, UPath("out")))
    keys = dict(key.split("=", 1) for key in re.search(r"\[(.*?)\]", line)[1].split())
    assert keys.pop("process").isdigit()
    assert keys == {
        "run_id": "run1",
        "attempt": "try1",
        "scene": SCENE.name,
        "tile": WINDOWS[0].key,
        "stage": "read",
    }


def test_others_are_heard_from_warnings_up(capfd):
    other = logging.getLogger("some.library")
    lines = objects(capfd, lambda: (other.info("quiet"), other.warning("loud")))
    assert [line["message"] for line in lines] == ["loud"]


def test_what_beam_repeats_of_its_workers_is_not_written_twice(capfd):
    beam = logging.getLogger("apache_beam.runners.portability.local_job_service")
    lines = objects(capfd, lambda: (beam.error("Worker: %s", "x"), beam.error("Job failed")))
    assert [line["message"] for line in lines] == ["Job failed"]


def test_everything_is_as_before_afterwards():
    root, ours = logging.getLogger(), logging.getLogger("transforms")
    before = (root.handlers[:], root.level, ours.level)
    with JSON.installed():
        assert any(isinstance(handler, StderrHandler) for handler in root.handlers)
    assert (root.handlers, root.level, ours.level) == before


def test_who_logs_already_is_left_alone(capfd):
    with TEXT.installed():
        JSON.install()
        log.info("x")
    [line] = capfd.readouterr().err.splitlines()
    assert not line.startswith("{")


class Service(FnApiLogRecordHandler):
    """Beam's handler, without a server to talk to."""

    def __init__(self):
        logging.Handler.__init__(self)
        self.lines = []

    def emit(self, record):
        """Keep the line."""
        self.lines.append(self.format(record))


@pytest.mark.parametrize("early", [logging.StreamHandler()])
def test_a_worker_also_tells_the_service_of_logs_and_nobody_twice(capfd, monkeypatch, early):
    service = Service()
    monkeypatch.setattr(logging.getLogger(), "handlers", [early, service])
    lines = objects(capfd, lambda: log.info("x"))
    assert [line["message"] for line in lines] == ["x"]
    assert [json.loads(line)["run_id"] for line in service.lines] == ["run1"]
