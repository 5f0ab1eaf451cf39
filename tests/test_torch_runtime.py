"""PyTorch computes a restorer in any dtype, and as a GPU would with recorded calls."""

import numpy as np
import pytest
import torch

from models.backbones import set_normalisation
from models.buffered_calls import WORTH, BufferedCalls
from models.prepared import fold_norms
from models.torch_runtime import RestorerGraph, TorchRuntime, in_dtype
from tests.restorers import TINY, make
from tests.test_buffered_calls import Recorder

CPU = torch.device("cpu")


def pictures(count=2, height=128, width=160, seed=0):
    """Smooth pictures, uint8 (count, height, width, 3)."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, height // 32, width // 32, 3), np.uint8)
    return coarse.repeat(32, axis=1).repeat(32, axis=2)


def distance(one, other):
    """The mean difference in levels."""
    return (one.int() - other.int()).abs().float().mean().item()


def half(name, *, folded):
    """A network and the graph of it in bfloat16."""
    network = make(TINY[name])
    set_normalisation(network, "frozen" if folded else "per_image")
    if folded:
        fold_norms(network)
    return network, RestorerGraph(in_dtype(network, torch.bfloat16), torch.bfloat16)


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("name", sorted(TINY))
def test_weights_lie_in_the_dtype_and_the_network_given_stays_precise(name, folded):
    network, graph = half(name, folded=folded)
    images = torch.from_numpy(pictures())
    with torch.inference_mode():
        levels, total = graph(images)
        expected, _ = RestorerGraph(network)(images)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            usual, _ = RestorerGraph(network)(images)
    assert levels.dtype == torch.uint8
    assert total.dtype == torch.float32
    assert all(parameter.dtype == torch.float32 for parameter in network.parameters())
    kinds = {p.dtype for n, p in graph.named_parameters() if ".norm." not in n}
    assert kinds == {torch.bfloat16}
    assert distance(levels, expected) <= 1.5 * distance(usual, expected) + 0.5


def test_statistics_of_norms_stay_in_float32():
    _, graph = half("se_resnext", folded=False)
    norms = [value for name, value in graph.state_dict().items() if ".norm.running_" in name]
    assert norms
    assert {value.dtype for value in norms} == {torch.float32}


def test_float32_copies_nothing():
    network = make(TINY["unet"])
    assert in_dtype(network, torch.float32) is network


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["mobilenet", "unet"])
def test_recorded_calls_restore_as_plain_ones(name, dtype):
    network = make(TINY[name])
    fold_norms(network)
    graph = RestorerGraph(in_dtype(network, dtype), dtype)
    recorder = Recorder()
    calls = BufferedCalls(graph, CPU, recorder)
    with torch.inference_mode():
        for number in range(WORTH + 2):
            images = pictures(2 if number % 2 else 4, seed=number)
            levels, total = calls(images)
            expected, expected_total = graph(torch.from_numpy(images))
            np.testing.assert_array_equal(levels, expected.numpy())
            assert total == pytest.approx(expected_total.item())
        for number in range(4):
            images = pictures(3, seed=number)
            alone = [graph(torch.from_numpy(image[None]))[0].numpy() for image in images]
            levels, _ = calls(images)
            assert np.abs(levels.astype(int) - np.concatenate(alone)).max() <= 1
    assert recorder.replayed


@pytest.mark.parametrize("name", sorted(TINY))
def test_compilers_see_a_graph_without_breaks(name):
    network = make(TINY[name])
    fold_norms(network)
    graph = RestorerGraph(network).requires_grad_(False)
    images = torch.from_numpy(pictures(1))
    with torch.inference_mode():
        traced = torch.compile(graph, fullgraph=True, dynamic=False, backend="eager")
        for found, expected in zip(traced(images), graph(images), strict=True):
            torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("gpu", ["plain", "graphs", "compiled"])
def test_how_a_gpu_is_called_does_not_matter_on_a_cpu(gpu):
    network = make(TINY["unet"])
    expected = TorchRuntime(network, "cpu", "float32", "plain")(pictures())
    np.testing.assert_array_equal(
        TorchRuntime(network, "cpu", "float32", gpu)(pictures()), expected
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_is_not_finite_is_an_error(dtype):
    network = make(TINY["unet"])
    for parameter in network.parameters():
        parameter.data.fill_(float("nan"))
    with pytest.raises(ArithmeticError):
        TorchRuntime(network, "cpu", dtype)(pictures(1))
