"""Networks of Ultralytics: building, saving and loading them without trusting files or a network.

Origin: https://github.com/ultralytics/ultralytics, AGPL-3.0. Only this module and
`models.yolo_exports` import the package.
"""

import atexit
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from models.backend_choice import Backend, Dtype
from models.cards import CheckpointError, sha256
from models.detector_runtimes import Cells, open_cells

if TYPE_CHECKING:  # A converted network needs no PyTorch.
    from torch import nn

FORMATS = {
    ".safetensors": "pt",
    ".pt": "pt",
    ".onnx": "onnx",
    "_openvino_model": "openvino",
    ".torchscript": "torchscript",
    ".engine": "engine",
}
"""How the names of weights end, and what Ultralytics calls what they hold."""
PROGRAMS = (".pt", ".torchscript", ".engine")
"""Weights that are programs: a pickle runs anything, TorchScript reads and writes files, and a
TensorRT engine is machine code."""
TASKS = {"detect": False, "obb": True}  # task: are its boxes oriented
CUTS = (
    "suppresses overlaps inside the network and keeps only its best boxes, which cuts crowded "
    "tiles: export it again with nms=None and without the NMS-free head"
)
"""Why networks are refused whose raw cells we cannot see."""


@dataclass(frozen=True, eq=False)
class Yolo:
    """A network ready for inference, its classes, and whether its boxes are oriented.

    `fixed_size` is the (height, width) of an export that takes no other; None where any multiple of
    32 will do.
    """

    cells: Cells
    names: tuple[str, ...]
    oriented: bool
    fixed_size: tuple[int, int] | None = None


def import_ultralytics() -> None:
    """Import Ultralytics so that it neither connects anywhere nor writes outside this process.

    It would otherwise write settings below the home folder and install packages it misses.
    """
    os.environ["YOLO_OFFLINE"] = "true"
    os.environ["YOLO_AUTOINSTALL"] = "false"
    os.environ["YOLO_VERBOSE"] = "false"
    if "YOLO_CONFIG_DIR" not in os.environ:
        folder = tempfile.mkdtemp(prefix="aerial-deblur-yolo-")
        os.environ["YOLO_CONFIG_DIR"] = folder
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    from PIL import Image

    # It puts a function of its own in place of Pillow's, which installs packages, or raises
    # ModuleNotFoundError, where a file is no picture.
    opens = Image.open
    import ultralytics.utils.patches  # noqa: F401

    Image.open = opens


def build_network(architecture: str, classes: int) -> Any:  # noqa: ANN401 - an untyped package
    """Build a detection network from the name of its packaged YAML, such as `yolov8n.yaml`.

    Reads no weights, and no file of that name elsewhere: what such a file says is executed. Raises
    ValueError for anything that is not the name of a packaged file.
    """
    import_ultralytics()
    from ultralytics.nn.tasks import DetectionModel

    return DetectionModel(_read_architecture(architecture), nc=classes, verbose=False)


def _read_architecture(name: str) -> dict[str, Any]:
    """Return a packaged YAML; the letter of `yolov8n.yaml` is the scale, which one file has all."""
    import ultralytics
    from ultralytics.nn.tasks import guess_model_scale
    from ultralytics.utils import YAML

    folder = Path(ultralytics.__file__).parent / "cfg" / "models"
    plain = re.fullmatch(r"[a-z0-9-]+\.yaml", name) is not None
    names = (name, re.sub(r"(\d+)[nslmx]", r"\1", name, count=1)) if plain else ()
    found = next((file for each in names for file in folder.rglob(each)), None)
    if found is None:
        raise ValueError(f"architecture must be the name of a packaged YAML file, got {name!r}")
    return {**YAML.load(found), "scale": guess_model_scale(name), "yaml_file": name}


def save_network(
    network: "nn.Module", path: Path, *, architecture: str, names: tuple[str, ...], **facts: str
) -> None:
    """Write a network as half-precision safetensors whose header says how to build it again."""
    from safetensors.torch import save_file

    tensors = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in network.state_dict().items()
    }
    header = {"architecture": architecture, "names": json.dumps(names), **facts}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, str(path), metadata=header)


def load_yolo(
    weights: Path,
    *,
    sha256: str | None = None,
    trust: bool = False,
    names: tuple[str, ...] | None = None,
    device: str = "cpu",
    backend: Backend = "torch",
    dtype: Dtype = "float32",
) -> Yolo:
    """Load our safetensors, a `.pt`, or an export: ONNX, OpenVINO, TorchScript, TensorRT engine.

    Weights that are programs (`PROGRAMS`) are opened only if their digest equals `sha256` or with
    `trust`. `names` overrides the names in the file, and is needed where it has none. `backend` and
    `dtype` say what computes safetensors and `.pt`; for exports see `open_export`.

    Raises CheckpointError for a file that is not what was asked for, FileNotFoundError for none,
    RuntimeError for a GPU that is not there, ValueError for what a backend cannot do,
    ModuleNotFoundError for a backend that is not installed.
    """
    _check_device(device)
    _check_source(weights, sha256, trust)
    if weights.suffix not in (".safetensors", ".pt"):
        from models.yolo_exports import open_export  # It imports runtimes that nobody else needs.

        return open_export(weights, names, device=device, backend=backend, dtype=dtype)
    task, found, load = _open_network(weights)
    check_task(weights, task)
    cells = open_cells(
        lambda: _fuse(weights, load()), _facts(weights), device=device, backend=backend, dtype=dtype
    )
    return Yolo(cells, chosen_names(weights, found, names), TASKS[task])


