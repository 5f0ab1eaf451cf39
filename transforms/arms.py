"""The arms beside `after`: what its gain is compared with."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from configs.schema import ArmsConfig, BlurConfig, RunConfig
from transforms.functional.blur import motion_kernel
from transforms.functional.restoration import restore_richardson_lucy, restore_wiener
from transforms.functional.sampling import in_sample
from transforms.functional.sharpen import unsharp_mask
from transforms.records import ARMS, Arm, Blur, Image, Tile

Images = NDArray[np.uint8]
MakeArms = Callable[[Tile], dict[Arm, Image]]


def planned_arms(config: RunConfig) -> tuple[Arm, ...]:
    """Return every arm that a run measures, in the order of `ARMS`."""
    blurred = bool(config.read.blur.lengths or config.read.blur.severities)
    arms: set[Arm] = {"before", "after", *config.arms.controls}
    if blurred:
        arms.add("reference")
    if blurred and config.arms.oracle.method != "none":
        arms.add("oracle")
    if config.deblur.skip.below and config.deblur.skip.audit:
        arms.add("unskipped")
    return tuple(arm for arm in ARMS if arm in arms)


def partial_arms(config: RunConfig) -> frozenset[Arm]:
    """Return the arms that run on some tiles only, so that they are compared on these alone."""
    sampled: set[Arm] = {"null", "unsharp", "oracle"} if config.arms.control_rate < 1 else set()
    return frozenset({*sampled, "unskipped"} & set(planned_arms(config)))


def make_arms(tile: Tile, *, config: ArmsConfig, sensor: BlurConfig) -> dict[Arm, Image]:
    """Return the arms of a tile that no network makes: controls, and the oracle if it can exist.

    `sensor` tells the noise that was added to a picture blurred by us. A tile outside the sample of
    `control_rate` has none of them.
    """
    made: dict[Arm, Image] = {}
    if not in_sample(tile.window.key, rate=config.control_rate, purpose="controls"):
        return made
    if "null" in config.controls:
        made["null"] = keep(tile.before)
    if "unsharp" in config.controls:
        amount, sigma = config.unsharp.amount, config.unsharp.sigma
        made["unsharp"] = unsharp_mask(tile.before, amount=amount, sigma=sigma)
    if tile.window.blur is not None and config.oracle.method != "none":
        made["oracle"] = _ask_oracle(tile.before, tile.window.blur, config, sensor)
    return made


def keep(images: Images) -> Images:
    """Return pictures (..., 3) through the path of the network, without it: the null control."""
    unit = images.astype(np.float32) / np.float32(127.5) - np.float32(1)
    levels = (unit + np.float32(1)) * np.float32(127.5)
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)


def _ask_oracle(image: Image, blur: Blur, config: ArmsConfig, sensor: BlurConfig) -> Image:
    kernel, oracle = motion_kernel(blur.length, blur.angle), config.oracle
    if oracle.method == "richardson_lucy":
        return restore_richardson_lucy(image, kernel, iterations=oracle.iterations)
    return restore_wiener(
        image,
        kernel,
        read_noise=sensor.read_noise,
        shot_noise=sensor.shot_noise,
        regularisation=oracle.regularisation,
    )
