"""Weight files: strict, checked, and never executed."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from models.checkpoints import (
    WEIGHTS_FOLDER,
    CheckpointError,
    load_generator,
    published_tensors,
    read_card,
    save_generator,
    sha256,
    shipped_weights,
)
from models.deblurgan_v2 import Generator, GeneratorOptions
from models.networks import parameter_count
from tests.test_deblurgan_v2 import NORMS, SMALL, images, make, published_keys


def published_file(path: Path, *, prefix: str = "module.", wrapped: bool = True) -> Path:
    """A file with exactly the names and shapes of fpn_mobilenet.h5, and random values."""
    rng = np.random.default_rng(0)
    tensors: dict[str, torch.Tensor] = {}
    for name, shape in published_keys().items():
        if ".enc" not in name:
            value = rng.uniform(0.1, 0.2, shape).astype(np.float32)
            tensors[name] = torch.tensor(7) if name.endswith("tracked") else torch.tensor(value)
    for name in published_keys():
        if ".enc" in name:
            level, block, rest = name.removeprefix("fpn.enc").split(".", 2)
            first = (0, 2, 4, 7, 11)[int(level)]
            tensors[name] = tensors[f"fpn.features.{first + int(block)}.{rest}"]
    content = {prefix + name: tensor for name, tensor in tensors.items()}
    torch.save({"model": content} if wrapped else content, path)
    return path


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    return published_file(tmp_path_factory.mktemp("published") / "fpn_mobilenet.h5")


@pytest.fixture
def ours(tmp_path):
    path = tmp_path / "small.safetensors"
    save_generator(path, make(SMALL), halo_px=64)
    return path


def test_every_published_tensor_finds_its_place(published):
    generator, info = load_generator(published)
    content = torch.load(published, weights_only=True)["model"]
    assert len(content) == 622
    state = generator.state_dict()
    for name, tensor in content.items():
        if ".enc" not in name:
            torch.testing.assert_close(state.pop(name.removeprefix("module.")), tensor)
    assert not state
    assert info.options == GeneratorOptions()
    assert info.halo_px is None


@pytest.mark.parametrize(("prefix", "wrapped"), [("", True), ("module.", False), ("", False)])
def test_prefix_and_wrapping_do_not_matter(tmp_path, published, prefix, wrapped):
    other = published_file(tmp_path / "other.pth", prefix=prefix, wrapped=wrapped)
    expected = load_generator(published)[0].state_dict()
    for name, tensor in load_generator(other)[0].state_dict().items():
        torch.testing.assert_close(tensor, expected[name])


def test_an_alias_that_is_no_copy_is_refused(published):
    content = dict(torch.load(published, weights_only=True)["model"])
    content["module.fpn.enc3.1.conv.0.weight"] = content["module.fpn.enc3.1.conv.0.weight"] + 1
    with pytest.raises(CheckpointError, match=r"fpn\.enc3\.1\.conv\.0\.weight differs"):
        published_tensors({"model": content})


def test_ours_come_back_as_written(ours):
    generator, info = load_generator(ours)
    written = make(SMALL).half().float()
    torch.testing.assert_close(generator(images(1)), written.eval()(images(1)))
    assert info.options == SMALL
    assert info.halo_px == 64
    assert info.sha256 == sha256(ours)
    assert not generator.training


def test_norm_statistics_come_back_too(tmp_path):
    path = tmp_path / "norms.safetensors"
    save_generator(path, make(NORMS), halo_px=32, dtype=torch.float32)
    torch.testing.assert_close(load_generator(path)[0](images(1)), make(NORMS)(images(1)))


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


class Harmful:
    """Touches a file when it is unpickled."""

    def __reduce__(self):
        return (Path.touch, (Path("harm"),))


def test_a_pickle_that_holds_code_is_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bad = tmp_path / "bad.pth"
    bad.write_bytes(pickle.dumps({"model": Harmful()}, protocol=2))
    with pytest.raises(CheckpointError, match="not loaded"):
        load_generator(bad)
    assert not (tmp_path / "harm").exists()


def test_something_else_than_a_state_dict_is_refused():
    with pytest.raises(CheckpointError, match="not a state dict"):
        published_tensors({"epoch": 3})


def test_missing_unknown_and_misshapen_tensors_are_counted_and_named(tmp_path, ours):
    tensors = load_file(ours)
    del tensors["final.pointwise.bias"]
    tensors |= {f"surplus{number}": torch.zeros(1) for number in range(4)}
    tensors["final.pointwise.weight"] = torch.zeros(3, 5, 1, 1)
    generator = Generator(SMALL)
    foreign = tmp_path / "foreign.safetensors"
    save_generator(foreign, generator, halo_px=0)
    from safetensors import safe_open

    with safe_open(str(foreign), framework="pt") as file:
        header = file.metadata()
    save_file(tensors, str(foreign), metadata=header)
    with pytest.raises(CheckpointError) as raised:
        load_generator(foreign)
    message = str(raised.value)
    assert "1 missing (final.pointwise.bias)" in message
    assert "4 unknown (surplus0, surplus1, surplus2, ...)" in message
    assert "1 misshapen (final.pointwise.weight (3, 5, 1, 1) instead of (3, 4, 1, 1))" in message


def test_a_safetensors_file_of_another_network_is_refused(tmp_path):
    foreign = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(2)}, str(foreign))
    with pytest.raises(CheckpointError, match="architecture None, wanted 'deblurgan_v2'"):
        load_generator(foreign)


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
