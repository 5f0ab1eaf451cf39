"""Settings and fixtures shared by all tests."""

import gc
import logging
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from transforms.logs import StderrHandler

if TYPE_CHECKING:
    from stores import Store

# Laws are about values: how long an example takes on a busy machine is no fault.
settings.register_profile("facts", deadline=None, max_examples=50)
settings.load_profile("facts")

# Several test processes share the machine; results do not depend on the number of threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# What is fastest is measured; what tests compare must not depend on that.
os.environ.setdefault("AERIAL_DEBLUR_BACKEND", "torch")


# Beam leaves threads of gRPC's behind that watch the channels to a job server, and cry out when the
# server is gone: during whichever test comes next.
CLOSED_CHANNELS = (
    "ignore:(?s)Exception in thread.*Channel closed:pytest.PytestUnhandledThreadExceptionWarning",
    "ignore:Exception in thread read_grpc_client:pytest.PytestUnhandledThreadExceptionWarning",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let no test fail for what an engine of an earlier one has left behind."""
    for item in items:
        for closed in CLOSED_CHANNELS:
            item.add_marker(pytest.mark.filterwarnings(closed))


@pytest.fixture(scope="session", autouse=True)
def objects_are_let_go_at_the_end() -> Iterator[None]:
    """Commands keep what they import for ever; libraries imported before would then cry out."""
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def logs_as_at_start() -> None:
    """Let warnings be seen, and once.

    The command line silences them, and workers within this process install a handler, each for the
    whole process.
    """
    root = logging.getLogger()
    root.setLevel(logging.WARNING)
    root.handlers[:] = [each for each in root.handlers if not isinstance(each, StderrHandler)]


@pytest.fixture(scope="session")
def rendered_scene(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A rendered scene of 640 x 640 pixels as COG, and its labels as GeoJSON."""
    from pipeline.demo import write_demo_scene

    return write_demo_scene(tmp_path_factory.mktemp("rendered"), seed=3, size=640)


@pytest.fixture(scope="session")
def store_server() -> Iterator[str]:
    """Return the address of an S3-protocol server."""
    from stores import running_server

    with running_server() as endpoint:
        yield endpoint


@pytest.fixture
def store(store_server: str, request: pytest.FixtureRequest) -> Iterator["Store"]:
    """Return an empty bucket, with server and credentials in the environment."""
    from stores import store_in_environment

    number = zlib.crc32(request.node.nodeid.encode())
    with store_in_environment(store_server, f"maps-{number}") as store:
        yield store


@pytest.fixture(scope="session")
def one_code_version() -> Iterator[None]:
    """Let a run stay the same run, though other people commit while tests run."""
    from pipeline import identity

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(identity, "code_version", lambda: "0.1.0")
        yield


@pytest.fixture(scope="session")
def finished(
    tmp_path_factory: pytest.TempPathFactory,
    rendered_scene: tuple[Path, Path],
    one_code_version: None,
) -> Path:
    """A finished run with labels, on a scene blurred by us."""
    from small_runs import configure

    from pipeline.run import run

    scene, labels = rendered_scene
    output = tmp_path_factory.mktemp("finished") / "run"
    blur = {"blur": {"lengths": [9], "angles": [30]}}
    assert run(configure(output, scene, labels, read=blur, measure={"stability": 0.3})) == 0
    return output


@pytest.fixture(scope="session")
def unjudged(tmp_path_factory: pytest.TempPathFactory, one_code_version: None) -> Path:
    """A finished run without truth: half of the tiles have controls, and sharp ones are skipped."""
    from small_runs import configure, write_half_blurred

    from pipeline.run import run

    folder = tmp_path_factory.mktemp("unjudged")
    sections = {
        "read": {"core": 192},
        "deblur": {"skip": {"below": 8, "audit": 0.5}},
        "arms": {"control_rate": 0.5},
        "measure": {"stability": 0.5},
    }
    scene = write_half_blurred(folder / "half.tif")
    assert run(configure(folder / "run", scene, **sections)) == 0
    return folder / "run"
