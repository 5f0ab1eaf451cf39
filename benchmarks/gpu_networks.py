"""What a GPU makes of the networks: calls, kernels beside the peak of its products, and batches."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import product
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.backend_choice import GpuCalls
from models.batch_size import BUDGET, Trial, find_batch_size, measure_on_gpu
from models.buffered_calls import WORTH, CudaRecorder
from models.cards import shipped_weights
from models.cost import macs_per_pixel
from models.deblurrer import Deblurrer
from models.detector import Detector
from models.eager import EagerDeblurrer
from models.prepared import prepare_generator
from models.rewrite import rewrite
from models.torch_runtime import RestorerGraph, TorchDtype, in_dtype
from transforms.functional.blur import blur_tile
from transforms.functional.render import render_scene

Images = NDArray[np.uint8]
Row = dict[str, Any]

BY_HAND = "by hand"
DEBLURRERS = ("deblur_mobilenet", "deblur_dsc")
DETECTOR = "vehicles_yolo"


@dataclass(frozen=True)
class Bench:
    """What is measured with: a device, tiles of `side` px, so many at once, rounds of each.

    `product` is the side of the square matrices whose product is taken for the peak.
    """

    device: str
    side: int = 1344
    batch: int = 4
    rounds: int = 5
    product: int = 8192

    @property
    def on_gpu(self) -> bool:
        """Say whether it is a GPU."""
        return self.device != "cpu"

    @property
    def dtypes(self) -> tuple[TorchDtype, ...]:
        """Return what the device computes in."""
        return ("float32", "float16", "bfloat16") if self.on_gpu else ("float32", "bfloat16")

    @property
    def ways(self) -> tuple[GpuCalls, ...]:
        """Return the ways of calling the device whose start takes no minutes."""
        return ("plain", "graphs") if self.on_gpu else ("plain",)

    def mpix(self, count: int) -> float:
        """Return the MPix of so many tiles."""
        return count * self.side**2 / 1e6


def make_tiles(count: int, side: int) -> Images:
    """Return different blurred pictures of one rendered scene, uint8 (count, side, side, 3)."""
    sharp = render_scene(seed=3, height=side, width=side, gsd=0.15).image
    blurred = blur_tile(sharp, length=11.0, angle=30.0, noise=0.001)
    return np.stack([np.roll(blurred, 32 * number, axis=1) for number in range(count)])


def measure_calls(bench: Bench) -> Iterator[Row]:
    """Yield calls from main memory to main memory, in turns, beside those that one makes by hand.

    By hand is eager PyTorch in float32, picture by picture, with all but the network in NumPy.
    """
    tiles = make_tiles(bench.batch, bench.side)
    for name in DEBLURRERS:
        path = shipped_weights()[name]
        expected = Deblurrer.load(path)(tiles[:1])
        networks: dict[str, Callable[[Images], Images]] = {
            BY_HAND: EagerDeblurrer(path, bench.device)
        }
        for dtype, gpu in product(bench.dtypes, bench.ways):
            networks[f"{dtype}, {gpu}"] = Deblurrer.load(
                path, device=bench.device, dtype=dtype, gpu=gpu
            )
        seconds = time_in_turns({k: partial(v, tiles) for k, v in networks.items()}, bench.rounds)
        for kind, network in networks.items():
            yield {
                "network": name,
                "called": kind,
                "mpix_per_second": bench.mpix(bench.batch) / median(seconds[kind]),
                "times_by_hand": median(np.divide(seconds[BY_HAND], seconds[kind]).tolist()),
                **compare_pictures(network(tiles)[:1], expected),
            }
    find = Detector.load(shipped_weights()[DETECTOR], device=bench.device)
    [seconds_of_detector] = time_in_turns({"": partial(find, tiles)}, bench.rounds).values()
    yield {
        "network": DETECTOR,
        "called": "float32",
        "mpix_per_second": bench.mpix(bench.batch) / median(seconds_of_detector),
    }


def time_in_turns(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each call in each round; every second round runs in reverse."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        for _ in range(WORTH + 1):  # By then calls are recorded.
            call()
    for number in range(rounds):
        for name in list(calls)[:: -1 if number % 2 else 1]:
            start = time.perf_counter()
            calls[name]()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def measure_kernels(bench: Bench) -> Iterator[Row]:
    """Yield how fast graphs run on pictures that lie on the device, and the share of its peak.

    The products are those of the network as it was trained, also where it is rewritten to need
    fewer. What torch.compile makes comes last, for that takes its time.
    """
    tiles = torch.from_numpy(make_tiles(bench.batch, bench.side)).to(bench.device)
    peaks = {dtype: measure_peak(bench, getattr(torch, dtype)) for dtype in bench.dtypes}
    for dtype, peak in peaks.items():
        yield {"network": "product of matrices", "dtype": dtype, "tflops": peak / 1e12}
    cases = [*product(DEBLURRERS, bench.dtypes, ("as trained", "rewritten"), bench.ways, (False,))]
    if bench.on_gpu:
        chosen = [*product(DEBLURRERS, ("float16",), ("as trained", "rewritten"))]
        cases += [(*each, "graphs", True) for each in chosen]
        cases += [(*each, "compiled", False) for each in chosen]
    for name, dtype, form, way, tries in cases:
        generator, _ = prepare_generator(
            shipped_weights()[name], sha256=None, normalisation="frozen"
        )
        flop = 2e6 * macs_per_pixel(generator) * bench.mpix(bench.batch)
        with cudnn_that_tries(tries):
            graph = graph_of(generator.to(bench.device), dtype, rewritten=form == "rewritten")
            seconds = time_graph(graph, tiles, way, bench)
        yield {
            "network": name,
            "dtype": dtype,
            "form": form,
            "called": f"{way}, cuDNN tries" if tries else way,
            "mpix_per_second": bench.mpix(bench.batch) / seconds,
            "tflops": flop / seconds / 1e12,
            "share_of_peak": flop / seconds / peaks[dtype],
        }


@contextmanager
def cudnn_that_tries(wanted: bool) -> Iterator[None]:
    """Let cuDNN try its algorithms for every shape."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = wanted
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def graph_of(generator: Any, dtype: TorchDtype, *, rewritten: bool) -> RestorerGraph:  # noqa: ANN401
    """Return the graph of a generator that lies on the device already."""
    kind = getattr(torch, dtype)
    network = in_dtype(rewrite(generator) if rewritten else generator, kind)
    return RestorerGraph(network.to(memory_format=torch.channels_last), kind).requires_grad_(False)


