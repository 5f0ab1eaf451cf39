"""The fastest backend is measured once, remembered, and can be named."""

import time

import pytest

from models import backend_choice
from models.backend_choice import VARIABLE, choose_backend, installed

BOTH = ("torch", "openvino")


@pytest.fixture(autouse=True)
def nothing_known(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(VARIABLE, raising=False)


class Machine:
    """Networks that take as long as they are told, and count how often they are loaded."""

    def __init__(self, **seconds):
        self.seconds, self.loaded = seconds, []

    def load(self, backend):
        """Return a network, or raise if it is not to be had."""
        self.loaded.append(backend)
        if backend not in self.seconds:
            raise ImportError(f"{backend} is broken")
        return lambda picture: self.work(self.seconds[backend])

    @staticmethod
    def work(seconds):
        """Keep the processor busy."""
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass


def test_the_fastest_is_taken_and_remembered():
    machine = Machine(torch=0.05, openvino=0.002)
    assert choose_backend({"weights": "a"}, BOTH, machine.load) == "openvino"
    assert choose_backend({"weights": "a"}, BOTH, machine.load) == "openvino"
    assert machine.loaded == ["torch", "openvino"]
    choose_backend({"weights": "b"}, BOTH, machine.load)
    assert len(machine.loaded) == 4


def test_another_version_is_measured_again(monkeypatch):
    machine = Machine(torch=0.002, openvino=0.002)
    choose_backend({}, BOTH, machine.load)
    monkeypatch.setattr(backend_choice, "version", lambda package: "9")
    choose_backend({}, BOTH, machine.load)
    assert len(machine.loaded) == 4


def test_a_memory_that_is_damaged_is_no_memory(tmp_path):
    machine = Machine(torch=0.02, openvino=0.002)
    choose_backend({}, BOTH, machine.load)
    (remembered,) = (tmp_path / "aerial-deblur" / "backends").iterdir()
    remembered.write_text("{")
    assert choose_backend({}, BOTH, machine.load) == "openvino"
    assert len(machine.loaded) == 4


def test_a_backend_that_cannot_be_loaded_does_not_count():
    assert choose_backend({}, BOTH, Machine(torch=0.001).load) == "torch"
    with pytest.raises(ImportError, match="torch is broken"):
        choose_backend({"weights": "b"}, BOTH, Machine().load)


def test_the_environment_names_it_where_it_can_compute_that(monkeypatch):
    monkeypatch.setenv(VARIABLE, "torch")
    machine = Machine()
    assert choose_backend({}, BOTH, machine.load) == "torch"
    assert choose_backend({}, ("openvino",), machine.load) == "openvino"
    assert not machine.loaded


def test_what_could_run_it():
    assert installed("cpu", "float32") == ("torch", "openvino")
    assert installed("cpu", "bfloat16") == ("torch", "openvino")
    assert installed("cpu", "int8") == ("openvino",)
    assert installed("cuda:0", "float16") == ("torch",)


def test_onnx_runtime_counts_where_openvino_is_missing(monkeypatch):
    monkeypatch.setattr(backend_choice, "find_spec", lambda name: name != "openvino")
    assert installed("cpu", "float32") == ("torch", "onnxruntime")
    assert installed("cpu", "int8") == ("onnxruntime",)
