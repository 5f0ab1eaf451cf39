"""One network per scene: whoever asks, wherever, and in whatever order."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scenes import textured, write_picture, write_scene

from configs.schema import RunConfig
from models.checkpoints import save_generator
from models.deblurrer import Deblurrer
from tests.restorers import TINY, make
from transforms import scene_networks
from transforms.decoder import DecoderCrash, DecoderError, DecoderTimeout
from transforms.isolated import IsolatedReader
from transforms.read import read_tile
from transforms.records import Blur
from transforms.scene_networks import SceneNetworks
from transforms.scene_reader import SceneReader
from transforms.scenes import plan_scenes, plan_windows


@pytest.fixture(autouse=True)
def small_samples(monkeypatch):
    monkeypatch.setattr(scene_networks, "SAMPLE", 64)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "norms.safetensors"
    save_generator(path, make(TINY["mobilenet"]), halo_px=None, dtype=torch.float32)
    return path


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    dark = (textured(256, 320, 1) // 4).astype(np.uint8)
    write_picture(folder / "dark.tif", np.maximum(dark, 1))
    write_picture(folder / "light.tif", textured(256, 320, 2))
    deblur = {"normalisation": "scene", "scene_samples": 3}
    read = {"core": 64, "halo": 32}
    return RunConfig(input={"scenes": [str(folder / "*.tif")]}, read=read, deblur=deblur)


def networks(weights, config):
    return SceneNetworks(Deblurrer.load(weights, normalisation="per_image"), config)


def tiles(config, *names):
    scenes, rejected = plan_scenes(config)
    assert not rejected
    reader = SceneReader(config.input)
    windows = [
        w for scene in scenes if scene.name in names for w in plan_windows(scene, config.read)
    ]
    read = [read_tile(window, reader, None, config.read) for window in windows]
    reader.close()
    return read


def bits(network):
    return [value.numpy().tobytes() for value in network.generator.state_dict().values()]


def test_all_tiles_of_a_scene_get_the_same_network(weights, config):
    of_scene = networks(weights, config)
    found = [of_scene(tile) for tile in tiles(config, "dark.tif")]
    assert len(found) == 20
    assert all(network is found[0] for network in found)
    of_scene.close()


def test_whoever_asks_first_and_wherever_the_bits_are_the_same(weights, config):
    mixed = tiles(config, "dark.tif", "light.tif")
    one, other = networks(weights, config), networks(weights, config)
    first = {tile.window.scene.name: bits(one(tile)) for tile in mixed}
    second = {tile.window.scene.name: bits(other(tile)) for tile in reversed(mixed)}
    assert first == second
    assert first["dark.tif"] != first["light.tif"]


def test_a_scene_that_was_dropped_is_estimated_to_the_same_bits(weights, config, monkeypatch):
    monkeypatch.setattr(scene_networks, "KEPT", 1)
    of_scene = networks(weights, config)
    [dark, *_], [light, *_] = (tiles(config, name) for name in ("dark.tif", "light.tif"))
    first = bits(of_scene(dark))
    of_scene(light)
    assert bits(of_scene(dark)) == first


def test_a_picture_blurred_by_us_has_statistics_of_its_own(weights, config):
    of_scene, [tile, *_] = networks(weights, config), tiles(config, "light.tif")
    blurred = replace(tile, window=replace(tile.window, blur=Blur(15.0, 0.0)))
    assert bits(of_scene(tile)) != bits(of_scene(blurred))


def test_samples_without_data_are_passed_over(weights, config, tmp_path):
    array = np.moveaxis(textured(64, 640, 3), -1, 0).copy()
    array[:, :, 128:] = 0
    write_scene(tmp_path / "half.tif", array, nodata=0, photometric="rgb")
    content = config.model_dump() | {"input": {"scenes": [str(tmp_path / "half.tif")]}}
    sparse = RunConfig.model_validate(content)
    scenes, _ = plan_scenes(sparse)
    window = next(iter(plan_windows(scenes[0], sparse.read)))
    samples = networks(weights, sparse).samples(window)
    assert len(samples) == 2
    assert all(sample.all() for sample in samples)


@pytest.mark.parametrize("kind", [DecoderError, DecoderCrash, DecoderTimeout])
def test_a_decoder_that_is_lost_does_not_change_the_network(weights, config, monkeypatch, kind):
    [tile, *_] = tiles(config, "dark.tif")
    expected = bits(networks(weights, config)(tile))
    of_scene = networks(weights, config)
    with monkeypatch.context() as patch:
        read = IsolatedReader.read_window
        lost = iter([kind("no answer")])

        def read_window(reader, window):
            for error in lost:
                raise error
            return read(reader, window)

        patch.setattr(IsolatedReader, "read_window", read_window)
        with pytest.raises(ValueError, match=r"statistics of dark\.tif: no answer"):
            of_scene(tile)
        assert bits(of_scene(tile)) == expected


def test_a_scene_that_cannot_be_read_says_so(weights, config):
    [tile, *_] = tiles(config, "dark.tif")
    scene = replace(tile.window.scene, path="/nowhere/dark.tif")
    lost = replace(tile, window=replace(tile.window, scene=scene))
    with pytest.raises(ValueError, match=r"no tile of dark\.tif can be read"):
        networks(weights, config)(lost)
