"""One command for all benchmarks: what is run, and what is collected."""

import sys
from pathlib import Path

import pytest

from benchmarks import performance
from benchmarks.performance import Part, parts_of, run_parts

WRITER = """
import sys
files = dict(each[2:].split("=") for each in sys.argv[1:])
open(files["json"], "w").write("{}")
open(files["markdown"], "w").write("### A table\\n")
print("said something")
"""


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Two programs: one that writes what it must, and one that fails."""
    monkeypatch.setattr(performance, "ROOT", tmp_path)
    folder = tmp_path / "benchmarks"
    folder.mkdir()
    (folder / "writer.py").write_text(WRITER)
    (folder / "broken.py").write_text("raise SystemExit(3)")
    return tmp_path / "out"


def test_every_part_is_a_program_that_is_there():
    for part in parts_of(performance._defaults()):
        path = Path(performance.__file__).with_name(f"{part.program}.py")
        assert part.program == "bench" or path.is_file(), part


def test_a_command_names_the_files_to_write(tmp_path):
    python, *rest = Part("memory", "long_run", ("--tiles=10",)).command(tmp_path)
    files = [f"--json={tmp_path}/memory.json", f"--markdown={tmp_path}/memory.md"]
    assert python == sys.executable
    assert rest == ["-m", "benchmarks.long_run", "--tiles=10", *files]
    assert Part("x", "bench", ()).command(tmp_path)[0].endswith("aerial-deblur")


def test_tables_are_collected_and_what_fails_is_named(programs):
    parts = [Part("good", "writer", ()), Part("bad", "broken", ())]
    assert run_parts(parts, programs) == ["bad"]
    assert (programs / "good.json").read_text() == "{}"
    assert "said something" in (programs / "good.log").read_text()
    page = (programs / "performance.md").read_text()
    assert page.startswith("### A table")
    assert "| bad | failed with 3 |" in page
