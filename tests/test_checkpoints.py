"""Weight files: strict, checked, and never executed."""

import pickle
import re
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from models.backbones import set_normalisation
from models.cards import WEIGHTS_FOLDER, CheckpointError, read_card, sha256, shipped_weights
from models.checkpoints import load_generator, read_tensors, save_generator
from models.deblurgan_v1 import ResNetOptions
from models.deblurgan_v2 import GeneratorOptions
from models.networks import parameter_count
from models.published import without_aliases
from tests.published_files import published_file, published_state
from tests.restorers import TINY, images, make
from tests.test_deblurgan_v2 import PUBLISHED, SMALL


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    return published_file(tmp_path_factory.mktemp("published") / "fpn_mobilenet.h5")


@pytest.fixture
def ours(tmp_path):
    path = tmp_path / "small.safetensors"
    save_generator(path, make(SMALL), halo_px=64)
    return path


@pytest.mark.parametrize("variant", ["mobilenet", "inception"])
def test_every_published_tensor_finds_its_place(tmp_path, variant):
    path = published_file(tmp_path / "weights.h5", variant)
    generator, info = load_generator(path)
    content = torch.load(path, weights_only=True)["model"]
    assert len(content) == {"mobilenet": 622, "inception": 2384}[variant]
    state = generator.state_dict()
    for name, tensor in content.items():
        if ".enc" not in name:
            loaded = state.pop(name.removeprefix("module."))
            assert torch.equal(loaded, tensor), name
    assert not state
    assert info.options == PUBLISHED[variant]
    assert info.halo_px is None


@pytest.mark.parametrize(("prefix", "wrapped"), [("", True), ("module.", False), ("", False)])
def test_prefix_and_wrapping_do_not_matter(tmp_path, published, prefix, wrapped):
    other = published_file(tmp_path / "other.pth", prefix=prefix, wrapped=wrapped)
    expected = load_generator(published)[0].state_dict()
    for name, tensor in load_generator(other)[0].state_dict().items():
        torch.testing.assert_close(tensor, expected[name])


def test_a_published_file_converted_to_safetensors_loads_too(tmp_path, published):
    path = tmp_path / "converted.safetensors"
    state = {name: tensor.clone() for name, tensor in published_state("mobilenet").items()}
    save_file(state, str(path))
    expected = load_generator(published)[0].state_dict()
    for name, tensor in load_generator(path)[0].state_dict().items():
        torch.testing.assert_close(tensor, expected[name])


@pytest.mark.parametrize(
    ("variant", "alias"),
    [
        ("mobilenet", "fpn.enc3.1.conv.0.weight"),
        ("mobilenet", "fpn.enc0.0.0.weight"),
        ("inception", "fpn.enc4.0.19.conv2d.weight"),
        ("inception", "fpn.enc0.bn.running_mean"),
    ],
)
def test_an_alias_that_is_no_copy_is_refused(variant, alias):
    state = published_state(variant)
    state[alias] = state[alias] + 1
    with pytest.raises(ValueError, match=rf"{re.escape(alias)} differs from fpn\.{variant[:1]}?"):
        without_aliases(state)
    del state[alias]
    with pytest.raises(ValueError, match=rf"{re.escape(alias)} is missing, wanted a copy"):
        without_aliases(state)


V1 = ResNetOptions(channels=4, blocks=2, running_statistics=False)


@pytest.mark.parametrize(
    "options",
    [V1, replace(V1, running_statistics=True), replace(V1, dropout=0.0), replace(V1, norm="batch")],
)
def test_first_version_files_tell_their_options(tmp_path, options):
    path = tmp_path / "latest_net_G.pth"
    written = make(options)
    torch.save(written.state_dict(), path)
    generator, info = load_generator(path)
    expected = replace(options, running_statistics=options != replace(options, norm="instance"))
    assert info.options == (expected if options.norm == "batch" else options)
    for network in (generator, written):
        set_normalisation(network, "per_image")
    torch.testing.assert_close(generator(images(1)), written(images(1)))


def test_first_version_files_from_before_counters_load(tmp_path):
    path = tmp_path / "latest_net_G.pth"
    state = make(replace(V1, running_statistics=True)).state_dict()
    old = {name: tensor for name, tensor in state.items() if not name.endswith("tracked")}
    torch.save(old, path)
    loaded = load_generator(path)[0].state_dict()
    assert loaded.keys() == state.keys()
    for name, tensor in old.items():
        torch.testing.assert_close(loaded[name], tensor)


