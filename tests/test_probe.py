"""The probe of a deblurrer, and the fingerprint that its card holds it to."""

import json
from dataclasses import replace

import numpy as np
import pytest
import yaml

from configs.schema import DeblurConfig
from models.cards import CheckpointError, read_card, shipped_weights
from models.checkpoints import load_generator, save_generator
from models.deblurrer import Deblurrer
from models.fingerprint import Fingerprint, fingerprint_chart, take_fingerprint
from models.probe import (
    ProbeResult,
    check_fingerprint,
    fingerprint_deblurrer,
    probe_charts,
    probe_edges,
    run_probe,
)
from models.training import deblur_loop
from pipeline.cli import main
from tests.deblur_trainings import UNET, configuration, write_pictures
from tests.restorers import TINY, make
from transforms.deblur import load_deblurrer

DEBLURRERS = ("deblur_dsc", "deblur_mobilenet")


def keep(images):
    return images.copy()


@pytest.fixture(scope="module")
def kept() -> ProbeResult:
    return run_probe(keep, halo=32)


@pytest.fixture
def carded(tmp_path):
    """Weights of a tiny network with a card that holds its fingerprint; the path of the weights."""
    path = tmp_path / "tiny.safetensors"
    save_generator(path, make(TINY["unet"]), halo_px=32)
    write_card(path, take_fingerprint(Deblurrer.load(path), normalisation="frozen"))
    return path


def write_card(weights, fingerprint: Fingerprint | None) -> None:
    facts = yaml.safe_load(
        shipped_weights()["deblur_dsc"].with_suffix(".md").read_text().split("---\n")[1]
    )
    facts["fingerprint"] = fingerprint and fingerprint.to_dict()
    weights.with_suffix(".md").write_text(f"---\n{yaml.safe_dump(facts)}---\n")


def test_a_network_that_changes_nothing_has_nothing_to_report(kept):
    assert kept.numbers() == {
        "bias_dn": 0,
        "levels": 256,
        "hue_shift_dn": 0,
        "noise_gain": 1,
        "mtf50_gain_7px": 1,
        "mtf50_gain_11px": 1,
        "overshoot_percent": 0,
        "seam_dn": 0,
    }
    assert (kept.bright, kept.dark) == 2 * (kept.bright,)
    assert kept.bright.response == 1
    assert kept.seam.jump == 1
    assert kept.star.blurred_after == kept.star.blurred_before < 0.8 < kept.star.sharp_after


def test_a_network_that_undoes_the_motion_gains_what_the_motion_took():
    given = probe_charts()
    sharp = {
        given[edge.name].tobytes(): given[replace(edge, length=0.0, direction="across").name]
        for edge in probe_edges()
    }
    result = run_probe(lambda x: np.stack([sharp.get(i.tobytes(), i) for i in x]), halo=0)
    lost = [given["edge_vertical_7px_across"], given["edge_vertical_sharp"]]
    assert lost[0].tobytes() in sharp
    assert result.gain(7) == pytest.approx(0.6034 / (0.6034 / 7), rel=0.03)
    assert result.gain(11) == pytest.approx(11, rel=0.03)


def test_a_network_that_stretches_each_tile_by_itself_leaves_a_seam():
    def stretch(images):
        low = images.min(axis=(1, 2, 3), keepdims=True)
        return images - low

    apart, together = (run_probe(stretch, halo=halo).seam for halo in (0, 512))
    assert apart.worst_dn > 50
    assert together.worst_dn == 0


@pytest.mark.parametrize(("given", "used"), [(None, 160), (0, 0), (33, 64), (4096, 512)])
def test_the_halo_of_the_seam_lies_on_the_grid_of_tiles(given, used):
    assert run_probe(keep, halo=given).halo_px == used


def test_a_result_survives_json(kept):
    again = ProbeResult.from_dict(json.loads(json.dumps(kept.to_dict())))
    assert again == kept
    with pytest.raises(TypeError, match="extra"):
        ProbeResult.from_dict({**kept.to_dict(), "extra": 1})


def test_the_fingerprint_chart_is_for_ever():
    chart = fingerprint_chart()
    assert chart.shape == (128, 128, 3)
    # Another chart would make every card wrong: these sums are those of the cards' chart.
    assert chart.sum(axis=(0, 1), dtype=np.int64).tolist() == [2177478, 1874198, 1937606]


def test_an_untouched_chart_has_no_changes_and_swapped_bands_show():
    own = take_fingerprint(keep, normalisation="frozen")
    assert np.abs(own.changes).max() == 0
    swapped = take_fingerprint(lambda x: x[..., ::-1], normalisation="frozen")
    assert own.distance(own) == 0
    assert own.distance(swapped) == swapped.distance(own) > 10


def test_a_fingerprint_survives_a_card(carded):
    known = read_card(carded).fingerprint
    assert known == take_fingerprint(Deblurrer.load(carded), normalisation="frozen")
    assert Fingerprint.from_dict(known.to_dict()) == known


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"means": [[1.0]]}, "8 x 8 blocks is wanted"),
        ({"extra": 1}, "a fingerprint has"),
        ({"numbers": {"levels": "many"}}, "could not convert"),
    ],
)
def test_a_card_with_a_broken_fingerprint_is_an_error(carded, change, message):
    card = carded.with_suffix(".md")
    facts = yaml.safe_load(card.read_text().split("---\n")[1])
    facts["fingerprint"] |= change
    card.write_text(f"---\n{yaml.safe_dump(facts)}---\n")
    with pytest.raises(CheckpointError, match=message):
        load_deblurrer(DeblurConfig(weights=str(carded)))


