"""Small pictures, and trainings of a few steps on them."""

from pathlib import Path

import cv2
import numpy as np

from configs.train_deblurrer import DeblurrerTraining
from transforms.functional.blur import blur_tile

NETWORK = {
    "variant": "mobilenet_dsc",
    "channels": 16,
    "norm": "none",
    "encoder_norm": "none",
    "stem": 8,
    "stages": [[2, 8, 1, 1], [2, 12, 2, 2], [2, 12, 1, 2], [2, 16, 1, 2], [2, 16, 1, 2]],
    "taps": [1, 3, 4, 5, 6],
}
RESNET = {"variant": "resnet", "channels": 4, "blocks": 1, "dropout": 0.5}
UNET = {"variant": "unet", "widths": [4, 6], "blocks": [1, 1, 1]}
SPECTRAL = {"frequency_weight": 0.1}


def critic(kind: str, **changes: object) -> dict[str, object]:
    """A section `loss` with a small critic."""
    small = {"kind": kind, "weight": 0.1, "critic": "patch", "channels": 4}
    return {"adversarial": {**small, **changes}}


def picture(number: int) -> np.ndarray:
    """Soft squares, uint8 (256, 320, 3), not white."""
    coarse = np.random.default_rng(number).integers(0, 250, (16, 20, 3), dtype=np.uint8)
    return cv2.resize(coarse, (320, 256), interpolation=cv2.INTER_CUBIC)


def write_pictures(folder: Path) -> Path:
    """picture0.png to picture3.png, the last one half without data."""
    for number in range(4):
        image = picture(number)
        if number == 3:
            image[:, 160:] = 255
        cv2.imwrite(str(folder / f"picture{number}.png"), image)
    return folder


def write_pairs(folder: Path, count: int = 3) -> Path:
    """GoPro's layout: train/place<n>/blur/000<n>.png and the same under sharp."""
    for number in range(count):
        sharp = picture(number)
        blurred = blur_tile(sharp, length=5.0, angle=30.0)
        for name, image in (("sharp", sharp), ("blur", blurred)):
            file = folder / "train" / f"place{number}" / name / f"000{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(file), image)
    return folder


def configuration(data: Path, run: Path, **changes: object) -> DeblurrerTraining:
    values = {
        "kind": "deblurrer",
        "name": "tiny",
        "data": data,
        "run": run,
        "train": [{"pattern": "picture[0-2].png"}],
        "validation": [{"pattern": "picture1.png"}],
        "attribution": ["pictures: ours"],
        "network": NETWORK,
        "seed": 3,
        "steps": 6,
        "batch": 2,
        "patch": 64,
        "blur": {"length": [0.5, 9.0]},
        "bfloat16": False,
        "validate_every": 3,
        "checkpoint_every": 2,
        "scored_crops": 1,
    }
    return DeblurrerTraining.model_validate({**values, **changes})