@pytest.mark.parametrize("name", sorted(TINY))
def test_ours_come_back_as_written(tmp_path, name):
    path = tmp_path / "ours.safetensors"
    written = make(TINY[name])
    save_generator(path, written, halo_px=64, dtype=torch.float32)
    generator, info = load_generator(path)
    assert generator.architecture == written.architecture
    assert (info.options, info.halo_px, info.sha256) == (TINY[name], 64, sha256(path))
    assert not generator.training
    for key, tensor in written.state_dict().items():
        assert torch.equal(generator.state_dict()[key], tensor), key
    assert all(parameter.requires_grad for parameter in generator.parameters())


def test_half_precision_files_give_float32_networks(ours):
    generator, _ = load_generator(ours)
    torch.testing.assert_close(generator(images(1)), make(SMALL).half().float()(images(1)))


def test_a_halo_that_nobody_measured_is_none(tmp_path):
    path = tmp_path / "ours.safetensors"
    save_generator(path, make(SMALL), halo_px=None)
    assert load_generator(path)[1].halo_px is None


def test_the_digest_is_that_of_hashlib(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    assert sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_wrong_digest_names_file_got_and_wanted(ours):
    load_generator(ours, sha256=sha256(ours))
    with pytest.raises(CheckpointError) as raised:
        load_generator(ours, sha256="0" * 64)
    for word in (str(ours), sha256(ours), "0" * 64):
        assert word in str(raised.value)


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="no weight file"):
        load_generator(tmp_path / "nothing.safetensors")


@pytest.mark.parametrize("suffix", [".safetensors", ".h5"])
@pytest.mark.parametrize("keep", [0, 10, 5000])
def test_a_truncated_file_is_called_damaged(tmp_path, ours, published, suffix, keep):
    whole = ours if suffix == ".safetensors" else published
    broken = tmp_path / f"broken{suffix}"
    broken.write_bytes(whole.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match="damaged"):
        load_generator(broken)


@pytest.mark.parametrize("zipped", [True, False])
@given(st.data())
@settings(max_examples=60)
def test_damaged_bytes_never_end_in_another_error(tmp_path_factory, zipped, data):
    path = tmp_path_factory.getbasetemp() / f"damaged_{zipped}.pth"
    state = {"a": torch.zeros(2), "b": torch.tensor(3)}
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(CheckpointError):  # Never a generator, and never another exception.
            load_generator(path)


class Harmful:
    """Touches a file when it is unpickled."""

    def __reduce__(self):
        return (Path.touch, (Path("harm"),))


def plain_pickle(content, path):
    path.write_bytes(pickle.dumps(content, protocol=2))


@pytest.mark.parametrize("write", [plain_pickle, torch.save])
def test_a_pickle_that_holds_code_is_not_run(tmp_path, monkeypatch, write):
    monkeypatch.chdir(tmp_path)
    bad = tmp_path / "bad.pth"
    write({"model": Harmful()}, bad)
    with pytest.raises(CheckpointError, match=r"holds code \(.*\) .* and is not loaded"):
        load_generator(bad)
    assert not (tmp_path / "harm").exists()


def with_header(path: Path, tensors: dict[str, torch.Tensor], **changes: str) -> Path:
    """A copy of a file of ours, with other tensors or another header."""
    with safe_open(str(path), framework="pt") as file:
        header = {**file.metadata(), **changes}
    copy = path.with_name("changed.safetensors")
    save_file(tensors, str(copy), metadata=header)
    return copy


def test_missing_unknown_and_misshapen_tensors_are_counted_and_named(ours):
    tensors = load_file(ours)
    del tensors["final.pointwise.bias"]
    tensors |= {f"surplus{number}": torch.zeros(1) for number in range(4)}
    tensors["final.pointwise.weight"] = torch.zeros(3, 5, 1, 1)
    with pytest.raises(CheckpointError) as raised:
        load_generator(with_header(ours, tensors))
    message = str(raised.value)
    assert "looks like a DeblurGAN-v2 mobilenet_dsc generator with F=16" in message
    assert "1 missing (final.pointwise.bias)" in message
    assert "4 unknown (surplus0, surplus1, surplus2, ...)" in message
    assert "1 misshapen (final.pointwise.weight (3, 5, 1, 1) instead of (3, 4, 1, 1))" in message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "yolo"}, "architecture must be one of .* got 'yolo'"),
        ({"options": "{"}, "does not hold a deblurrer of ours"),
        ({"options": '{"chanels": 3}'}, r"unknown GeneratorOptions \['chanels'\]"),
        ({"halo_px": "wide"}, "does not hold a deblurrer of ours"),
    ],
)
def test_headers_that_make_no_sense_are_refused(ours, changes, message):
    with pytest.raises(CheckpointError, match=message):
        load_generator(with_header(ours, load_file(ours), **changes))


