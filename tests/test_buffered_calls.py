"""Recorded calls give what plain calls give, whatever lay in their memory before."""

import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from models.buffered_calls import SHAPES, WORTH, BufferedCalls, CudaRecorder, Recording

CPU = torch.device("cpu")


def mirror(images):
    """A graph: pictures with their columns in reverse, and the sum of all levels."""
    return images.flip(2), images.sum(dtype=torch.float32)


class Recorder:
    """Records on a CPU as CUDA does: outputs have one place, which every replay overwrites."""

    def __init__(self):
        self.recorded = self.replayed = 0

    def __call__(self, call):
        """Call, and keep the place of the results."""
        self.recorded += 1
        outputs = tuple(each.clone() for each in call())

        def replay():
            self.replayed += 1
            for kept, new in zip(outputs, call(), strict=True):
                kept.copy_(new)

        return Recording(replay, outputs)


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture
def calls(recorder):
    return BufferedCalls(mirror, CPU, recorder)


def pictures(count, seed, *, height=8, width=12):
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), np.uint8)


def check(calls, images):
    given = images.copy()
    levels, total = calls(images)
    np.testing.assert_array_equal(levels, given[:, :, ::-1])
    assert total == given.sum()
    np.testing.assert_array_equal(images, given)


def test_a_shape_is_recorded_when_it_comes_again_and_then_replayed(calls, recorder):
    for number in range(WORTH + 4):
        assert recorder.recorded == (number >= WORTH)
        check(calls, pictures(4, number))
    assert recorder.replayed == 5


def test_results_are_not_overwritten_by_later_calls(calls):
    results = [calls(pictures(2, number))[0] for number in range(2 * WORTH)]
    for number, levels in enumerate(results):
        np.testing.assert_array_equal(levels, pictures(2, number)[:, :, ::-1])
    assert all(levels.flags.writeable for levels in results)


def test_a_smaller_batch_uses_the_memory_of_a_larger_one_and_sees_nothing_of_it(calls, recorder):
    for number in range(WORTH):
        check(calls, pictures(4, number))
    before = recorder.replayed
    check(calls, pictures(3, 50))
    check(calls, pictures(4, 51))
    check(calls, pictures(3, 52))
    assert recorder.recorded == 1
    assert recorder.replayed == before + 3


def test_a_batch_of_half_the_size_or_less_has_a_recording_of_its_own(calls, recorder):
    for number in range(WORTH):
        check(calls, pictures(4, number))
    for number in range(WORTH):
        assert recorder.recorded == 1
        check(calls, pictures(2, number))
    assert recorder.recorded == 2


def test_only_so_many_shapes_are_recorded_and_others_are_called(calls, recorder):
    for width in range(12, 12 + SHAPES + 2):
        for number in range(WORTH + 1):
            check(calls, pictures(1, number, width=width))
    assert recorder.recorded == SHAPES
    assert recorder.replayed == 2 * SHAPES


def test_what_cannot_be_recorded_is_called_and_said_once(caplog):
    def refuse(call):
        raise RuntimeError("out of memory")

    calls = BufferedCalls(mirror, CPU, refuse)
    with caplog.at_level(logging.WARNING):
        for number in range(WORTH + 3):
            check(calls, pictures(2, number))
    assert [record.getMessage() for record in caplog.records] == [
        "calls for pictures of (2, 8, 12, 3) are not recorded: out of memory"
    ]


def test_what_is_recorded_may_be_another_graph_of_the_same_function(recorder):
    called = []

    def compiled(images):
        called.append(len(images))
        return mirror(images)

    calls = BufferedCalls(mirror, CPU, recorder, compiled)
    for number in range(WORTH - 1):
        check(calls, pictures(2, number))
    assert called == []
    check(calls, pictures(2, 9))
    assert called


def test_cuda_warms_up_beside_the_default_stream_and_then_records_into_one_pool(monkeypatch):
    said = []

    class Context:
        def __init__(self, name):
            self.name = name

        def __enter__(self):
            said.append(self.name)

        def __exit__(self, *error):
            said.append(f"end of {self.name}")

    class Stream:
        def __init__(self, name="side"):
            self.name = name

        def wait_stream(self, other):
            said.append(f"{self.name} waits for {other.name}")

    fake = SimpleNamespace(
        graph_pool_handle=lambda: "pool",
        device=lambda device: Context(f"on {device}"),
        Stream=Stream,
        current_stream=lambda: Stream("default"),
        stream=lambda stream: Context(f"in {stream.name}"),
        CUDAGraph=lambda: SimpleNamespace(replay="replay"),
        graph=lambda graph, *, pool, capture_error_mode: Context(f"record in {pool}"),
    )
    monkeypatch.setattr(torch, "cuda", fake)

    def call():
        said.append("call")
        return "levels", "total"

    recording = CudaRecorder(torch.device("cuda:1"))(call)
    assert (recording.replay, recording.outputs) == ("replay", ("levels", "total"))
    calls = ["call"] * 3
    warm_up = ["side waits for default", "in side", *calls, "end of in side"]
    record = ["default waits for side", "record in pool", "call", "end of record in pool"]
    assert said == ["on cuda:1", *warm_up, *record, "end of on cuda:1"]
