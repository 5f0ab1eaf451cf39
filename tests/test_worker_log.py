"""What workers print goes to a file, and what the user should see does not."""

import ctypes
import json
import logging
import os
import signal
import subprocess
import sys

from upath import UPath

from pipeline import worker_log
from pipeline.worker_log import workers_log_to
from transforms.logs import LogForm


def test_processes_log_to_the_file_and_the_stream_to_the_terminal(tmp_path, capfd):
    path = UPath(tmp_path / "log")
    with workers_log_to(path) as terminal:
        subprocess.run([sys.executable, "-c", "import os; os.write(2, b'worker')"], check=True)
        terminal.write("to the user")
    os.write(2, b" and after")
    assert path.read_text() == "worker"
    assert capfd.readouterr().err == "to the user and after"


def test_standard_error_comes_back_after_a_failure(tmp_path, capfd):
    try:
        with workers_log_to(UPath(tmp_path / "log")):
            raise KeyError("x")
    except KeyError:
        os.write(2, b"back")
    assert capfd.readouterr().err == "back"


def test_every_line_of_a_log_in_json_is_an_object(tmp_path):
    path = UPath(tmp_path / "log")
    worker = "import os, logging; os.write(2, b'printed\\n'); logging.warning('logged')"
    with workers_log_to(path, LogForm("json", run_id="run1")):
        logging.getLogger("pipeline").info("ours")
        subprocess.run([sys.executable, "-c", worker], check=True)
        ctypes.CDLL(None).perror(b"native")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["message"].partition(":")[0] for line in lines] == [
        "ours",
        "printed",
        "logged",
        "native",
    ]
    assert {line["run_id"] for line in lines} == {"run1"}
    assert all(line["time"] and line["level"] and line["logger"] for line in lines)


def test_lines_of_workers_outlive_a_driver_that_is_killed(tmp_path):
    path = tmp_path / "log"
    driver = f"""
import os, signal, subprocess, sys
from upath import UPath
from pipeline.worker_log import workers_log_to
from transforms.logs import LogForm
worker = "import os, time; time.sleep(0.5); os.write(2, b'last words')"
with workers_log_to(UPath({str(path)!r}), LogForm("json")):
    subprocess.Popen([sys.executable, "-c", worker])
    os.kill(os.getpid(), signal.SIGKILL)
"""
    ended = subprocess.run([sys.executable, "-c", driver], capture_output=True, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert json.loads(path.read_text())["message"] == "last words"


def test_a_worker_that_does_not_end_does_not_hold_up_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(worker_log, "LAST_LINES_SECONDS", 0.01)
    with workers_log_to(UPath(tmp_path / "log"), LogForm("json")):
        worker = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert worker.poll() is None
    worker.communicate(b"\n")
