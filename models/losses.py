"""What a generator and its critic are trained to make small.

Images are float (n, 3, h, w) in [-1, 1]; critics' scores are maps of any shape, float32. Every
function returns a scalar.

Where the sources of DeblurGAN differ, this is what we do:

- Relativistic losses compare with the mean score *of the batch*, as their paper does (Jolicoeur-
  Martineau, arXiv 1807.00734). The published DeblurGAN-v2 takes it over a pool of the last 50
  outputs, which ties a step to the history of the run.
- The two terms of a critic's loss are halved, as in the published code; the paper sums them.
- The gradient penalty draws one interpolation and takes one gradient norm per image, as WGAN-GP's
  paper does (Gulrajani et al., arXiv 1704.00028). Both published codes share one interpolation
  among a batch, and take a norm per pixel over the three colours.
- `lsgan` is a squared distance; the published function of that name is an absolute one and fails
  when called for the generator.
- The critic's own loss carries no weight; the published v2 multiplies it by the generator's.
- Colours are standardised with ImageNet's statistics for all images of a batch before the feature
  network sees them, on copies. The published v2 does it for the first only, in place, so that its
  pixel distance is one of standardised colours as well: `scale="imagenet"` is that distance.
"""

from collections.abc import Callable, Iterable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

PixelKind = Literal["l1", "l2", "charbonnier"]
PixelScale = Literal["unit", "imagenet"]
AdversarialKind = Literal["wgan_gp", "lsgan", "ragan", "ralsgan", "minimax"]

# Mean and deviation of the colours of ImageNet on a scale of [0, 1], as all its networks expect.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def pixel_distance(
    kind: PixelKind,
    restored: Tensor,
    sharp: Tensor,
    *,
    scale: PixelScale = "unit",
    epsilon: float = 0.01,
) -> Tensor:
    """The mean distance of pixels: |d| (`l1`), d^2 (`l2`) or sqrt(d^2 + epsilon^2).

    d is the difference of images on a scale of [0, 1] (`unit`), or that in units of the deviation
    of ImageNet's colours (`imagenet`), which makes `l2` about 20 times larger.
    """
    difference = (restored - sharp) / 2.0
    if scale == "imagenet":
        difference = difference / _per_colour(IMAGENET_STD, difference)
    if kind == "l1":
        return difference.abs().mean()
    if kind == "l2":
        return (difference * difference).mean()
    return torch.sqrt(difference * difference + epsilon * epsilon).mean()


def spectral_distance(restored: Tensor, sharp: Tensor) -> Tensor:
    """The mean absolute difference of orthonormal spectra, images on a scale of [0, 1].

    From MIMO-UNet (arXiv 2108.05054).
    """
    spectrum = torch.fft.rfft2((restored - sharp) / 2.0, norm="ortho")
    distance: Tensor = (spectrum.real.abs() + spectrum.imag.abs()).mean()
    return distance


def feature_distance(features: nn.Module, restored: Tensor, sharp: Tensor) -> Tensor:
    """The mean squared difference of feature maps (Johnson et al., arXiv 1603.08155).

    `features` takes images standardised with ImageNet's statistics. No gradient flows into it
    through `sharp`.
    """
    with torch.no_grad():
        wanted = features(standardise(sharp))
    return functional.mse_loss(features(standardise(restored)).float(), wanted.float())


def standardise(images: Tensor) -> Tensor:
    """Images in [-1, 1] as networks trained on ImageNet expect them; a copy."""
    unit = (images + 1.0) / 2.0
    return (unit - _per_colour(IMAGENET_MEAN, unit)) / _per_colour(IMAGENET_STD, unit)


def _per_colour(values: tuple[float, float, float], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device)[:, None, None]


def critic_loss(kind: AdversarialKind, real: Iterable[Tensor], fake: Iterable[Tensor]) -> Tensor:
    """What the critic minimises, averaged over its maps; of `wgan_gp` without the penalty.

    `real` and `fake` are the scores of sharp and of restored images.
    """
    return _mean(_CRITIC[kind], real, fake)


