"""Small detectors of random weights, for tests of what runs them."""

from pathlib import Path
from typing import Any

import torch

from models.yolo import build_network, save_network

NAMES = ("vehicle", "ship")


def random_network(seed: int = 7) -> Any:
    """Return a network whose heads are set to give many small boxes of any score."""
    torch.manual_seed(seed)
    built = build_network("yolov8n.yaml", len(NAMES))
    head = built.model[-1]
    for boxes, scores in zip(head.cv2, head.cv3, strict=True):
        boxes[-1].bias.data = -torch.arange(16.0).repeat(4)
        torch.nn.init.normal_(scores[-1].weight, std=100)
        torch.nn.init.constant_(scores[-1].bias, 0)
    built.names, built.task = dict(enumerate(NAMES)), "detect"
    return built.eval()


def save_random_network(path: Path, seed: int = 7) -> Path:
    """Write such a network as safetensors of ours."""
    save_network(random_network(seed), path, architecture="yolov8n.yaml", names=NAMES)
    return path


def oriented_network() -> Any:
    """Return a network of random weights with oriented boxes."""
    from ultralytics.nn.tasks import OBBModel

    torch.manual_seed(5)
    built = OBBModel("yolov8n-obb.yaml", nc=len(NAMES), verbose=False)
    built.names, built.task = dict(enumerate(NAMES)), "obb"
    return built.eval()
