"""Which device pictures ran on, and how long a GPU worked for them."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from models.cards import shipped_weights
from models.deblurrer import Deblurrer
from models.detector import Detector
from models.device_use import DeviceUse, computing, take_device_use

PICTURES = np.full((3, 64, 64, 3), 90, np.uint8)
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")


@pytest.fixture(autouse=True)
def nothing_yet():
    take_device_use()


def use_networks(device):
    weights = shipped_weights()
    Deblurrer.load(weights["deblur_dsc"], device=device)(PICTURES)
    Detector.load(weights["vehicles_yolo"], device=device)(PICTURES)
    return take_device_use()


def test_both_networks_say_where_they_ran():
    assert use_networks("cpu") == DeviceUse({"cpu": 6}, busy=0)


@needs_gpu
def test_a_gpu_is_named_and_its_time_is_counted():
    use = use_networks("cuda")
    assert use.pictures == {f"cuda {torch.cuda.get_device_name()}": 6}
    assert use.busy > 0


def test_time_between_two_events_of_a_gpu_is_counted_in_microseconds(monkeypatch):
    said = []

    class Event:
        def __init__(self, *, enable_timing):
            assert enable_timing

        def record(self, stream):
            said.append(f"record on {stream}")

        def synchronize(self):
            said.append("wait")

        def elapsed_time(self, _):
            return 12.3456

    fake = SimpleNamespace(
        Event=Event,
        current_stream=lambda device: f"the stream of {device}",
        get_device_name=lambda _: "NVIDIA L4",
    )
    monkeypatch.setattr(torch, "cuda", fake)
    with computing("cuda:1", 4):
        said.append("compute")
    stream = "record on the stream of cuda:1"
    assert said == [stream, "compute", stream, "wait"]
    assert take_device_use() == DeviceUse({"cuda NVIDIA L4": 4}, busy=12_346)


def test_what_was_counted_is_counted_once():
    with computing("cpu", 2):
        pass
    assert take_device_use().pictures == {"cpu": 2}
    assert take_device_use() == DeviceUse()


def test_a_picture_that_failed_is_not_counted():
    with pytest.raises(RuntimeError), computing("cpu", 2):
        raise RuntimeError
    assert take_device_use() == DeviceUse()
