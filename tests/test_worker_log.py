"""What workers print goes to a file, and what the user should see does not."""

import os
import subprocess
import sys

from pipeline.worker_log import workers_log_to


def test_processes_log_to_the_file_and_the_stream_to_the_terminal(tmp_path, capfd):
    path = tmp_path / "log"
    with workers_log_to(path) as terminal:
        subprocess.run([sys.executable, "-c", "import os; os.write(2, b'worker')"], check=True)
        terminal.write("to the user")
    os.write(2, b" and after")
    assert path.read_text() == "worker"
    assert capfd.readouterr().err == "to the user and after"


def test_standard_error_comes_back_after_a_failure(tmp_path, capfd):
    try:
        with workers_log_to(tmp_path / "log"):
            raise KeyError("x")
    except KeyError:
        os.write(2, b"back")
    assert capfd.readouterr().err == "back"
