"""Isolated reading: the pixels, errors and counts of reading here; a bad file costs only itself."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from injected import inject
from rasterio.errors import RasterioError
from scenes import textured, write_picture, write_scene
from stores import Store

from configs.operations import EngineConfig
from configs.schema import InputConfig, PercentileStretch, ReadConfig, RunConfig, Stretch
from transforms.decoder import DecoderError, DecoderTimeout
from transforms.functional.windows import Rectangle
from transforms.isolated import MOST_FAULTS, IsolatedReader, open_reader
from transforms.network_use import take_network_use
from transforms.read import read_tile
from transforms.records import Rejected, Scene, Tile
from transforms.scene_reader import SceneReader
from transforms.scenes import plan_scenes, plan_windows

READ = ReadConfig(core=64, halo=32)
PLACE = Rectangle(10, 20, 90, 70)
HERE = EngineConfig(read_seconds=None)


def plan(scenes: Path, *, engine: EngineConfig = HERE, **read: object) -> list[Scene]:
    """Return the scenes of a glob, opened in this process unless another engine is given."""
    config = RunConfig(
        input=InputConfig(scenes=(str(scenes),)), read=ReadConfig(**read), engine=engine
    )
    found, rejected = plan_scenes(config)
    assert not rejected
    return found


@pytest.fixture
def three(tmp_path: Path) -> list[Scene]:
    """Three scenes of 2 x 2 windows."""
    for seed, name in enumerate(["a.tif", "b.tif", "c.tif"]):
        write_picture(tmp_path / name, textured(128, 128, seed=seed))
    return plan(tmp_path / "*.tif")


@pytest.fixture(scope="module")
def isolated() -> Iterator[IsolatedReader]:
    with closing(IsolatedReader(InputConfig(), 60)) as reader:
        yield reader


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch):
    """Return what puts faults into processes that are started from now on."""

    def put(*faults: dict[str, object]) -> None:
        for name, value in inject(*faults).items():
            monkeypatch.setenv(name, value)

    return put


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_pixels_are_those_of_reading_here(
    tmp_path: Path, isolated: IsolatedReader, dtype: str
) -> None:
    bands = textured(150, 200, seed=7).transpose(2, 0, 1).astype(dtype)
    bands[:, 30:60] = 0
    write_scene(tmp_path / "a.tif", bands, nodata=0)
    stretch = None if dtype == "uint8" else Stretch(low=0, high=300)
    [scene] = plan(tmp_path / "a.tif", stretch=stretch)
    with closing(SceneReader(InputConfig())) as here:
        for name in ("read", "read_native"):
            got = getattr(isolated, name)(scene, PLACE)
            for mine, theirs in zip(got, getattr(here, name)(scene, PLACE), strict=True):
                assert (mine.dtype, mine.shape) == (theirs.dtype, theirs.shape)
                assert np.array_equal(mine, theirs)
        [window, *_] = plan_windows(scene, READ)
        assert np.array_equal(isolated.read_window(window)[0], here.read_window(window)[0])
        assert isolated.nodata(scene) == here.nodata(scene) == 0


def test_faults_of_files_are_those_of_reading_here(
    tmp_path: Path, isolated: IsolatedReader
) -> None:
    write_picture(tmp_path / "short.tif", textured(128, 128, seed=1), compress=None)
    write_picture(tmp_path / "gone.tif", textured(128, 128, seed=1))
    short, gone = plan(tmp_path / "*.tif")[::-1]
    content = (tmp_path / "short.tif").read_bytes()
    (tmp_path / "short.tif").write_bytes(content[:30_000] + bytes(0))
    (tmp_path / "gone.tif").unlink()
    unstamped = Scene(**vars(short) | {"size": None, "version": None})
    with closing(SceneReader(InputConfig())) as here:
        for scene, kinds in [(short, ValueError), (gone, OSError), (unstamped, RasterioError)]:
            windows = list(plan_windows(scene, READ))
            mine, theirs = (
                [read_tile(window, reader, None, READ) for window in windows]
                for reader in (isolated, here)
            )
            assert [r for r in mine if isinstance(r, Rejected)] == [
                r for r in theirs if isinstance(r, Rejected)
            ]
            with pytest.raises(kinds):
                isolated.read_window(windows[-1])


def test_what_is_read_over_the_network_is_counted(store: Store, tmp_path: Path) -> None:
    url = store.put("a.tif", write_picture(tmp_path / "a.tif", textured(500, 500, seed=1)))
    [scene] = plan(url)
    uses = []
    for seconds in (None, 60.0):
        take_network_use()
        store.take_requests()
        with closing(open_reader(InputConfig(), seconds)) as reader:
            reader.read(scene, Rectangle(0, 0, 100, 100))
            reader.read(scene, Rectangle(300, 300, 100, 100))
        use = take_network_use()
        assert use.bytes == sum(one.sent for one in store.take_requests()) > 0
        uses.append(use)
    assert uses[0] == uses[1]


def test_a_crash_costs_the_window_that_was_read(three: list[Scene], faults) -> None:
    faults({"kind": "segfault", "where": "read", "match": "b.tif:32,0"})
    windows = [window for scene in three for window in plan_windows(scene, READ)]
    with closing(IsolatedReader(InputConfig(), 60)) as reader:
        tiles = [read_tile(window, reader, None, READ) for window in windows]
    lost = [tile for tile in tiles if not isinstance(tile, Tile)]
    assert [(each.key, each.stage, each.exception) for each in lost] == [
        ("b.tif:64,0", "read", "DecoderCrash")
    ]
    assert lost[0].message.startswith("the decoder was ended by SIGSEGV. Copy the file again")


def test_a_file_that_stops_its_decoder_is_given_up(three: list[Scene], faults) -> None:
    faults({"kind": "hang", "where": "read", "match": "b.tif"})
    with closing(IsolatedReader(InputConfig(), 1.0)) as reader:
        errors = []
        for place in [PLACE] * (MOST_FAULTS + 2):
            with pytest.raises(DecoderError) as caught:
                reader.read(three[1], place)
            errors.append(caught.value)
            assert reader.read(three[0], place)[1].all()  # its neighbours are read
    assert [type(error) for error in errors] == [DecoderTimeout] * MOST_FAULTS + [DecoderError] * 2
    assert "no answer within 1 s" in str(errors[0])
    assert "b.tif has ended or stopped its decoder 3 times and is not tried again" in str(errors[3])


def test_a_passing_crash_costs_nothing(three: list[Scene], faults, tmp_path: Path) -> None:
    marker = tmp_path / "once"
    faults({"kind": "kill_worker", "where": "read", "times": 1, "marker": str(marker)})
    with closing(IsolatedReader(InputConfig(), 60)) as reader:
        assert reader.read(three[0], PLACE)[1].all()
    assert Path(f"{marker}.0").exists()


def test_headers_are_those_of_opening_here(tmp_path: Path) -> None:
    for number in range(40):  # more than one process opens
        path = tmp_path / f"{number:02}.tif"
        if number % 7 == 3:
            path.write_bytes(b"no picture")
        else:
            write_scene(path, textured(64, 64 + number, seed=number).transpose(2, 0, 1))
    given = {"input": InputConfig(scenes=(f"{tmp_path}/*.tif", f"{tmp_path}/none.tif"))}
    read = ReadConfig(stretch=PercentileStretch(percentiles=(2, 98)))
    here, there = (
        plan_scenes(RunConfig(**given, read=read, engine=engine))
        for engine in (HERE, EngineConfig())
    )
    assert here == there
    assert [len(each) for each in here] == [34, 7]


@pytest.mark.parametrize(
    ("kind", "seconds", "exception", "message"),
    [
        ("segfault", 60, "DecoderCrash", "the decoder was ended by SIGSEGV"),
        ("hang", 1, "DecoderTimeout", "the decoder gave no answer within 1 s"),
    ],
)
def test_a_header_that_kills_or_stops_costs_its_scene(
    three: list[Scene], tmp_path: Path, faults, kind: str, seconds: float, exception: str, message
) -> None:
    faults({"kind": kind, "where": "open", "match": "b.tif"})
    given = InputConfig(scenes=(f"{tmp_path}/*.tif",))
    engine = EngineConfig(read_seconds=seconds)
    scenes, [rejected] = plan_scenes(RunConfig(input=given, engine=engine))
    assert scenes == [three[0], three[2]]
    assert (rejected.key, rejected.stage, rejected.exception) == ("b.tif", "open", exception)
    assert f"its header cannot be read: {message}. Copy the file again" in rejected.message