def time_graph(graph: RestorerGraph, tiles: torch.Tensor, way: GpuCalls, bench: Bench) -> float:
    """Return the median of the seconds of a graph."""
    with torch.inference_mode():
        fast = torch.compile(graph, fullgraph=True, dynamic=False) if way == "compiled" else graph
        call: Callable[[], object] = partial(fast, tiles)
        if way != "plain":
            call = CudaRecorder(torch.device(bench.device))(partial(fast, tiles)).replay
        return time_on_device(call, bench)


def measure_peak(bench: Bench, dtype: torch.dtype) -> float:
    """Return the operations per second of a large product of matrices; float32 is TF32 on a GPU."""
    random = torch.Generator().manual_seed(0)
    one, other = (
        torch.randn(bench.product, bench.product, generator=random).to(bench.device, dtype)
        for _ in range(2)
    )
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        return 2 * bench.product**3 / time_on_device(partial(torch.matmul, one, other), bench)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def time_on_device(call: Callable[[], object], bench: Bench) -> float:
    """Return the median of the seconds of a call, by the device's own clock where it has one."""
    call()
    seconds = []
    for _ in range(bench.rounds):
        if bench.on_gpu:
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            call()
            end.record()
            end.synchronize()
            seconds.append(begin.elapsed_time(end) / 1e3)
        else:
            start = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - start)
    return median(seconds)


def search_batches(bench: Bench) -> Iterator[Row]:
    """Yield every size that the search for a batch tries, and what it finds."""
    path, size = shipped_weights()["deblur_dsc"], (bench.side, bench.side)
    load = partial(Deblurrer.load, path, device=bench.device)
    trials: list[Row] = []

    def measure(count: int) -> Trial:
        if bench.on_gpu:
            trial = measure_on_gpu(load, count, size=size, device=bench.device)
        else:
            tiles = make_tiles(count, bench.side)
            trial = Trial(min(time_in_turns({"": partial(load(), tiles)}, bench.rounds)[""]), 0)
        speed = bench.mpix(count) / trial.seconds
        trials.append({"batch": count, "mpix_per_second": speed, "mib": trial.memory / 2**20})
        return trial

    free = torch.cuda.mem_get_info(bench.device)[0] if bench.on_gpu else math.inf
    found = find_batch_size(measure, budget=BUDGET * free)
    yield from trials
    yield {"found": found}


def compare_pictures(restored: Images, expected: Images) -> Row:
    """Return the differences in levels: the largest, the mean, the share above 1; and the PSNR.

    Equal pictures have none, for JSON knows no infinity.
    """
    found = np.abs(restored.astype(np.int16) - expected)
    error = float((found.astype(np.int64) ** 2).mean())
    return {
        "max_dn": int(found.max()),
        "mean_dn": float(found.mean()),
        "above_1_dn": float((found > 1).mean()),
        "psnr": 10 * math.log10(255**2 / error) if error else None,
    }
