"""Runs that go on: only what is missing is done, and the result is that of one quiet run."""

import os

import pytest
import rasterio
from rasterio.shutil import copy
from scenes import textured, write_picture
from small_runs import configure, tables
from stub_networks import STUBS, keep, use_stubs
from upath import UPath

import pipeline.run
import transforms.assembler
from pipeline import manifest
from pipeline.errors import BrokenRunError
from pipeline.lease import LeaseError, leased
from pipeline.manifest import OutputError
from pipeline.run import run
from transforms.records import Rejected
from transforms.storage import StorageError

pytestmark = pytest.mark.usefixtures("one_code_version")

SIDE = 300
CORES = 9
"""Of each scene: cores of 128 px."""


class Counted:
    """A network that keeps its input, counts its pictures, and fails once when told to."""

    def __init__(self):
        self.count = 0
        self.fails_at = None

    def __call__(self, images):
        """Return the pictures."""
        self.count += len(images)
        if self.fails_at is not None and self.count >= self.fails_at:
            self.fails_at = None
            raise MemoryError("no more")  # nothing that a batch is halved for
        return keep(images)

    def taken(self):
        """Return how many pictures came since the last call."""
        count, self.count = self.count, 0
        return count


@pytest.fixture
def network(monkeypatch):
    network = Counted()
    use_stubs(monkeypatch, deblur=network)
    return network


@pytest.fixture
def folder(tmp_path):
    for number, name in enumerate(("a", "b")):
        write_picture(tmp_path / f"{name}.tif", textured(SIDE, SIDE, number))
    return tmp_path


def settings(folder, output="run", **sections):
    content = {
        "read": {"core": 128, "halo": 32},
        "measure": {"stability": 0, "interval": {"replicates": 0}},
        "arms": {"controls": []},
        "engine": {"batch_size": 2},
    }
    return configure(folder / output, folder / "*.tif", **content | sections)


def files(output):
    """Return the bytes of all that a run has published, but run.json and logs."""
    mosaics = {path.name: path.read_bytes() for path in sorted(output.glob("mosaics/*"))}
    return tables(output) | mosaics


def visible(output):
    """Return what a reader sees in an output folder."""
    return sorted(path.name for path in output.iterdir() if not path.name.startswith("_"))


@pytest.mark.parametrize("mosaics", [False, True])
def test_a_broken_run_publishes_nothing_and_goes_on_from_there(folder, network, mosaics):
    sections = {"mosaic": {"write": mosaics}}
    assert run(settings(folder, "quiet", **sections)) == 0
    assert network.taken() == 2 * CORES
    network.fails_at = 8
    with pytest.raises(BrokenRunError, match="MemoryError"):
        run(settings(folder, **sections))
    begun = network.taken()
    assert visible(folder / "run") == ["run.json"]
    found = manifest.read(folder / "run")
    assert (found["state"], found["exit_code"]) == ("failed", 1)
    assert "MemoryError" in found["error"]
    assert run(settings(folder, **sections)) == 0
    assert begun + network.taken() == 2 * CORES + 2  # those of the broken batch
    assert tables(folder / "run") == tables(folder / "quiet")
    assert [*files(folder / "run")] == [*files(folder / "quiet")]


@pytest.mark.parametrize("step", ["publish_tables", "publish_rasters", "describe_mosaics"])
def test_a_run_that_breaks_while_it_publishes_needs_no_network_again(
    folder, network, monkeypatch, step
):
    config = settings(folder, mosaic={"write": True})
    assert run(settings(folder, "quiet", mosaic={"write": True})) == 0
    with monkeypatch.context() as patch:

        def fail(*_):
            raise OSError("the disk is full")

        patch.setattr(pipeline.run, step, fail)
        with pytest.raises(BrokenRunError, match="the disk is full"):
            run(config)
    assert manifest.read(folder / "run")["state"] == "failed"
    network.taken()
    assert run(config) == 0
    assert network.taken() == 0
    assert tables(folder / "run") == tables(folder / "quiet")


def test_nothing_to_do_loads_no_network(folder, network, monkeypatch):
    assert run(settings(folder)) == 0

    def refuse(config):
        raise AssertionError("a network is loaded")

    monkeypatch.setattr(pipeline.planning, "load_deblurrer", refuse)
    monkeypatch.setattr(pipeline.planning, "load_detector", refuse)
    assert run(settings(folder)) == 99


def test_force_does_all_again(folder, network):
    assert run(settings(folder)) == 0
    before = files(folder / "run")
    network.taken()
    assert run(settings(folder), force=True) == 0
    assert network.taken() == 2 * CORES
    assert files(folder / "run") == before


def test_a_forced_run_that_broke_goes_on_without_force(folder, network):
    network.fails_at = 8
    with pytest.raises(BrokenRunError, match="the same command without --force goes on"):
        run(settings(folder), force=True)
    begun = network.taken()
    assert run(settings(folder)) == 0
    assert begun + network.taken() == 2 * CORES + 2  # those of the broken batch


