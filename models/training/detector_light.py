"""What light and camera make of a crop in the detector's training: shadows, colours, noise."""

import cv2
import numpy as np

from configs.train_detector import Augmentation
from models.training.detector_data import Image


def cast_shadow(image: Image, rng: np.random.Generator) -> Image:
    """Cast the straight-edged shadow of something tall across a crop; light in it is bluer."""
    size = np.array(image.shape[1::-1], float)
    angle = rng.uniform(0, 2 * np.pi)
    along = np.array([np.cos(angle), np.sin(angle)])
    across = np.array([-along[1], along[0]])
    corner = rng.uniform(0, 1, 2) * size
    length, width = rng.uniform(0.5, 1.5) * size.max(), rng.uniform(0.1, 0.6) * size.max()
    steps = np.array([[-length, 0], [length, 0], [length, width], [-length, width]])
    outline = np.rint((corner + steps @ np.stack([along, across])) * 16).astype(np.int32)
    mask = np.zeros(image.shape[:2], np.uint8)
    cv2.fillConvexPoly(mask, outline, 255, cv2.LINE_AA, 4)
    share = mask[..., None].astype(np.float32) / 255
    shade = np.float32(rng.uniform(0.4, 0.75)) * np.array([0.94, 1.0, 1.1], np.float32)
    return np.asarray(np.rint(image * (1 - share * (1 - shade))), np.uint8)


def recolour(image: Image, settings: Augmentation, rng: np.random.Generator) -> Image:
    """Change brightness, contrast, gamma, saturation, white balance, and add noise."""
    table = np.arange(256, dtype=np.float32)[:, None] / 255
    table = table ** np.exp(rng.uniform(-1, 1) * settings.gamma)
    table = (table - 0.5) * (1 + rng.uniform(-1, 1) * settings.contrast) + 0.5
    table = table + rng.uniform(-1, 1) * settings.brightness * 0.6
    table = table * (1 + rng.uniform(-1, 1, 3) * settings.white_balance)
    lookup = np.clip(np.rint(255 * table), 0, 255).astype(np.uint8)
    image = cv2.LUT(image, lookup[None])
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    share = 1 + rng.uniform(-1, 0.6) * settings.saturation
    image = cv2.addWeighted(image, share, grey, 1 - share, 0)
    sigma = max(0.0, rng.uniform(-settings.noise, settings.noise))
    if sigma == 0:
        return image
    noise = rng.standard_normal(image.shape, np.float32) * np.float32(sigma)
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)
