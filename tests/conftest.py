"""Settings and fixtures shared by all tests."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Laws are about values: how long an example takes on a busy machine is no fault.
settings.register_profile("facts", deadline=None, max_examples=50)
settings.load_profile("facts")

# Several test processes share the machine; results do not depend on the number of threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def rendered_scene(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A rendered scene of 640 x 640 pixels as COG, and its labels as GeoJSON."""
    from pipeline.demo import write_demo_scene

    return write_demo_scene(tmp_path_factory.mktemp("rendered"), seed=3, size=640)
