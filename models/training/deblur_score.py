"""How good a deblurrer is: fixed crops, blurred in fixed ways, measured as sums."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from models.restorer import Restorer
from models.training.deblur_data import Pictures
from models.training.deblur_pairs import PairFiles
from transforms.functional.blur import blur_tile
from transforms.functional.camera import Image
from transforms.functional.quality import ssim_map

LENGTHS = (4.0, 7.0, 11.0, 15.0)
CARD_LENGTHS = (4.0, 7.0, 11.0, 15.0, 21.0)
CARD_ANGLES = (20.0, 65.0, 110.0, 155.0)
PAIRS = "pairs"
_CROP = 192


@dataclass(frozen=True)
class Score:
    """Means over fixed crops: dB, and SSIM, after deblurring; the gain in dB, also per case."""

    psnr: float
    ssim: float
    gain: float
    gains: Mapping[str, float]
    sharp_psnr: float

    def row(self) -> dict[str, str]:
        """The columns of the training curve."""
        return {
            "psnr": f"{self.psnr:.3f}",
            "ssim": f"{self.ssim:.4f}",
            "gain": f"{self.gain:.3f}",
            **{f"gain_{case}": f"{gain:.3f}" for case, gain in self.gains.items()},
            "sharp_psnr": f"{self.sharp_psnr:.2f}",
        }

    def __str__(self) -> str:
        return f"{self.psnr:.2f} dB ({self.gain:+.2f}), SSIM {self.ssim:.3f}"


@dataclass(frozen=True, eq=False)
class Case:
    """Crops degraded in one way, uint8 (n, h, w, 3) each."""

    name: str
    sharp: Image
    blurred: Image


@dataclass(frozen=True)
class CropSet:
    """Fixed crops: of sharp pictures once per blur length, and of pairs as they are."""

    cases: tuple[Case, ...]

    def score(self, generator: nn.Module) -> Score:
        """Run the generator on all of them, in float32."""
        restored = [restore(generator, case.blurred) for case in self.cases]
        before = [psnr(case.sharp, case.blurred) for case in self.cases]
        after = [psnr(case.sharp, image) for case, image in zip(self.cases, restored, strict=True)]
        gains = {
            case.name: float((a - b).mean())
            for case, a, b in zip(self.cases, after, before, strict=True)
        }
        kept = [
            psnr(sharp, restore(generator, sharp))
            for sharp in {id(case.sharp): case.sharp for case in self.cases}.values()
        ]
        return Score(
            psnr=float(np.concatenate(after).mean()),
            ssim=float(
                np.concatenate(
                    [ssim(c.sharp, image) for c, image in zip(self.cases, restored, strict=True)]
                ).mean()
            ),
            gain=float((np.concatenate(after) - np.concatenate(before)).mean()),
            gains=gains,
            sharp_psnr=float(np.concatenate(kept).mean()),
        )


def fixed_crops(pictures: Pictures, count: int) -> CropSet:
    """Places spread over the pictures, `count` of sharp ones and `count` of pairs.

    A sharp one is blurred by motion of each of `LENGTHS`, with an angle and noise of its own. Sides
    are 192 px, or less where a picture is smaller: a multiple of 32.
    """
    cases = []
    if pictures.sharp:
        sharp = np.stack([_crop(pictures.sharp, number) for number in range(count)])
        cases += [Case(f"{length:g}px", sharp, _blurred(sharp, length)) for length in LENGTHS]
    if pictures.pairs:
        chosen = pictures.pairs[:: max(1, len(pictures.pairs) // count)][:count]
        crops = [_crop_pair(chosen, number) for number in range(len(chosen))]
        blurred, clear = zip(*crops, strict=True)
        cases.append(Case(PAIRS, np.stack(clear), np.stack(blurred)))
    return CropSet(tuple(cases))


def _blurred(sharp: Image, length: float) -> Image:
    return np.stack(
        [
            blur_tile(image, length=length, angle=22.5 * number + 11.0, seed=number)
            for number, image in enumerate(sharp)
        ]
    )


def _crop(pictures: Sequence[Image], number: int) -> Image:
    image = pictures[number % len(pictures)]
    side = min(_CROP, *(min(one.shape[:2]) // 32 * 32 for one in pictures))
    return image[_window(image.shape[:2], side, number)]


def _window(shape: tuple[int, ...], side: int, number: int) -> tuple[slice, slice]:
    rng = np.random.default_rng(number)
    top, left = rng.integers(shape[0] - side + 1), rng.integers(shape[1] - side + 1)
    return slice(top, top + side), slice(left, left + side)


def _crop_pair(pairs: Sequence[PairFiles], number: int) -> tuple[Image, Image]:
    side = min(_CROP, *(min(pair.shape) // 32 * 32 for pair in pairs))
    blurred, sharp = pairs[number].read()
    window = _window(sharp.shape, side, number)
    return blurred[window], sharp[window]


def restore(generator: nn.Module, images: Image) -> Image:
    """The generator's output for uint8 (n, h, w, 3), sides multiples of 32, image by image."""
    restored = [np.rint(_levels(generator, image)) for image in images]
    levels: Image = np.clip(np.stack(restored), 0, 255).astype(np.uint8)
    return levels


