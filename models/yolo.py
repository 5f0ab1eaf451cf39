"""Networks of Ultralytics: building, saving and loading them without trusting files or a network.

Origin: https://github.com/ultralytics/ultralytics, AGPL-3.0. Only this module imports the package.
"""

import atexit
import json
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from models.cards import CheckpointError, sha256

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


@dataclass(frozen=True, eq=False)
class Yolo:
    """A network ready for inference: float32 (n, 3, h, w) in [0, 1] -> cells (n, 4 + classes, k).

    Oriented networks add a channel with the angle in radians. `fixed_size` is the (height, width)
    of an export that takes no other; None where any multiple of 32 will do.
    """

    forward: Any
    names: tuple[str, ...]
    oriented: bool
    fixed_size: tuple[int, int] | None


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
    network: nn.Module, path: Path, *, architecture: str, names: tuple[str, ...], **facts: str
) -> None:
    """Write a network as half-precision safetensors whose header says how to build it again."""
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
) -> Yolo:
    """Load our safetensors, a `.pt`, or an export: ONNX, OpenVINO, TorchScript, TensorRT engine.

    Weights that are programs (`PROGRAMS`) are opened only if their digest equals `sha256` or with
    `trust`. `names` overrides the names in the file, and is needed where it has none.

    Raises CheckpointError for a file that is not what was asked for, FileNotFoundError for none,
    RuntimeError for a GPU that is not there.
    """
    place = _device(device)
    _check_source(weights, sha256, trust)
    import_ultralytics()
    from ultralytics.nn.autobackend import AutoBackend

    source = load_network(weights) if weights.suffix == ".safetensors" else str(weights)
    if isinstance(source, str):
        _check_format(weights, AutoBackend._model_type(source))
    backend = AutoBackend(source, device=place, fuse=True, verbose=False, end2end=False).eval()
    _check_head(weights, backend)
    return Yolo(
        forward=backend,
        names=_names(weights, backend.names, names),
        oriented=TASKS[backend.task or "detect"],
        fixed_size=_fixed_size(backend),
    )


def probabilistic_iou(box: Tensor, boxes: Tensor) -> Tensor:
    """Overlap of an oriented box (5,) with others (k, 5), cx cy w h angle: (k,) in [0, 1].

    Ultralytics' measure: 1 minus the Hellinger distance of Gaussians (Llerena 2021, 2106.06072).
    """
    from ultralytics.utils.metrics import batch_probiou

    overlap: Tensor = batch_probiou(box[None], boxes)[0]
    return overlap


def _device(device: str) -> torch.device:
    place = torch.device(device)
    if place.type not in ("cpu", "cuda"):
        raise ValueError(f"device must be 'cpu', 'cuda' or 'cuda:N', got {device!r}")
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if place.type == "cuda" and (place.index or 0) >= found:
        raise RuntimeError(
            f"the detector was promised device={device!r}, got {found} usable CUDA devices: "
            "set device='cpu' or repair the GPU"
        )
    return place


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


def _check_format(weights: Path, found: str) -> None:
    """Refuse a name of which Ultralytics thinks otherwise, such as `best_qnn.onnx`."""
    if FORMATS.get(weights.suffix, "openvino") != found:
        raise CheckpointError(f"{weights} would be read as {found}: give it a plainer name")


def load_network(weights: Path) -> Any:  # noqa: ANN401 - an untyped package
    """Build the network of a safetensors file of ours, with its weights in float32 and its names.

    Raises CheckpointError for a file that is not one of ours.
    """
    try:
        with safe_open(str(weights), framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise CheckpointError(f"{weights} is damaged or not a safetensors file: {error}") from error
    if "architecture" not in header or "names" not in header:
        raise CheckpointError(
            f"{weights} is not a detector of ours: its header has no architecture and names, "
            f"got {sorted(header)}"
        )
    try:
        names = [str(name) for name in json.loads(header["names"])]
        network = build_network(header["architecture"], len(names))
    except (RecursionError, TypeError, ValueError) as error:
        raise CheckpointError(f"{weights} does not hold a detector of ours: {error}") from error
    try:
        network.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        raise CheckpointError(
            f"{weights} does not fit its {header['architecture']}: {error}"
        ) from error
    network.names = dict(enumerate(names))
    network.task = "detect"
    return network


def _check_head(weights: Path, backend: Any) -> None:  # noqa: ANN401 - an untyped package
    """Refuse networks whose raw cells we cannot see: they were cut to a few boxes inside."""
    if backend.task not in (None, *TASKS):
        raise CheckpointError(f"{weights} has the task {backend.task!r}, wanted {sorted(TASKS)}")
    if backend.end2end:
        raise CheckpointError(
            f"{weights} suppresses overlaps inside the network and keeps only its best boxes, "
            "which cuts crowded tiles: export it again with nms=None and without the NMS-free head"
        )


def _names(weights: Path, found: dict[int, str], given: tuple[str, ...] | None) -> tuple[str, ...]:
    """The class names; Ultralytics fills in 999 of them where a file has none."""
    known = tuple(found[index] for index in sorted(found)) if len(found) < 999 else None
    if known is None and given is None:
        raise CheckpointError(f"{weights} holds no class names: give them as names")
    if known is not None and given is not None and len(known) != len(given):
        raise CheckpointError(f"{weights} has the classes {known}, got other names: {given}")
    return given if given is not None else known or ()


def _fixed_size(backend: Any) -> tuple[int, int] | None:  # noqa: ANN401 - an untyped package
    if backend.format == "pt" or backend.dynamic:
        return None
    size = getattr(backend, "imgsz", None)
    return (int(size[0]), int(size[1])) if size else None
