"""What restoring costs: counts against hand calculation, and measurements that make sense."""

import numpy as np
import pytest
import torch
from torch import nn

from models.checkpoints import save_generator
from models.cost import cpu_seconds_per_mpix, macs_per_pixel, peak_memory_mib
from models.networks import build
from models.unet import UNetOptions


def test_macs_of_a_convolution_are_counted_by_hand():
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 4, 1, stride=2))
    assert macs_per_pixel(network, side=32) == 3 * 8 * 9 + 8 * 4 / 4


def test_counting_leaves_the_network_as_it_was():
    network = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)).train()
    before = network[1].running_mean.clone()
    macs_per_pixel(network, side=32)
    assert network.training
    assert torch.equal(network[1].running_mean, before)


def test_every_round_runs_every_network_and_each_second_round_backwards():
    order = []
    networks = {name: lambda _, name=name: order.append(name) for name in "abc"}
    seconds = cpu_seconds_per_mpix(networks, side=32, rounds=3)
    assert "".join(order) == "abc" + "cba" + "abc"
    assert list(seconds) == ["a", "b", "c"]
    assert all(value >= 0 for value in seconds.values())


def test_the_threads_of_the_process_are_put_back():
    threads = torch.get_num_threads()
    cpu_seconds_per_mpix({"a": np.sum}, side=32, rounds=1)
    assert torch.get_num_threads() == threads


@pytest.mark.slow
def test_a_larger_picture_needs_more_memory(tmp_path):
    weights = tmp_path / "tiny.safetensors"
    save_generator(weights, build(UNetOptions(widths=(8, 8), blocks=(0, 0, 0))), halo_px=0)
    small, large = (peak_memory_mib(weights, "frozen", side=side) for side in (256, 1536))
    assert 0 <= small < large