def test_a_published_generator_of_another_width_loads_strictly(tmp_path):
    path = tmp_path / "fpn.h5"
    narrow = make(GeneratorOptions(channels=64))
    torch.save({"model": narrow.state_dict()}, path)
    assert load_generator(path)[1].options == GeneratorOptions(channels=64)
    state = narrow.state_dict()
    del state["final.bias"]
    torch.save(state, path)
    with pytest.raises(
        CheckpointError, match=r"DeblurGAN-v2 MobileNet generator with F=64 .* 1 missing \(final"
    ):
        load_generator(path)


TENSOR = torch.zeros(1)
FOREIGN = {
    "a torchvision ResNet": {"conv1.weight": TENSOR, "layer1.0.conv1.weight": TENSOR},
    "a torchvision MobileNet classifier": {"features.0.0.weight": TENSOR},
    "a torchvision VGG, AlexNet or DenseNet": {"features.0.weight": TENSOR},
    "an Inception-ResNet-v2 classifier": {"conv2d_1a.conv.weight": TENSOR},
    "a timm EfficientNet or MobileNet classifier": {"conv_stem.weight": TENSOR},
    "a patch critic": {"model.0.weight": torch.zeros(64, 3, 4, 4)},
    "a state dict of 1 tensors, the first weight": {"weight": TENSOR},
    "the state of an optimiser": {"state": {}, "param_groups": []},
    "a checkpoint of an unfinished training": {"average": {}, "step": 3, "config": ""},
    "a training checkpoint with optimiser": {"optimizer": {}, "epoch": 3},
    r"a dict of 1 entries \(epoch\)": {"epoch": 3},
    "a single Tensor": TENSOR,
}


@pytest.mark.parametrize("what", FOREIGN)
def test_a_foreign_checkpoint_is_called_what_it_looks_like(tmp_path, what):
    path = tmp_path / "foreign.pth"
    torch.save(FOREIGN[what], path)
    with pytest.raises(CheckpointError, match=f"it looks like {what}"):
        load_generator(path)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "an empty file"),
        (b"\n<!DOCTYPE html><html>quota exceeded", "an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a Git LFS pointer"),
        (b"PK\x03\x04" + b"0" * 100, "a zip archive that is truncated"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (b"\x1f\x8b0000", "a gzip archive"),
        (b'{"a": 1}', "a JSON file"),
        (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    ],
)
@pytest.mark.parametrize("suffix", [".h5", ".safetensors"])
def test_what_is_no_weight_file_is_called_what_it_looks_like(tmp_path, content, what, suffix):
    path = tmp_path / f"file{suffix}"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=f"it looks like {what}"):
        load_generator(path)


def test_tensors_are_read_from_any_weight_file(tmp_path, ours, published):
    assert read_tensors(ours).keys() == make(SMALL).state_dict().keys()
    assert read_tensors(published).keys() == published_state("mobilenet").keys()
    path = tmp_path / "no_tensors.pth"
    torch.save({"epoch": 3}, path)
    with pytest.raises(CheckpointError, match="looks like a dict of 1 entries"):
        read_tensors(path)


def test_every_shipped_file_is_what_its_card_says():
    shipped = shipped_weights()
    assert set(shipped) == {card.stem for card in WEIGHTS_FOLDER.glob("*.md")}
    for name, path in shipped.items():
        card = read_card(path)
        assert card.name == name
        assert card.file == path.name
        assert card.sha256 == sha256(path)
        assert card.size_bytes == path.stat().st_size
        assert card.licence


def test_every_shipped_deblurrer_loads_and_keeps_its_numbers():
    for path in shipped_weights().values():
        card = read_card(path)
        if card.task == "deblurring":
            generator, info = load_generator(path, sha256=card.sha256)
            assert info.halo_px == card.halo_px
            assert parameter_count(generator) == card.parameters
            assert card.data
            assert card.size_bytes <= 8_000_000


@pytest.mark.parametrize(
    ("text", "message"),
    [("no front matter", "no front matter"), ("---\nname: x\n---\n", "unknown or missing fields")],
)
def test_a_card_without_its_facts_is_an_error(tmp_path, text, message):
    card = tmp_path / "x.md"
    card.write_text(text)
    with pytest.raises(CheckpointError, match=message):
        read_card(card)
