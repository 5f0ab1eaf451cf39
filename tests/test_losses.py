"""Losses against small numpy computations and their own symmetries."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from torch import nn

from models.losses import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    critic_loss,
    feature_distance,
    generator_loss,
    gradient_penalty,
    pixel_distance,
    spectral_distance,
    standardise,
)

KINDS = ("wgan_gp", "lsgan", "ragan", "ralsgan", "minimax")
STD = np.array(IMAGENET_STD)[:, None, None]


def maps(low: float = -3.0, high: float = 3.0):
    values = st.floats(low, high, width=32)
    return npst.arrays(np.float32, (2, 1, 3, 4), elements=values)


def some(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def softplus(x):
    return np.logaddexp(0.0, x)


def numpy_critic(kind, real, fake):
    """The critics' losses as their papers write them, both terms halved where there are two."""
    r, f = real.astype(np.float64), fake.astype(np.float64)
    return {
        "wgan_gp": f.mean() - r.mean(),
        "lsgan": 0.5 * np.mean((r - 1) ** 2) + 0.5 * np.mean(f**2),
        "minimax": 0.5 * np.mean(softplus(-r)) + 0.5 * np.mean(softplus(f)),
        "ragan": 0.5 * np.mean(softplus(-(r - f.mean()))) + 0.5 * np.mean(softplus(f - r.mean())),
        "ralsgan": 0.5 * np.mean((r - f.mean() - 1) ** 2) + 0.5 * np.mean((f - r.mean() + 1) ** 2),
    }[kind]


def numpy_generator(kind, real, fake):
    r, f = real.astype(np.float64), fake.astype(np.float64)
    return {
        "wgan_gp": -f.mean(),
        "lsgan": 0.5 * np.mean((f - 1) ** 2),
        "minimax": np.mean(softplus(-f)),
        "ragan": 0.5 * np.mean(softplus(r - f.mean())) + 0.5 * np.mean(softplus(-(f - r.mean()))),
        "ralsgan": 0.5 * np.mean((r - f.mean() + 1) ** 2) + 0.5 * np.mean((f - r.mean() - 1) ** 2),
    }[kind]


