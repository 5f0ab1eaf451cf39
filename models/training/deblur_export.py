"""From a trained generator to shipped files: weights, and a card that says what they are."""

from pathlib import Path

import numpy as np

from configs.train_deblurrer import DeblurrerTraining
from models.backbones import set_normalisation
from models.checkpoints import load_generator, save_generator
from models.cost import measure_cpu_seconds
from models.deblurrer import Deblurrer
from models.probe import fingerprint_deblurrer
from models.restorer import Restorer
from models.training.deblur_card import write_card
from models.training.deblur_data import Pictures, load_pictures
from models.training.deblur_score import measure_halo, score_pictures
from transforms.functional.blur import blur_tile
from transforms.functional.camera import Image

_HALO_SIDE = 1024
_HALO_BLUR = 15.0
_SMALLEST = 64


def export_deblurrer(config: DeblurrerTraining, generator: Restorer) -> Path:
    """Write `<name>.safetensors` (float16) and `<name>.md` into the run folder; the weights' path.

    All numbers on the card are those of the written file, on the test pictures (the validation
    ones if there are none).
    """
    weights = config.run / f"{config.name}.safetensors"
    groups = config.test or config.validation
    smallest = max(_SMALLEST, generator.smallest)
    pictures = load_pictures(config.data, groups, smallest=smallest)
    save_generator(weights, generator, halo_px=0)
    written, _ = load_generator(weights)
    set_normalisation(written, config.normalisation)
    # With the statistics of a tile no margin makes it agree with the whole picture.
    frozen = config.normalisation == "frozen"
    halo = measure_halo(written, _blurred_square(pictures)) if frozen else None
    save_generator(weights, written, halo_px=halo)
    network = Deblurrer.load(weights, normalisation=config.normalisation)
    seconds = {"cpu_seconds_per_mpix": measure_cpu_seconds(network)}
    numbers = score_pictures(written, pictures) | seconds
    write_card(
        config,
        weights,
        written,
        halo=halo,
        numbers=numbers,
        fingerprint=fingerprint_deblurrer(network),
    )
    return weights


def _blurred_square(pictures: Pictures) -> Image:
    candidates = pictures.sharp or [pictures.pairs[0].read()[1]]
    largest = max(candidates, key=lambda image: min(image.shape[:2]))
    side = min(_HALO_SIDE, *largest.shape[:2]) // 32 * 32
    # Blurred, for on a sharp picture a good deblurrer does next to nothing, with any halo.
    square = np.ascontiguousarray(largest[:side, :side])
    return blur_tile(square, length=_HALO_BLUR, angle=20.0)