def psnr(sharp: Image, images: Image) -> npt.NDArray[np.float64]:
    """PSNR of each image in dB, range 255; identical images are given 60."""
    error = ((sharp.astype(np.float64) - images.astype(np.float64)) ** 2).mean(axis=(1, 2, 3))
    return np.asarray(10.0 * np.log10(255.0**2 / np.maximum(error, 255.0**2 / 1e6)))


def ssim(sharp: Image, images: Image) -> npt.NDArray[np.float64]:
    """SSIM of each image, the mean over pixels and channels."""
    return np.array([ssim_map(a, b).mean() for a, b in zip(sharp, images, strict=True)])


def score_pictures(generator: nn.Module, pictures: Pictures) -> dict[str, float]:
    """The numbers of a card: gains in dB, and how sharp pictures come back.

    Over the middles of sharp pictures per blur length, and over those of pairs.
    """
    if not pictures.sharp:
        return _score_pairs(generator, pictures.pairs)
    middles = [_middle(picture) for picture in pictures.sharp]
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
        **(_score_pairs(generator, pictures.pairs) if pictures.pairs else {}),
    }


def _score_pairs(generator: nn.Module, pairs: Sequence[PairFiles]) -> dict[str, float]:
    before, after = [], []
    for pair in pairs:
        blurred, sharp = (_middle(image)[None] for image in pair.read())
        before.append(psnr(sharp, blurred)[0])
        after.append(psnr(sharp, restore(generator, blurred))[0])
    gain = float(np.mean(np.array(after) - np.array(before)))
    return {"gain_pairs_db": round(gain, 2), "psnr_pairs_db": round(float(np.mean(after)), 2)}


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


def measure_halo(generator: Restorer, picture: Image, *, tolerance: float = 0.5) -> int | None:
    """The smallest margin with which the middle of a picture comes out as in the whole picture.

    A multiple of 32 px; at most `tolerance` grey levels apart anywhere. None if even the widest
    margin that fits is not enough, or none fits. The sides must be multiples of 32.
    """
    height, width = picture.shape[:2]
    if height % 32 or width % 32:
        raise ValueError(f"sides must be multiples of 32, got {height} x {width}")
    size = min(height, width) // 4 // 32 * 32 or 32
    top, left = (height - size) // 64 * 32, (width - size) // 64 * 32
    whole = _levels(generator, picture)[top : top + size, left : left + size]
    for halo in range(0, min(top, left) + 1, 32):
        rows = slice(top - halo, top + size + halo)
        tile = picture[rows, left - halo : left + size + halo]
        if min(tile.shape[:2]) < generator.smallest:
            continue
        alone = _levels(generator, tile)[halo : halo + size, halo : halo + size]
        if float(np.abs(alone - whole).max()) <= tolerance:
            return halo
    return None


def _levels(generator: nn.Module, image: Image) -> npt.NDArray[np.float32]:
    """The unrounded output in grey levels."""
    with torch.inference_mode():
        return np.asarray(_forward(generator, image).cpu().numpy(), dtype=np.float32)


def _forward(generator: nn.Module, image: Image) -> torch.Tensor:
    device = next(generator.parameters()).device
    x = torch.from_numpy(np.ascontiguousarray(image)[None]).to(device).permute(0, 3, 1, 2).float()
    y: torch.Tensor = generator(x / 127.5 - 1.0)
    return (y[0].permute(1, 2, 0) + 1.0) * 127.5