def test_only_does_some_scenes_again(folder, network):
    assert run(settings(folder, mosaic={"write": True})) == 0
    before = files(folder / "run")
    mosaics = [folder / "run" / "mosaics" / f"{name}.tif.deblurred.tif" for name in ("a", "b")]
    numbers = [os.stat(path).st_ino for path in mosaics]
    network.taken()
    assert run(settings(folder, mosaic={"write": True}), only=["b.tif"]) == 0
    assert network.taken() == CORES
    assert files(folder / "run") == before
    assert [os.stat(path).st_ino == n for path, n in zip(mosaics, numbers, strict=True)] == [
        True,
        False,
    ]


def test_only_needs_a_scene_of_the_run_and_the_results_of_the_others(folder, network):
    with pytest.raises(ValueError, match=r"no scene c.tif; it has a.tif, b.tif"):
        run(settings(folder), only=["c.tif"])
    with pytest.raises(ValueError, match="9 windows of other scenes have no result"):
        run(settings(folder), only=["b.tif"])
    assert network.taken() == 0
    assert visible(folder / "run") == []


def test_force_and_only_exclude_each_other_and_nothing_is_lost(folder, network):
    assert run(settings(folder)) == 0
    network.taken()
    with pytest.raises(ValueError, match="one of the two"):
        run(settings(folder), force=True, only=["b.tif"])
    assert run(settings(folder), only=["b.tif"]) == 0
    assert network.taken() == CORES


def test_only_does_not_wait_for_windows_that_are_rejected_anyway(folder, network, monkeypatch):
    def find(images):
        if (images[0, 0, 0] == textured(SIDE, SIDE, 0)[0, 0]).all():
            raise ValueError("no")
        return STUBS.find(images)

    find.names = STUBS.find.names
    use_stubs(monkeypatch, deblur=network, find=find)
    assert run(settings(folder)) == 3
    network.taken()
    assert run(settings(folder), only=["b.tif"]) == 3
    assert network.taken() == CORES + 1


def test_what_fails_after_a_run_was_published_is_not_its_failure(folder, network, monkeypatch):
    def fail(*_):
        raise StorageError("the store is away")

    monkeypatch.setattr(pipeline.run, "tidy", fail)
    assert run(settings(folder)) == 0
    assert manifest.read(folder / "run")["state"] == "done"


def test_a_signal_after_a_run_was_published_does_not_undo_it(folder, network, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline.run, "tidy", stop)
    with pytest.raises(KeyboardInterrupt):
        run(settings(folder))
    assert manifest.read(folder / "run")["state"] == "done"
    assert run(settings(folder)) == 99


def test_a_run_that_was_taken_over_leaves_the_others_manifest_alone(folder, network, monkeypatch):
    lease = folder / "run" / "_work" / "lease.json"

    def lose(*_):
        lease.write_text(lease.read_text().replace('"attempt": "', '"attempt": "other '))
        manifest.start(folder / "run", {"run_id": "other"}, attempt="other")
        raise FileNotFoundError("what was staged is gone")

    monkeypatch.setattr(pipeline.run, "publish_tables", lose)
    with pytest.raises(BrokenRunError, match="what was staged is gone"):
        run(settings(folder))
    assert manifest.read(folder / "run")["state"] == "running"
    assert manifest.read(folder / "run")["attempt"] == "other"


@pytest.mark.parametrize("step", ["publish_rasters", "describe_mosaics"])
def test_a_run_that_is_taken_over_while_it_publishes_does_not_say_done(
    folder, network, monkeypatch, step
):
    lease, do = folder / "run" / "_work" / "lease.json", getattr(pipeline.run, step)

    def lose(*arguments):
        lease.write_text(lease.read_text().replace('"attempt": "', '"attempt": "other '))
        return do(*arguments)

    monkeypatch.setattr(pipeline.run, step, lose)
    with pytest.raises(BrokenRunError, match="took"):
        run(settings(folder))
    assert manifest.read(folder / "run")["state"] == "running"


def test_a_new_scene_is_all_that_is_done_and_old_mosaics_stay(folder, network):
    config = settings(folder, mosaic={"write": True})
    assert run(config) == 0
    kept = os.stat(folder / "run" / "mosaics" / "a.tif.deblurred.tif").st_ino
    network.taken()
    write_picture(folder / "c.tif", textured(SIDE, SIDE, 7))
    assert run(config) == 0
    assert network.taken() == CORES
    assert os.stat(folder / "run" / "mosaics" / "a.tif.deblurred.tif").st_ino == kept
    assert run(settings(folder, "fresh", mosaic={"write": True})) == 0
    here, fresh = files(folder / "run"), files(folder / "fresh")
    assert [*here] == [*fresh]
    # The mosaics that stayed, and so their items, say which run made them.
    changed = {name.removeprefix("mosaics/") for name in here if here[name] != fresh[name]}
    assert {name for name in changed if not name.startswith(("a.", "b."))} <= {"items.parquet"}


