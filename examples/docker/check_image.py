"""Check an image while it is built: everything loads, the weights are what their cards say.

check_image.py TORCH, where TORCH is `cpu` or a CUDA version such as `cu130`: an image for GPUs that
holds a torch for CPUs is a fault of the build, and so is the opposite.
"""

import sys
from importlib import import_module

import numpy as np
import torch

from configs.schema import DeblurConfig, DetectConfig
from models.cards import read_card, shipped_weights
from transforms.deblur import load_deblurrer
from transforms.detect import load_detector

MODULES = ("pipeline.detection_gain", "pipeline.run", "apache_beam.runners.worker.sdk_worker_main")


def main(torch_build: str) -> None:
    """Load what a worker loads; raise at the first thing that is not as it should be."""
    for module in MODULES:
        import_module(module)
    check_torch(torch_build)
    picture = np.zeros((1, 128, 128, 3), np.uint8)
    for name, path in shipped_weights().items():
        card = read_card(path)
        if card.task == "deblurring":
            # It compares the network's answer to a small chart with that on the card, too.
            load_deblurrer(DeblurConfig(weights=name, sha256=card.sha256))(picture)
        else:
            load_detector(DetectConfig(weights=name, sha256=card.sha256))(picture)
        print(f"{name}: SHA-256 {card.sha256}")


def check_torch(build: str) -> None:
    """Raise ValueError unless torch was built for what the image is for."""
    cuda = torch.version.cuda
    found = "cpu" if cuda is None else f"cu{cuda.replace('.', '')}"
    if found != build:
        raise ValueError(f"this image is to hold a torch for {build}, got one for {found}")


if __name__ == "__main__":
    main(*sys.argv[1:])
