"""Norm statistics of one scene: estimated from some of its pictures, then frozen.

Published weights of DeblurGAN-v2 (Kupyn et al., ICCV 2019, arXiv 1908.03826) are run in training
mode, so that every norm layer takes its statistics from the picture at hand, and tiles of a scene
differ by where they are cut. With one set of statistics for all of its tiles they do not.
"""

import copy
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from models.backbones import BatchNorm, InstanceNorm, set_normalisation
from models.deblurrer import Deblurrer, Images
from models.prepared import fold_norms
from models.restorer import Restorer
from models.torch_runtime import TorchRuntime


def freeze_to_scene(deblurrer: Deblurrer, samples: Images) -> Deblurrer:
    """Return a deblurrer whose norms are frozen at their statistics over some pictures of a scene.

    samples: uint8 (n, h, w, 3), sides multiples of the stride. Every layer takes the mean and the
    (biased) variance per channel over all n pictures together, at the point where the layers before
    it are frozen already: one forward pass. Layers without norms stay what they are. The deblurrer
    must have been loaded `per_image`, so that its norms are still apart; it is not changed.
    """
    if deblurrer.normalisation != "per_image":
        raise ValueError(
            f"statistics can be estimated for per_image weights only, got {deblurrer.normalisation}"
        )
    if len(samples) == 0:
        raise ValueError("at least one picture of the scene is wanted, got none")
    generator = copy.deepcopy(deblurrer.generator)
    pixels = torch.from_numpy(samples.copy()).to(deblurrer.device)
    x = (pixels.permute(0, 3, 1, 2).float() / 127.5 - 1.0).contiguous(
        memory_format=torch.channels_last
    )
    _estimate(generator, x)
    fold_norms(generator)
    assert deblurrer.dtype != "int8"
    assert isinstance(deblurrer.runtime, TorchRuntime)
    gpu = deblurrer.runtime.gpu
    runtime = TorchRuntime(generator, deblurrer.device, deblurrer.dtype, gpu)
    return replace(deblurrer, normalisation="frozen", runtime=runtime, prepare=lambda: generator)


def _estimate(generator: Restorer, x: Tensor) -> None:
    """Set the running statistics of every norm layer to those of its input over x (n, 3, h, w)."""
    norms = [m for m in generator.modules() if isinstance(m, BatchNorm | InstanceNorm)]
    hooks = [norm.register_forward_pre_hook(_adopt_statistics) for norm in norms]
    for norm in norms:
        norm.track_running_stats = True
        norm.per_image = False
    try:
        with torch.inference_mode():
            generator(x)
    finally:
        for hook in hooks:
            hook.remove()
    set_normalisation(generator, "frozen")


def _adopt_statistics(norm: nn.Module, inputs: tuple[Any, ...]) -> None:
    values = cast(Tensor, inputs[0]).float()
    variance, mean = torch.var_mean(values, dim=(0, 2, 3), correction=0)
    norm.running_mean, norm.running_var = mean.clone(), variance.clone()