@pytest.mark.parametrize("kind", KINDS)
@given(real=maps(), fake=maps())
def test_adversarial_losses_agree_with_numpy(kind, real, fake):
    r, f = torch.from_numpy(real), torch.from_numpy(fake)
    critic, generator = critic_loss(kind, [r], [f]), generator_loss(kind, [r], [f])
    assert critic.item() == pytest.approx(numpy_critic(kind, real, fake), rel=1e-4, abs=1e-5)
    assert generator.item() == pytest.approx(numpy_generator(kind, real, fake), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("kind", ["ragan", "ralsgan"])
@given(real=maps(), fake=maps())
def test_relativistic_players_are_each_other_mirrored(kind, real, fake):
    r, f = torch.from_numpy(real), torch.from_numpy(fake)
    assert torch.equal(generator_loss(kind, [r], [f]), critic_loss(kind, [f], [r]))


@pytest.mark.parametrize("kind", ["ragan", "ralsgan"])
@given(real=maps(), fake=maps(), shift=st.floats(-2, 2))
def test_relativistic_losses_ignore_a_common_shift(kind, real, fake, shift):
    r, f = torch.from_numpy(real), torch.from_numpy(fake)
    moved = critic_loss(kind, [r + shift], [f + shift])
    torch.testing.assert_close(moved, critic_loss(kind, [r], [f]), rtol=1e-3, atol=1e-4)


@given(real=maps(), fake=maps())
def test_ralsgan_is_least_where_real_scores_exceed_fake_ones_by_one(real, fake):
    r, f = torch.from_numpy(real), torch.from_numpy(fake)
    assert critic_loss("ralsgan", [r], [f]) >= 0
    constant = torch.full_like(r, 0.25)
    assert critic_loss("ralsgan", [constant + 1], [constant]).item() == 0


@pytest.mark.parametrize("kind", KINDS)
def test_scales_are_averaged(kind):
    maps_of = [(some((2, 1, 5, 5), 1), some((2, 1, 5, 5), 2)), (some((2, 1, 3, 3), 3),) * 2]
    real, fake = [r for r, _ in maps_of], [f for _, f in maps_of]
    for loss in (critic_loss, generator_loss):
        single = [loss(kind, [r], [f]) for r, f in maps_of]
        torch.testing.assert_close(loss(kind, real, fake), sum(single) / 2)


@pytest.mark.parametrize("kind", KINDS)
def test_the_generator_is_pulled_towards_higher_scores_and_the_critic_apart(kind):
    real = torch.zeros(1, 1, 2, 2, requires_grad=True)
    fake = torch.zeros(1, 1, 2, 2, requires_grad=True)
    generator_loss(kind, [real], [fake]).backward()
    assert (fake.grad < 0).all()
    real.grad = fake.grad = None
    critic_loss(kind, [real], [fake]).backward()
    assert (fake.grad >= 0).all()
    assert (real.grad < 0).all()


def linear(weight: torch.Tensor):
    """Score images by one inner product: the gradient is the weight everywhere."""
    return lambda images: ((images * weight).sum(dim=(1, 2, 3)),)


@given(length=st.floats(0.1, 4.0))
def test_the_penalty_of_a_linear_critic_is_that_of_its_slope(length):
    direction = some((3, 4, 4), 5)
    direction /= direction.norm()
    weight = (length * direction).requires_grad_(True)
    real, fake = some((2, 3, 4, 4), 1), some((2, 3, 4, 4), 2)
    penalty = gradient_penalty(linear(weight), real, fake, torch.ones(2))
    assert penalty.item() == pytest.approx((length - 1) ** 2, rel=1e-3, abs=1e-6)
    penalty.backward()
    wanted = 2 * (length - 1) * direction
    torch.testing.assert_close(weight.grad, wanted, rtol=1e-2, atol=1e-5)


def test_the_penalty_takes_each_image_where_its_own_share_puts_it():
    def quadratic(images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (0.5 * (images**2).sum(dim=(1, 2, 3)),)  # its gradient is the image

    real, fake, shares = some((3, 3, 4, 4), 1), some((3, 3, 4, 4), 2), torch.tensor([0.0, 0.3, 1.0])
    parts = shares.numpy()[:, None, None, None]
    between = parts * real.numpy() + (1 - parts) * fake.numpy()
    norms = np.sqrt((between**2).sum(axis=(1, 2, 3)))
    penalty = gradient_penalty(quadratic, real, fake, shares)
    assert penalty.item() == pytest.approx(np.mean((norms - 1) ** 2), rel=1e-5)


def test_the_penalty_of_a_batch_is_the_mean_of_its_images():
    inner = linear(some((3, 4, 4), 3))

    def squared(images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (inner(images)[0] ** 2,)

    real, fake, shares = some((3, 3, 4, 4), 1), some((3, 3, 4, 4), 2), torch.tensor([0.2, 0.5, 0.9])
    alone = [
        gradient_penalty(squared, real[n : n + 1], fake[n : n + 1], shares[n : n + 1])
        for n in range(3)
    ]
    torch.testing.assert_close(
        gradient_penalty(squared, real, fake, shares), torch.stack(alone).mean()
    )


@pytest.mark.parametrize("scale", ["unit", "imagenet"])
@pytest.mark.parametrize("kind", ["l1", "l2", "charbonnier"])
def test_pixel_distances_agree_with_numpy(kind, scale):
    restored, sharp = some((2, 3, 8, 6), 1), some((2, 3, 8, 6), 2)
    d = (restored.double().numpy() - sharp.double().numpy()) / 2
    d = d / STD if scale == "imagenet" else d
    wanted = {"l1": np.abs(d), "l2": d**2, "charbonnier": np.hypot(d, 0.05)}[kind].mean()
    got = pixel_distance(kind, restored, sharp, scale=scale, epsilon=0.05)
    assert got.item() == pytest.approx(wanted, rel=1e-5)


@given(images=npst.arrays(np.float32, (1, 3, 2, 2), elements=st.floats(-1, 1, width=32)))
def test_an_image_is_at_no_distance_from_itself(images):
    x = torch.from_numpy(images)
    assert pixel_distance("l1", x, x).item() == pixel_distance("l2", x, x).item() == 0
    assert spectral_distance(x, x).item() == 0
    assert pixel_distance("charbonnier", x, x, epsilon=0.01).item() == pytest.approx(0.01)


def test_charbonnier_is_absolute_for_large_and_flat_for_small_differences():
    x = torch.zeros(1, 3, 4, 4)
    assert pixel_distance("charbonnier", x + 1.0, x, epsilon=1e-3).item() == pytest.approx(
        0.5, rel=1e-5
    )


def test_the_spectral_distance_agrees_with_numpy():
    restored, sharp = some((2, 3, 8, 6), 1), some((2, 3, 8, 6), 2)
    spectrum = np.fft.rfft2((restored - sharp).double().numpy() / 2, norm="ortho")
    wanted = np.mean(np.abs(spectrum.real) + np.abs(spectrum.imag))
    assert spectral_distance(restored, sharp).item() == pytest.approx(wanted, rel=1e-5)


def test_the_spectral_distance_sees_a_wave_where_it_is():
    rows = torch.arange(32).float()
    wave = torch.cos(2 * torch.pi * rows / 4).expand(1, 3, 32, 32)
    # All energy in one coefficient of 32 x 17: amplitude 1/2 of the scale, times n / 2 = 16.
    assert spectral_distance(wave, 0 * wave).item() == pytest.approx(0.5 * 16 / (32 * 17), rel=1e-4)


def test_standardised_colours_agree_with_numpy_for_every_image():
    images = some((2, 3, 4, 4), 1)
    untouched = images.clone()
    wanted = ((images.numpy() + 1) / 2 - np.array(IMAGENET_MEAN)[:, None, None]) / STD
    np.testing.assert_allclose(standardise(images).numpy(), wanted, rtol=1e-5, atol=1e-6)
    assert torch.equal(images, untouched)


def test_the_feature_distance_is_the_squared_difference_of_features():
    features = nn.Conv2d(3, 5, 3)
    restored, sharp = some((2, 3, 8, 8), 1).requires_grad_(), some((2, 3, 8, 8), 2).requires_grad_()
    distance = feature_distance(features, restored, sharp)
    difference = features(standardise(restored)) - features(standardise(sharp))
    wanted = np.mean(difference.detach().double().numpy() ** 2)
    assert distance.item() == pytest.approx(wanted, rel=1e-5)
    distance.backward()
    assert restored.grad is not None
    assert sharp.grad is None