def test_a_replaced_scene_is_done_again_and_what_was_kept_of_it_goes(folder, network):
    assert run(settings(folder, mosaic={"write": True})) == 0
    network.taken()
    write_picture(folder / "b.tif", textured(SIDE, SIDE, 9))
    assert run(settings(folder, mosaic={"write": True})) == 0
    assert network.taken() == CORES
    units = folder / "run" / "_work" / "units"
    assert sorted(path.name.split("~")[0] for path in units.iterdir()) == ["a.tif", "b.tif"]
    (folder / "a.tif").unlink()
    assert run(settings(folder, mosaic={"write": True})) == 0
    assert network.taken() == 0
    assert [path.name for path in (folder / "run" / "mosaics").glob("a.*")] == []


def test_a_scene_whose_parts_changed_is_done_again(folder, network):
    (folder / "parts").mkdir()
    part = write_picture(folder / "parts" / "b.tif", textured(SIDE, SIDE, 3))
    with rasterio.open(part) as dataset:
        copy(dataset, folder / "b.vrt", driver="VRT")
    config = settings(folder)
    config = config.model_copy(
        update={"input": config.input.model_copy(update={"scenes": (f"{folder}/?.vrt",)})}
    )
    assert run(config) == 0
    assert run(config) == 99
    network.taken()
    write_picture(part, textured(SIDE, SIDE, 4))
    assert run(config) == 0
    assert network.taken() == CORES


def test_other_ways_to_sum_up_need_no_network(folder, network):
    assert run(settings(folder)) == 0
    network.taken()
    measure = {"stability": 0, "interval": {"replicates": 100}, "strata": [["scene"]]}
    assert run(settings(folder, measure=measure)) == 0
    assert network.taken() == 0
    assert run(settings(folder, "fresh", measure=measure)) == 0
    assert tables(folder / "run") == tables(folder / "fresh")


def test_other_work_is_refused_unless_it_is_forced(folder, network):
    assert run(settings(folder)) == 0
    other = settings(folder, detect={"score_threshold": 0.9})
    with pytest.raises(OutputError, match="--force"):
        run(other)
    assert run(other, force=True) == 0


@pytest.mark.parametrize(
    "lost",
    [
        ["mosaics/a.tif.status.tif"],
        ["mosaics/a.tif.item.json", "summary/part-00000.parquet"],
    ],
    ids=["a file", "the item"],
)
def test_a_mosaic_that_was_lost_is_made_again_with_its_cores(folder, network, lost):
    config = settings(folder, mosaic={"write": True})
    assert run(config) == 0
    before = files(folder / "run")
    network.taken()
    for name in lost:
        (folder / "run" / name).unlink()
    assert run(config) == 0
    assert network.taken() == CORES
    assert files(folder / "run") == before


def test_a_scene_without_a_mosaic_now_loses_the_one_it_had(folder, network, monkeypatch):
    config = settings(folder, mosaic={"write": True})
    assert run(config) == 0

    def refuse(scene, receipts, config, tags, place, scratch):
        if scene.name == "a.tif":
            return Rejected(scene.name, scene.name, "mosaic", "MosaicError", "no")
        return assemble(scene, receipts, config, tags, place, scratch)

    assemble = transforms.assembler.assemble_mosaic
    monkeypatch.setattr(transforms.assembler, "assemble_mosaic", refuse)
    assert run(config, force=True) == 3
    names = {path.name for path in (folder / "run" / "mosaics").iterdir()}
    assert not {name for name in names if name.startswith("a.")}
    assert "b.tif.item.json" in names
    assert {each["path"][8] for each in manifest.read(folder / "run")["mosaics"]} == {"b"}


def test_a_reject_is_tried_again_and_nothing_else(folder, network, monkeypatch):
    def find(images):
        if (images[0, 0, 0] == broken).all():
            raise ValueError("no")
        return STUBS.find(images)

    find.names = STUBS.find.names
    broken = textured(SIDE, SIDE, 0)[0, 0]
    use_stubs(monkeypatch, deblur=network, find=find)
    assert run(settings(folder)) == 3
    assert manifest.read(folder / "run")["counts"]["rejected"] == 1
    network.taken()
    use_stubs(monkeypatch, deblur=network)
    assert run(settings(folder)) == 0
    assert network.taken() == 1
    assert run(settings(folder, "fresh")) == 0
    assert tables(folder / "run") == tables(folder / "fresh")


def test_a_folder_where_a_run_is_at_work_is_refused(folder, network):
    with leased(UPath(folder / "run"), "other", say=print), pytest.raises(LeaseError):
        run(settings(folder))
    assert visible(folder / "run") == []
    assert run(settings(folder)) == 0


def test_nothing_but_what_is_kept_outlives_a_run(folder, network):
    assert run(settings(folder, mosaic={"write": True})) == 0
    work = folder / "run" / "_work"
    left = {path.suffix for path in work.rglob("*") if path.is_file() and path.parent != work}
    assert left == {".unit"}
    assert not (work / "attempts").exists()
    assert len(list(work.rglob("*.unit"))) == 2 * CORES