def _open_network(weights: Path) -> tuple[str, tuple[str, ...], Callable[[], Any]]:
    """Return the task of a network, its classes, and what loads it if it is not loaded yet."""
    if weights.suffix == ".safetensors":
        return "detect", _read_header(weights)[1], partial(load_network, weights)
    network = _unpickle(weights)
    return network.task, class_names(weights, network.names), lambda: network


def _facts(weights: Path) -> dict[str, str]:
    return {"network": "detector", "weights": sha256(weights)}


def _unpickle(weights: Path) -> Any:  # noqa: ANN401 - an untyped package
    """Load the network of a `.pt`, which can run any code."""
    import_ultralytics()
    from ultralytics.nn.tasks import BaseModel, load_checkpoint

    network = load_checkpoint(str(weights), device="cpu")[0]
    if not isinstance(network, BaseModel):
        raise CheckpointError(f"{weights} holds no network of Ultralytics")
    return network


def _fuse(weights: Path, network: Any) -> Any:  # noqa: ANN401 - an untyped package
    """Return a network ready for inference: norms folded, and the head that gives every cell."""
    if hasattr(network, "end2end"):
        network.end2end = False
    network = network.fuse(verbose=False).eval().requires_grad_(False)
    if getattr(network, "end2end", False):
        raise CheckpointError(f"{weights} {CUTS}")
    return network


def _check_device(device: str) -> None:
    kind = device.partition(":")[0]
    if kind not in ("cpu", "cuda"):
        raise ValueError(f"device must be 'cpu', 'cuda' or 'cuda:N', got {device!r}")
    if kind == "cpu":
        return
    import torch

    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if (torch.device(device).index or 0) >= found:
        raise RuntimeError(
            f"the detector was promised device={device!r}, got {found} usable CUDA devices: "
            "set device='cpu' or repair the GPU"
        )


def _check_source(weights: Path, wanted: str | None, trust: bool) -> None:
    """Check existence, kind, digest and trust, before any byte of the file is interpreted."""
    if not weights.exists():
        raise FileNotFoundError(f"no detector at {weights}")
    ending = next((ending for ending in FORMATS if weights.name.endswith(ending)), None)
    if ending is None or weights.is_dir() != (ending == "_openvino_model"):
        raise CheckpointError(
            f"{weights} must end with one of {', '.join(FORMATS)}, the last of a folder: the name "
            "says how it is read"
        )
    if wanted is not None:
        if weights.is_dir():
            raise CheckpointError(f"{weights} is a folder: a SHA-256 pins one file; leave it out")
        got = sha256(weights)
        if got != wanted.lower():
            raise CheckpointError(f"the SHA-256 of {weights} differs: got {got}, wanted {wanted}")
    elif ending in PROGRAMS and not trust:
        raise CheckpointError(
            f"{weights} is a program, and using it can run any code: pin its digest "
            f"(sha256: {sha256(weights)}), or say trust: true if you made it, or export it to ONNX"
        )


def load_network(weights: Path) -> Any:  # noqa: ANN401 - an untyped package
    """Build the network of a safetensors file of ours, with its weights in float32 and its names.

    Raises CheckpointError for a file that is not one of ours.
    """
    architecture, names = _read_header(weights)
    try:
        network = build_network(architecture, len(names))
    except (RecursionError, TypeError, ValueError) as error:
        raise CheckpointError(f"{weights} does not hold a detector of ours: {error}") from error
    with safe_open(str(weights), framework="pt") as file:
        tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    try:
        network.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        raise CheckpointError(f"{weights} does not fit its {architecture}: {error}") from error
    network.names = dict(enumerate(names))
    network.task = "detect"
    return network


def _read_header(weights: Path) -> tuple[str, tuple[str, ...]]:
    """Return the architecture and the class names of a safetensors file of ours.

    Raises CheckpointError for a file that is not one of ours.
    """
    try:
        with safe_open(str(weights), framework="numpy") as file:
            header = file.metadata() or {}
    except SafetensorError as error:
        raise CheckpointError(f"{weights} is damaged or not a safetensors file: {error}") from error
    if "architecture" not in header or "names" not in header:
        raise CheckpointError(
            f"{weights} is not a detector of ours: its header has no architecture and names, "
            f"got {sorted(header)}"
        )
    try:
        return header["architecture"], tuple(str(name) for name in json.loads(header["names"]))
    except (RecursionError, TypeError, ValueError) as error:
        raise CheckpointError(f"{weights} does not hold a detector of ours: {error}") from error


def check_task(weights: Path, task: str) -> None:
    """Raise CheckpointError for a network that finds no boxes."""
    if task not in TASKS:
        raise CheckpointError(f"{weights} has the task {task!r}, wanted {sorted(TASKS)}")


def class_names(weights: Path, found: dict[int, str]) -> tuple[str, ...]:
    """Return names in the order of their indices; Ultralytics fills in 999 where a file has none.

    Raises CheckpointError where indices are missing.
    """
    if sorted(found) != list(range(len(found))):
        raise CheckpointError(f"{weights} has classes of the indices {sorted(found)}")
    return tuple(found[index] for index in range(len(found))) if len(found) < 999 else ()


def chosen_names(
    weights: Path, found: tuple[str, ...], given: tuple[str, ...] | None
) -> tuple[str, ...]:
    """Return the class names: those given, else those found in the file."""
    if not found and given is None:
        raise CheckpointError(f"{weights} holds no class names: give them as names")
    if found and given is not None and len(found) != len(given):
        raise CheckpointError(f"{weights} has the classes {found}, got other names: {given}")
    return found if given is None else given
