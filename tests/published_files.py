"""Files with exactly the names and shapes of the published weights, and values of our own."""

import gzip
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

GOLDEN = Path(__file__).parent / "golden"
BACKBONES = {"mobilenet": "fpn.features.", "inception": "fpn.inception."}
"""Where each published DeblurGAN-v2 generator keeps its backbone."""


def published_keys(variant: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes in a published file of DeblurGAN-v2, in its order."""
    path = next(GOLDEN.glob(f"fpn_{variant}_keys.tsv*"))
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    rows = (line.split("\t") for line in text.splitlines())
    return {
        row[0]: tuple(int(side) for side in row[1].strip("()").split(",") if side.strip())
        for row in rows
    }


def published_state(variant: str, seed: int = 0) -> dict[str, Tensor]:
    """A state dict as published: each tensor of one random value, copies of the backbone equal."""
    rng = np.random.default_rng(seed)
    state = {
        name: torch.tensor(rng.uniform(0.1, 0.2)).float().expand(shape)
        for name, shape in published_keys(variant).items()
    }
    for name in state:
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(7)
    # The copies stand in the order of the originals.
    copies = [name for name in state if ".enc" in name]
    originals = [name for name in state if name.startswith(BACKBONES[variant])]
    for copy, original in zip(copies, originals, strict=False):
        state[copy] = state[original]
    return state


def published_file(
    path: Path, variant: str = "mobilenet", *, prefix: str = "module.", wrapped: bool = True
) -> Path:
    """Such a state dict as a file, by default in the published wrapping."""
    content = {prefix + name: tensor for name, tensor in published_state(variant).items()}
    torch.save({"model": content} if wrapped else content, path)
    return path
