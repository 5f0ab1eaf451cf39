"""From a trained generator to shipped files: weights, and a card that says what they are."""

from pathlib import Path

import numpy as np
import torch
import yaml

from configs.train_deblurrer import DeblurrerTraining
from models.checkpoints import load_generator, save_generator, sha256
from models.deblurgan_v2 import Generator
from models.deblurrer import Deblurrer
from models.networks import parameter_count
from models.training.deblur_data import load_pictures
from models.training.deblur_score import measure_halo, score_pictures
from models.training.speed import measure_cpu_seconds
from transforms.functional.blur import blur_tile
from transforms.functional.camera import Image

_LICENCE = "CC-BY-SA (that of the pictures)"
_HALO_SIDE = 1024
_HALO_BLUR = 15.0


def export_deblurrer(config: DeblurrerTraining, generator: Generator) -> Path:
    """Write `<name>.safetensors` (float16) and `<name>.md` into the run folder; the weights' path.

    All numbers on the card are those of the written file, on the test pictures (the validation
    ones if there are none).
    """
    weights = config.run / f"{config.name}.safetensors"
    groups = config.test or config.validation
    pictures = load_pictures(config.data, groups, smallest=64).images
    save_generator(weights, generator, halo_px=0)
    written, _ = load_generator(weights)
    halo = measure_halo(written, _blurred_square(pictures))
    save_generator(weights, written, halo_px=halo)
    seconds = {"cpu_seconds_per_mpix": measure_cpu_seconds(Deblurrer.load(weights))}
    _write_card(config, weights, written, halo, score_pictures(written, pictures) | seconds)
    return weights


def _blurred_square(pictures: tuple[Image, ...]) -> Image:
    largest = max(pictures, key=lambda image: min(image.shape[:2]))
    side = min(_HALO_SIDE, *largest.shape[:2]) // 32 * 32
    # Blurred, for on a sharp picture a good deblurrer does next to nothing, with any halo.
    square = np.ascontiguousarray(largest[:side, :side])
    return blur_tile(square, length=_HALO_BLUR, angle=20.0)


def _write_card(
    config: DeblurrerTraining,
    weights: Path,
    generator: Generator,
    halo: int,
    numbers: dict[str, float],
) -> None:
    facts = {
        "name": config.name,
        "task": "deblurring",
        "architecture": f"deblurgan_v2 {config.network.variant}",
        "licence": _LICENCE,
        "file": weights.name,
        "sha256": sha256(weights),
        "size_bytes": weights.stat().st_size,
        "parameters": parameter_count(generator),
        "halo_px": halo,
        "data": list(config.attribution),
        "numbers": numbers,
    }
    front = yaml.safe_dump(facts, sort_keys=False, allow_unicode=True, width=100)
    text = f"---\n{front}---\n\n{_prose(config)}"
    weights.with_suffix(".md").write_text(text, encoding="utf-8")


def _prose(config: DeblurrerTraining) -> str:
    tests = ", ".join(group.pattern for group in config.test or config.validation)
    network = yaml.safe_dump(config.network.model_dump(mode="json"), default_flow_style=None)
    blur = yaml.safe_dump(config.blur.model_dump(mode="json"), default_flow_style=None)
    return f"""# {config.name}

Restores motion-blurred aerial and street-level RGB pictures: uint8 in, uint8 out. The feature
pyramid of DeblurGAN-v2 (Kupyn et al. 2019, arXiv 1908.03826), variant `{config.network.variant}`,
trained from scratch with a reconstruction loss only: no discriminator rewards it for inventing
texture.

## Recipe

`aerial-deblur train` with seed {config.seed}: {config.steps} steps of {config.batch} patches of
{config.patch} px, Charbonnier loss plus {config.frequency_weight} x L1 between spectra, AdamW
({config.learning_rate}, one cosine), averaged weights ({config.ema_decay}), float16 file.
PyTorch {torch.__version__}.

Network:

{_indented(network)}
Blur model (lengths in px; motion and noise in linear light, then JPEG):

{_indented(blur)}
## Numbers

`gain_Npx_db` is the mean gain in PSNR over pictures blurred by a linear motion of N px at four
angles plus slight sensor noise (0.002 at 18 % grey), on the middle 512 px of pictures of places
that training never saw: {tests}. `gain_7_to_15px_db` is the mean of 7, 11 and
15 px; `sharp_psnr_db` compares sharp pictures with what the network makes of them; `halo_px` is the
margin at which a tile differs from the whole picture by at most half a grey level;
`cpu_seconds_per_mpix` is processor time on one thread.

The blur is synthetic: on real blur expect less. Motion beyond about 20 px, rotation, and blur that
varies within a tile are beyond this network.

## Data

The pictures are not part of this project. The weights are given under the terms of the pictures
that ask for the same terms (CC-BY-SA); owners are named above.
"""


def _indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())