def generator_loss(kind: AdversarialKind, real: Iterable[Tensor], fake: Iterable[Tensor]) -> Tensor:
    """What the generator minimises, averaged over the critic's maps.

    Only the relativistic kinds look at `real`. `minimax` is its non-saturating form
    (Goodfellow et al., arXiv 1406.2661, section 3), as published.
    """
    return _mean(_GENERATOR[kind], real, fake)


def gradient_penalty(
    critic: Callable[[Tensor], tuple[Tensor, ...]], real: Tensor, fake: Tensor, shares: Tensor
) -> Tensor:
    """The mean squared deviation from 1 of the norm of each image's gradient, averaged over maps.

    `shares` (n,) in [0, 1] say how much of the sharp image is in each interpolation. The gradient
    is that of the sum of an image's scores, as published: a critic of patches is held to a slope
    of 1 by all of them together. To be multiplied by WGAN-GP's lambda, 10.
    """
    parts = shares[:, None, None, None]
    between = (parts * real + (1.0 - parts) * fake).detach().requires_grad_(True)
    penalties = []
    for scores in critic(between):
        (gradient,) = torch.autograd.grad(scores.sum(), between, create_graph=True)
        norms = gradient.flatten(start_dim=1).norm(dim=1)
        penalties.append(((norms - 1.0) ** 2).mean())
    return torch.stack(penalties).mean()


def _mean(
    of_scale: Callable[[Tensor, Tensor], Tensor], real: Iterable[Tensor], fake: Iterable[Tensor]
) -> Tensor:
    return torch.stack([of_scale(r, f) for r, f in zip(real, fake, strict=True)]).mean()


def _towards(scores: Tensor, label: float) -> Tensor:
    return functional.binary_cross_entropy_with_logits(scores, torch.full_like(scores, label))


def _wasserstein(real: Tensor, fake: Tensor) -> Tensor:
    return fake.mean() - real.mean()


def _wasserstein_generator(real: Tensor, fake: Tensor) -> Tensor:
    return -fake.mean()


def _least_squares(real: Tensor, fake: Tensor) -> Tensor:
    return (((real - 1.0) ** 2).mean() + (fake**2).mean()) / 2.0


def _least_squares_generator(real: Tensor, fake: Tensor) -> Tensor:
    return ((fake - 1.0) ** 2).mean() / 2.0


def _minimax(real: Tensor, fake: Tensor) -> Tensor:
    return (_towards(real, 1.0) + _towards(fake, 0.0)) / 2.0


def _minimax_generator(real: Tensor, fake: Tensor) -> Tensor:
    return _towards(fake, 1.0)


def _relativistic(real: Tensor, fake: Tensor) -> Tensor:
    return (_towards(real - fake.mean(), 1.0) + _towards(fake - real.mean(), 0.0)) / 2.0


def _relativistic_squares(real: Tensor, fake: Tensor) -> Tensor:
    more_real = ((real - fake.mean() - 1.0) ** 2).mean()
    less_real = ((fake - real.mean() + 1.0) ** 2).mean()
    return (more_real + less_real) / 2.0


def _swapped(loss: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda real, fake: loss(fake, real)


_CRITIC: dict[AdversarialKind, Callable[[Tensor, Tensor], Tensor]] = {
    "wgan_gp": _wasserstein,
    "lsgan": _least_squares,
    "ragan": _relativistic,
    "ralsgan": _relativistic_squares,
    "minimax": _minimax,
}
_GENERATOR: dict[AdversarialKind, Callable[[Tensor, Tensor], Tensor]] = {
    "wgan_gp": _wasserstein_generator,
    "lsgan": _least_squares_generator,
    "ragan": _swapped(_relativistic),
    "ralsgan": _swapped(_relativistic_squares),
    "minimax": _minimax_generator,
}