def test_weights_that_answer_as_their_card_says_load(carded):
    assert load_deblurrer(DeblurConfig(weights=str(carded))).halo == 32


def test_weights_with_one_perturbed_tensor_do_not_load(carded):
    network, _ = load_generator(carded)
    perturbed = [p for p in network.parameters() if p.ndim == 4][2]
    perturbed.data *= 1.1
    save_generator(carded, network, halo_px=32)
    with pytest.raises(RuntimeError, match=r"got a difference of \d+\.\d+ DN, wanted at most 0.1"):
        load_deblurrer(DeblurConfig(weights=str(carded)))


def test_an_answer_that_is_no_number_does_not_load(carded):
    known = read_card(carded).fingerprint
    write_card(carded, replace(known, means=((float("nan"),) * 8,) * 8))
    with pytest.raises(RuntimeError, match="difference of nan"):
        load_deblurrer(DeblurConfig(weights=str(carded)))


def test_another_normalisation_than_the_cards_is_not_compared(carded):
    config = DeblurConfig(weights=str(carded), normalisation="per_image")
    deblurrer = load_deblurrer(config)
    got = take_fingerprint(deblurrer, normalisation="frozen")
    known = read_card(carded).fingerprint
    assert deblurrer.normalisation != known.normalisation
    assert got.normalisation == known.normalisation


@pytest.mark.parametrize("text", [None, "notes on these weights\n"])
def test_weights_without_a_card_load_as_before(carded, text):
    carded.with_suffix(".md").unlink()
    if text is not None:
        carded.with_suffix(".md").write_text(text)
    assert load_deblurrer(DeblurConfig(weights=str(carded))).stride > 0


def test_weights_whose_card_has_no_fingerprint_load_as_before(carded):
    write_card(carded, None)
    assert load_deblurrer(DeblurConfig(weights=str(carded))).stride > 0


@pytest.mark.parametrize("normalisation", ["frozen", "per_image"])
def test_a_training_writes_the_fingerprint_of_its_weights(tmp_path, monkeypatch, normalisation):
    monkeypatch.setattr(deblur_loop.Curve, "draw", lambda _: True)
    data = write_pictures(tmp_path)
    config = configuration(
        data, tmp_path / "run", steps=1, network=UNET, normalisation=normalisation
    )
    weights = deblur_loop.train_deblurrer(config)
    known = read_card(weights).fingerprint
    deblurrer = load_deblurrer(DeblurConfig(weights=str(weights), normalisation=normalisation))
    assert known == fingerprint_deblurrer(deblurrer)
    assert known.normalisation == normalisation


@pytest.mark.parametrize("name", DEBLURRERS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_shipped_weights_answer_as_their_card_says(name, dtype):
    assert read_card(shipped_weights()[name]).fingerprint is not None
    assert load_deblurrer(DeblurConfig(weights=name, dtype=dtype)).dtype == dtype


@pytest.mark.parametrize("name", DEBLURRERS)
def test_the_numbers_of_a_shipped_fingerprint_are_those_of_the_probe(name):
    path = shipped_weights()[name]
    known = read_card(path).fingerprint
    measured = fingerprint_deblurrer(Deblurrer.load(path)).numbers
    assert known.numbers.keys() == measured.keys()
    for key, value in measured.items():
        assert value == pytest.approx(known.numbers[key], rel=0.02, abs=1), key


def test_shipped_weights_run_otherwise_are_refused():
    deblurrer = Deblurrer.load(shipped_weights()["deblur_dsc"], normalisation="per_image")
    with pytest.raises(RuntimeError, match=r"deblur_dsc\.safetensors on cpu in float32"):
        check_fingerprint(replace(deblurrer, normalisation="frozen"))


def test_the_command_prints_a_table_and_writes_json_and_a_picture(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    weights = tmp_path / "tiny.safetensors"
    save_generator(weights, make(TINY["unet"]), halo_px=32)
    report, figure = tmp_path / "probe.json", tmp_path / "probe.png"
    arguments = ["probe", str(weights), "--json", str(report), "--figure", str(figure)]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    for word in ("grey levels", "seam, halo 32 px", "vertical 7px across", "MTF50"):
        assert word in said
    written = json.loads(report.read_text())
    deblurrer = Deblurrer.load(weights)
    assert ProbeResult.from_dict(written["probe"]) == run_probe(deblurrer, halo=32)
    assert Fingerprint.from_dict(written["fingerprint"]) == fingerprint_deblurrer(deblurrer)
    assert figure.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["vehicles_yolo"], "wanted a deblurrer"),
        (["nowhere.pt"], "weights must be a file or one of"),
        (["deblur_dsc", "--device", "cuda:99"], "promised device='cuda:99'"),
        (["deblur_dsc", "--dtype", "float16"], "float16 needs a GPU"),
        (["deblur_dsc", "--", "--streaming"], "probe takes no Beam flags"),
    ],
)
def test_what_cannot_be_probed_is_said(capsys, arguments, message):
    assert main(["probe", *arguments]) == 2
    assert message in capsys.readouterr().err
