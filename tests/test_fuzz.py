"""A little fuzzing in every run of the tests; benchmarks/fuzz.py does a lot of it.

What a case is, and what must hold for it, is said in fuzzing.py. Files of `fuzz_corpus` are of
cases that once ended otherwise.
"""

import warnings
from pathlib import Path
from random import Random

import mutations
import pytest
from fuzz_targets import TARGETS
from fuzzing import Target, Violation, judge
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

CORPUS = Path(__file__).parent / "fuzz_corpus"
BY_NAME = {target.name: target for target in TARGETS}


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


def check(target: Target, random: Random, sandbox: Path) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # GDAL, Pillow and pyogrio have much to say
        return judge(target, random, sandbox)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
@given(random=st.randoms(use_true_random=False))
@settings(
    max_examples=5,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_every_case_ends_in_a_result_or_a_refusal(target, sandbox, random):
    check(target, random, sandbox)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
@given(random=st.randoms(use_true_random=False))
@settings(max_examples=40, database=None, suppress_health_check=list(HealthCheck))
def test_more_cases_end_in_a_result_or_a_refusal(target, sandbox, random):
    check(target, random, sandbox)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_some_cases_are_read_and_some_are_not(target, sandbox):
    """Mutations that all destroy, or that none does, would test nothing."""
    ended = {check(target, Random(seed), sandbox) for seed in range(40)}
    assert len(ended) > 1


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*/*")), ids=lambda path: path.parent.name)
def test_what_was_found_once_stays_mended(path, sandbox):
    target = BY_NAME[path.parent.name.replace("_", " ")]

    def copied(_: Random, folder: Path) -> Path:
        copy = folder / path.name
        copy.write_bytes(path.read_bytes())
        return copy

    check(Target(target.name, copied, target.use, target.speaks), Random(0), sandbox)


# The judge itself


def judged(use, sandbox, seconds=100) -> str:
    def write(_: Random, folder: Path) -> Path:
        (folder / "a.txt").write_text("a")
        return folder / "a.txt"

    return judge(Target("a", write, use), Random(0), sandbox, seconds=seconds)


def outside(path: Path) -> str:
    (path.parents[1] / "cwd" / "b.txt").write_text("b")
    return "read"


def elsewhere(path: Path) -> str:
    with open(path.parents[2] / "b.txt", "w") as file:
        file.write("b")
    return "read"


def network(_: Path) -> str:
    import socket

    socket.create_connection(("example.org", 80))
    return "read"


def native_network(_: Path) -> str:
    import rasterio

    with rasterio.Env(GDAL_HTTP_TIMEOUT=2, GDAL_HTTP_MAX_RETRY=0):
        rasterio.open("/vsicurl/http://example.org/a.tif")
    return "read"


def endless(_: Path) -> str:
    while True:
        pass


def nameless(_: Path) -> str:
    raise ValueError("something is wrong")


@pytest.mark.parametrize(
    ("use", "why"),
    [
        (outside, "outside of the case"),
        (elsewhere, "opened for writing"),
        (network, "a connection was wanted"),
        (native_network, "over the network"),
        (nameless, "names no file"),
    ],
)
def test_the_judge_sees_what_must_not_happen(use, why, tmp_path):
    with pytest.raises(Violation, match=why):
        judged(use, tmp_path / "sandbox")


def test_the_judge_waits_no_longer_than_it_was_told(tmp_path):
    with pytest.raises(Violation, match="takes more than 1 s"):
        judged(endless, tmp_path / "sandbox", seconds=1)


def test_the_judge_lets_other_errors_through(tmp_path):
    with pytest.raises(KeyError):
        judged(lambda path: {}[path], tmp_path / "sandbox")


def test_the_judge_takes_a_clear_refusal(tmp_path):
    def refuse(path: Path) -> str:
        raise ValueError(f"{path} is nothing")

    assert judged(refuse, tmp_path / "sandbox") == "refused"


@pytest.mark.parametrize(
    ("mutate", "content"),
    [
        (mutations.tiff, b"II*\0"),
        (mutations.jpeg, b""),
        (mutations.jpeg, b"\xff\xd8\xff\xe0"),
        (mutations.xml, b""),
        (mutations.text, b""),
        (mutations.scramble, b""),
    ],
)
def test_mutations_take_what_is_not_of_their_format(mutate, content):
    for seed in range(50):
        assert isinstance(mutate(Random(seed), content), bytes)
