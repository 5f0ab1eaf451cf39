"""The critics: shapes, receptive fields, layers."""

import pytest
import torch
from torch import nn

from models.critics import PATCH_STRIDES, WHOLE_STRIDES, Critic, PatchCritic


def make(kind: str, channels: int = 4) -> Critic:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Critic(kind, channels=channels)


@pytest.mark.parametrize(("strided", "side"), [(PATCH_STRIDES, 70), (WHOLE_STRIDES, 286)])
def test_a_score_sees_as_many_pixels_as_published(strided, side):
    # A critic that adds up: without norms, one output's gradient marks what it sees.
    critic = PatchCritic(channels=1, strided=strided)
    layers = [layer for layer in critic.model if isinstance(layer, nn.Conv2d)]
    for layer in layers:
        nn.init.ones_(layer.weight)
    images = torch.zeros(1, 3, 640, 640, requires_grad=True)
    scores = nn.Sequential(*layers)(images)
    middle = scores.shape[2] // 2
    scores[0, 0, middle, middle].backward()
    seen = images.grad[0, 0].nonzero()
    assert (seen.max(dim=0).values - seen.min(dim=0).values + 1).tolist() == [side, side]


def test_widths_double_up_to_eight_times():
    layers = PatchCritic(channels=64, strided=5).model
    widths = [layer.out_channels for layer in layers if isinstance(layer, nn.Conv2d)]
    assert widths == [64, 128, 256, 512, 512, 512, 1]


def test_only_the_first_and_last_layer_have_no_norm_and_none_has_learned_values():
    model = PatchCritic(channels=4).model
    convs = [number for number, layer in enumerate(model) if isinstance(layer, nn.Conv2d)]
    normed = [isinstance(model[number + 1], nn.InstanceNorm2d) for number in convs[:-1]]
    assert normed == [False, True, True, True]
    assert not any(layer.affine for layer in model if isinstance(layer, nn.InstanceNorm2d))


def test_the_patch_critic_has_the_published_number_of_parameters():
    """2,764,737: pix2pix's 70-px discriminator for 3 colours, with biases in every layer."""
    convs = [(3, 64), (64, 128), (128, 256), (256, 512), (512, 1)]
    wanted = sum(16 * inputs * outputs + outputs for inputs, outputs in convs)
    assert sum(p.numel() for p in PatchCritic().parameters()) == wanted == 2_764_737


def test_the_double_critic_returns_a_map_for_each_scale():
    images = torch.zeros(2, 3, 64, 64)
    assert [tuple(scores.shape) for scores in make("patch")(images)] == [(2, 1, 11, 11)]
    shapes = [tuple(scores.shape) for scores in make("double")(images)]
    assert shapes == [(2, 1, 11, 11), (2, 1, 5, 5)]


def test_a_score_ignores_batch_mates():
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    critic = make("double")
    together, alone = critic(images), critic(images[1:2])
    for ours, wanted in zip(alone, together, strict=True):
        torch.testing.assert_close(ours, wanted[1:2], rtol=1e-4, atol=1e-6)


def test_scores_are_float32_in_mixed_precision():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert all(
            scores.dtype == torch.float32 for scores in make("patch")(torch.zeros(1, 3, 64, 64))
        )
