"""How many tiles go together where nobody says it."""

import pytest
from made_rows import make_scene

import models.batch_size
from configs.load import validate
from configs.schema import RunConfig
from pipeline.batches import choose_batch
from transforms.functional.windows import Rectangle
from transforms.records import Window


@pytest.fixture
def asked(monkeypatch):
    """What a GPU is asked; its answer is 16."""
    found = []

    def choose(load, facts, **settings):
        found.append((facts, settings))
        return 16

    monkeypatch.setattr(models.batch_size, "choose_batch_size", choose)
    return found


def windows(*sizes):
    scene = make_scene()
    return [Window(scene, each, each, None) for each in (Rectangle(0, 0, *s) for s in sizes)]


def batch(sizes=(), *, local=True, **sections):
    config = validate(RunConfig, sections, source="test")
    chosen = choose_batch(config, windows=lambda: windows(*sizes), digest="d", local=local)
    assert chosen.engine.batch == chosen.engine.batch_size
    return chosen.engine.batch_size


def test_a_gpu_of_this_machine_is_asked_with_the_most_frequent_tile(asked):
    sizes = [(448, 448), (576, 448), (576, 448), (448, 576)]
    engine = {"workers": 3}
    assert batch(sizes, deblur={"device": "cuda:1", "dtype": "float16"}, engine=engine) == 16
    [(facts, settings)] = asked
    assert facts["weights"] == "d"
    assert facts["dtype"] == "float16"
    assert settings == {"size": (448, 576), "device": "cuda:1", "sharing": 3}


def test_a_run_without_windows_asks_for_a_whole_tile(asked):
    assert batch(deblur={"device": "cuda"}, read={"core": 256, "halo": 64}) == 16
    assert asked[0][1]["size"] == (384, 384)


def test_elsewhere_it_is_four(asked):
    assert batch() == 4
    assert batch(detect={"device": "cuda"}) == 4
    assert batch(deblur={"device": "cuda"}, local=False) == 4
    assert not asked


def test_a_number_stays(asked):
    assert batch(deblur={"device": "cuda"}, engine={"batch_size": 7}) == 7
    assert not asked
