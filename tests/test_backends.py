"""What computes the networks of a run: as the settings say, or found once and told to all."""

import time

import pytest

from configs.schema import DeblurConfig, DetectConfig, RunConfig
from models.backend_choice import VARIABLE
from models.detector import Detector
from transforms import deblur, detect
from transforms.backends import find_deblur_backend, find_detect_backend, with_backends
from transforms.detect import load_detector


@pytest.fixture
def open_choice(monkeypatch, tmp_path):
    """Nothing is named or remembered; OpenVINO is the faster one. Returns what is tried."""
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    tried = []

    def load(config):
        tried.append(config.backend)

        def run(pictures):
            end = time.process_time() + (0.02 if config.backend == "torch" else 0)
            while time.process_time() < end:
                pass

        return run

    monkeypatch.setattr(detect, "load_detector", load)
    monkeypatch.setattr(deblur, "open_deblurrer", load)
    return tried


@pytest.mark.parametrize(
    ("find", "config"), [(find_detect_backend, DetectConfig), (find_deblur_backend, DeblurConfig)]
)
def test_the_faster_one_is_taken_and_remembered(open_choice, find, config):
    assert find(config()) == "openvino"
    assert sorted(open_choice) == ["openvino", "torch"]
    assert find(config()) == "openvino"
    assert len(open_choice) == 2


def test_all_workers_of_a_run_are_told_the_answer(open_choice, tmp_path):
    told = with_backends(RunConfig(output=tmp_path))
    assert (told.deblur.backend, told.detect.backend) == ("openvino", "openvino")
    assert with_backends(told) == told
    assert len(open_choice) == 4


def test_another_dtype_is_another_question(open_choice):
    find_detect_backend(DetectConfig())
    find_detect_backend(DetectConfig(dtype="bfloat16"))
    assert len(open_choice) == 4


@pytest.mark.parametrize("backend", ["torch", "openvino", "onnxruntime"])
def test_a_backend_that_is_named_is_not_doubted(open_choice, backend):
    assert find_detect_backend(DetectConfig(backend=backend)) == backend
    assert find_deblur_backend(DeblurConfig(backend=backend)) == backend
    assert open_choice == []


@pytest.mark.parametrize("name", ["cars.onnx", "cars_openvino_model", "cars.torchscript"])
def test_an_export_is_run_by_what_it_was_made_for(open_choice, name, tmp_path):
    (tmp_path / name).touch()
    assert find_detect_backend(DetectConfig(weights=str(tmp_path / name))) == "torch"
    assert open_choice == []


def test_a_gpu_leaves_no_choice(open_choice):
    assert find_detect_backend(DetectConfig(device="cuda")) == "torch"
    assert open_choice == []


@pytest.mark.parametrize("options", [{"exact": True}, {"normalisation": "per_image"}])
def test_where_the_order_of_sums_matters_only_pytorch_is_asked(open_choice, options):
    assert find_deblur_backend(DeblurConfig(**options)) == "torch"
    assert open_choice == []


def test_a_detector_is_loaded_as_configured(monkeypatch):
    told = {}
    monkeypatch.setattr(Detector, "load", lambda weights, **options: told.update(options))
    load_detector(DetectConfig(backend="openvino", dtype="bfloat16", nms_iou=0.4))
    assert (told["backend"], told["dtype"], told["nms_iou"]) == ("openvino", "bfloat16", 0.4)
