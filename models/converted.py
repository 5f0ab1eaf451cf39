"""Networks converted to OpenVINO, kept in the user's cache: a conversion takes seconds of torch."""

import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path

from models.openvino_runtime import read_model
from models.quiet_openvino import openvino
from models.user_cache import cache_folder, key_of

_log = logging.getLogger(__name__)

_FILES = ("model.xml", "model.bin")
_DIGESTS = "sha256.json"


def converted(facts: Mapping[str, str], convert: Callable[[], openvino.Model]) -> openvino.Model:
    """Return a converted network from the cache, or convert it and keep it.

    `facts` say which network it is, such as the digest of its weights; versions of the packages and
    our own code count, too. What is damaged is made again; where nothing can be written, nothing is
    kept.
    """
    folder = cache_folder() / "converted" / _key(facts)
    kept = _read(folder)
    if kept is not None:
        return kept
    model = convert()
    try:
        _keep(model, folder)
    except OSError as error:
        _log.info("a converted network is not kept in %s: %s", folder, error)
    return model


def convert_module(module: object, example: object) -> openvino.Model:
    """Trace a module of torch that takes uint8 (1, h, w, 3), h and w free, and convert it."""
    from models.tracing import quiet_tracing  # With torch, which what is kept does without.

    shape = openvino.PartialShape([1, -1, -1, 3])
    with quiet_tracing():
        return openvino.convert_model(module, example_input=example, input=[shape])


def _key(facts: Mapping[str, str]) -> str:
    sources = sorted(Path(__file__).parent.glob("*.py"))
    code = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    packages = {name: version(name) for name in ("openvino", "torch", "timm", "ultralytics")}
    return key_of({**packages, "code": code, **facts})


def _read(folder: Path) -> openvino.Model | None:
    try:
        wanted = json.loads((folder / _DIGESTS).read_text(encoding="utf-8"))
        if wanted != _digests(folder):
            raise ValueError("its digests differ")
        return read_model(folder / _FILES[0])
    except FileNotFoundError:
        return None
    except (OSError, RuntimeError, ValueError) as error:
        _log.warning("%s is damaged and made again: %s", folder, error)
        shutil.rmtree(folder, ignore_errors=True)
        return None


def _keep(model: openvino.Model, folder: Path) -> None:
    """Write a model whole or not at all; another process may do the same."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=".part-", dir=folder.parent))
    try:
        openvino.save_model(model, part / _FILES[0], compress_to_fp16=False)
        (part / _DIGESTS).write_text(json.dumps(_digests(part)), encoding="utf-8")
        part.rename(folder)
    except OSError:
        shutil.rmtree(part, ignore_errors=True)
        if not folder.exists():
            raise


def _digests(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in _FILES}
