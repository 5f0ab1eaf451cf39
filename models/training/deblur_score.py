"""How good a deblurrer is: fixed crops, blurred in fixed ways, measured as sums."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from transforms.functional.blur import blur_tile
from transforms.functional.camera import Image
from transforms.functional.quality import ssim_map

LENGTHS = (4.0, 7.0, 11.0, 15.0)
CARD_LENGTHS = (4.0, 7.0, 11.0, 15.0, 21.0)
CARD_ANGLES = (20.0, 65.0, 110.0, 155.0)
_CROP = 192
_CROPS = 16


@dataclass(frozen=True)
class Score:
    """Means over the validation set: dB, and SSIM, after deblurring; per length the gain in dB."""

    psnr: float
    ssim: float
    gain: float
    gains: tuple[float, ...]
    sharp_psnr: float

    def row(self) -> dict[str, str]:
        """The columns of the training curve."""
        per_length = zip(LENGTHS, self.gains, strict=True)
        return {
            "psnr": f"{self.psnr:.3f}",
            "ssim": f"{self.ssim:.4f}",
            "gain": f"{self.gain:.3f}",
            **{f"gain_{length:g}px": f"{gain:.3f}" for length, gain in per_length},
            "sharp_psnr": f"{self.sharp_psnr:.2f}",
        }

    def __str__(self) -> str:
        return f"validation {self.psnr:.2f} dB ({self.gain:+.2f}), SSIM {self.ssim:.3f}"


@dataclass(frozen=True, eq=False)
class ValidationSet:
    """Sharp crops, uint8 (n, 192, 192, 3), and per length their blurred versions."""

    sharp: Image
    blurred: tuple[Image, ...]

    def score(self, generator: nn.Module) -> Score:
        """Run the generator on all of them, in float32."""
        restored = [restore(generator, blurred) for blurred in self.blurred]
        before = np.array([psnr(self.sharp, blurred) for blurred in self.blurred])
        after = np.array([psnr(self.sharp, image) for image in restored])
        return Score(
            psnr=float(after.mean()),
            ssim=float(np.mean([ssim(self.sharp, image) for image in restored])),
            gain=float((after - before).mean()),
            gains=tuple((after - before).mean(axis=1).tolist()),
            sharp_psnr=float(psnr(self.sharp, restore(generator, self.sharp)).mean()),
        )


def validation_set(pictures: Sequence[Image]) -> ValidationSet:
    """Sixteen fixed places spread over the pictures, each with its own angle and noise."""
    sharp = np.stack([_crop(pictures, number) for number in range(_CROPS)])
    blurred = tuple(
        np.stack(
            [
                blur_tile(image, length=length, angle=22.5 * number + 11.0, seed=number)
                for number, image in enumerate(sharp)
            ]
        )
        for length in LENGTHS
    )
    return ValidationSet(sharp, blurred)


def _crop(pictures: Sequence[Image], number: int) -> Image:
    image = pictures[number % len(pictures)]
    rng = np.random.default_rng(number)
    height, width = image.shape[:2]
    top, left = rng.integers(height - _CROP + 1), rng.integers(width - _CROP + 1)
    return image[top : top + _CROP, left : left + _CROP]


def restore(generator: nn.Module, images: Image) -> Image:
    """The generator's output for uint8 (n, h, w, 3), sides multiples of 32, image by image."""
    restored = [np.rint(_levels(generator, image)) for image in images]
    levels: Image = np.clip(np.stack(restored), 0, 255).astype(np.uint8)
    return levels


def psnr(sharp: Image, images: Image) -> npt.NDArray[np.float64]:
    """PSNR of each image in dB, range 255; identical images are given 60."""
    error = ((sharp.astype(np.float64) - images.astype(np.float64)) ** 2).mean(axis=(1, 2, 3))
    return np.asarray(10.0 * np.log10(255.0**2 / np.maximum(error, 255.0**2 / 1e6)))


def ssim(sharp: Image, images: Image) -> float:
    """Mean SSIM over images, pixels and channels."""
    return float(np.mean([ssim_map(a, b).mean() for a, b in zip(sharp, images, strict=True)]))


def score_pictures(generator: nn.Module, pictures: Sequence[Image]) -> dict[str, float]:
    """Gain in dB per blur length over the middles of the pictures, and how sharp ones come back."""
    middles = [_middle(picture) for picture in pictures]
    gains = {
        length: float(np.mean([_gain(generator, middle, length) for middle in middles]))
        for length in CARD_LENGTHS
    }
    kept = [psnr(middle[None], restore(generator, middle[None]))[0] for middle in middles]
    medium = [gain for length, gain in gains.items() if 7 <= length <= 15]
    return {
        "gain_7_to_15px_db": round(float(np.mean(medium)), 2),
        **{f"gain_{length:g}px_db": round(gain, 2) for length, gain in gains.items()},
        "sharp_psnr_db": round(float(np.mean(kept)), 1),
    }


def _gain(generator: nn.Module, sharp: Image, length: float) -> float:
    blurred = np.stack(
        [blur_tile(sharp, length=length, angle=angle, seed=0) for angle in CARD_ANGLES]
    )
    after, before = psnr(sharp, restore(generator, blurred)), psnr(sharp, blurred)
    return float((after - before).mean())


def _middle(picture: Image) -> Image:
    """The middle of a picture, at most 512 px, sides multiples of 32."""
    height, width = (min(512, side) // 32 * 32 for side in picture.shape[:2])
    top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    return picture[top : top + height, left : left + width]


def measure_halo(generator: nn.Module, picture: Image, *, tolerance: float = 0.5) -> int:
    """The smallest margin with which the middle of a picture comes out as in the whole picture.

    A multiple of 32 px; at most `tolerance` grey levels apart anywhere. The sides must be
    multiples of 32 and leave room; if even the widest margin that fits is not enough, that is an
    error.
    """
    height, width = picture.shape[:2]
    if height % 32 or width % 32 or min(height, width) < 192:
        raise ValueError(f"sides must be multiples of 32 and >= 192 px, got {height} x {width}")
    size = min(height, width) // 4 // 32 * 32 or 32
    top, left = (height - size) // 64 * 32, (width - size) // 64 * 32
    room = min(top, left)
    whole = _levels(generator, picture)[top : top + size, left : left + size]
    for halo in range(0, room + 1, 32):
        rows = slice(top - halo, top + size + halo)
        tile = picture[rows, left - halo : left + size + halo]
        alone = _levels(generator, tile)[halo : halo + size, halo : halo + size]
        if float(np.abs(alone - whole).max()) <= tolerance:
            return halo
    raise ValueError(f"a halo of {room} px is not enough for {tolerance} grey levels")


def _levels(generator: nn.Module, image: Image) -> npt.NDArray[np.float32]:
    """The unrounded output in grey levels."""
    with torch.inference_mode():
        return np.asarray(_forward(generator, image).cpu().numpy(), dtype=np.float32)


def _forward(generator: nn.Module, image: Image) -> torch.Tensor:
    x = torch.from_numpy(np.ascontiguousarray(image)[None]).permute(0, 3, 1, 2).float()
    y: torch.Tensor = generator(x / 127.5 - 1.0)
    return (y[0].permute(1, 2, 0) + 1.0) * 127.5
