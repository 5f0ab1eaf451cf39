"""What workers print goes to a file, and what the user should see does not."""

import ctypes
import json
import logging
import os
import signal
import subprocess
import sys

import pytest
from scenes import textured, write_picture
from small_runs import configure
from upath import UPath

from pipeline import worker_log
from pipeline.run import run
from pipeline.worker_log import workers_log_to
from transforms.logs import LogForm
from transforms.parquet import read_rows
from transforms.tables import REJECTED


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


def write_damaged_scene(folder):
    """Write a scene of 2 x 2 blocks, of which the last cannot be decoded."""
    path = folder / "damaged.tif"
    blocks = {"tiled": True, "blockxsize": 128, "blockysize": 128, "compress": "deflate"}
    write_picture(path, textured(256, 256, seed=1), **blocks)
    content = bytearray(path.read_bytes())
    content[-2000:] = bytes(2000)
    path.write_bytes(content)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_warns_once_of_each_reject_with_the_command_that_tries_it_again(tmp_path, workers):
    scenes = write_damaged_scene(tmp_path).parent
    (scenes / "text.tif").write_text("no raster")
    config = configure(
        UPath(tmp_path / "run"),
        scenes / "*.tif",
        read={"core": 128, "halo": 32},
        engine={"workers": workers},
        observe={"log": "json"},
        arms={"controls": []},
        max_rejected=1.0,
    )
    assert run(config) == 0
    text = (config.output / "_workers.log").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    warned = [line for line in lines if "replay" in line]
    columns = ("key", "scene", "stage", "exception", "replay")
    rejected = read_rows(config.output, REJECTED, columns)
    told = [tuple(line[name] for name in ("tile", *columns[1:])) for line in warned]
    assert sorted(told) == sorted(tuple(row[name] for name in columns) for row in rejected)
    assert {line["stage"] for line in warned} == {"open", "read"}
    assert all(line["level"] == "WARNING" for line in warned)
    assert len({(line["run_id"], line["attempt"]) for line in lines}) == 1
    by_worker = next(line["process"] != os.getpid() for line in warned if line["stage"] == "read")
    assert by_worker == (workers > 1)
