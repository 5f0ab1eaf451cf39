"""The curve of a training: file, figure, TensorBoard."""

import csv
import sys
from types import ModuleType

import pytest

from models.training.deblur_curve import CURVE, FIGURE, Curve, Events


def row(step: int, **more: str) -> dict[str, str]:
    return {"step": str(step), "loss": "0.5", "psnr": "20.000", "train_psnr": "21.000", **more}


def read(folder) -> list[dict[str, str]]:
    with (folder / CURVE).open(newline="") as file:
        return list(csv.DictReader(file))


def test_rows_are_written_as_they_come(tmp_path):
    curve = Curve(tmp_path)
    for step in (10, 20):
        curve.add(row(step))
    assert read(tmp_path) == [row(10), row(20)]


def test_what_came_after_the_checkpoint_is_forgotten(tmp_path):
    curve = Curve(tmp_path)
    for step in (10, 20, 30):
        curve.add(row(step))
    resumed = Curve.resume(tmp_path, 20)
    resumed.add(row(30, psnr="22.000"))
    assert read(tmp_path) == [row(10), row(20), row(30, psnr="22.000")]
    assert Curve.resume(tmp_path / "elsewhere", 0).rows == []


def test_columns_may_be_added_on_the_way(tmp_path):
    curve = Curve(tmp_path)
    curve.add(row(10))
    curve.add(row(20, ssim="0.9000"))
    assert [line["ssim"] for line in read(tmp_path)] == ["", "0.9000"]


def test_the_figure_is_drawn_where_matplotlib_is(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    assert Curve(tmp_path, [row(10, ssim="0.9", train_ssim="0.8")]).draw()
    assert (tmp_path / FIGURE).read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_there_is_no_figure(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert not Curve(tmp_path, [row(10)]).draw()
    assert not (tmp_path / FIGURE).exists()


def test_tensorboard_gets_every_column_and_forgets_what_is_trained_again(tmp_path, monkeypatch):
    calls = []

    class SummaryWriter:
        """Records what TensorBoard would be told."""

        def __init__(self, folder: str, purge_step: int) -> None:
            calls.append((folder, purge_step))

        def add_scalar(self, *arguments: object) -> None:
            """Record a value."""
            calls.append(arguments)

        def flush(self) -> None:
            """Do nothing."""

    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = SummaryWriter
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    Events(tmp_path, 20).add({"step": "30", "loss": "0.5", "psnr": "20.0"})
    assert calls == [
        (str(tmp_path / "tensorboard"), 21),
        ("loss", 0.5, 30),
        ("psnr", 20.0, 30),
    ]


def test_without_tensorboard_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    Events(tmp_path, 0).add(row(10))
    assert list(tmp_path.iterdir()) == []
