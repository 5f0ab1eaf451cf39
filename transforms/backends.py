"""What computes the networks of a run: as the settings say, or the fastest here.

Nothing heavy is imported where the answer is known already.
"""

from collections.abc import Callable

from configs.schema import DeblurConfig, DetectConfig, RunConfig
from models.backend_choice import Backend, choose_backend, installed
from models.cards import sha256
from models.shipped import resolve_weights

NETWORKS = (".safetensors", ".pt")
"""Endings of weights that any backend may run; others are exports for one."""


def with_backends(config: RunConfig) -> RunConfig:
    """Return settings that name the backends which all workers of a run use."""
    deblur = config.deblur.model_copy(update={"backend": find_deblur_backend(config.deblur)})
    detect = config.detect.model_copy(update={"backend": find_detect_backend(config.detect)})
    return config.model_copy(update={"deblur": deblur, "detect": detect})


def find_deblur_backend(config: DeblurConfig) -> Backend:
    """Return the backend of the generator.

    Where it matters in which order numbers are added up, or norms have yet to be frozen, only
    PyTorch is asked.
    """
    if config.backend != "auto":
        return config.backend
    if config.exact or config.normalisation != "frozen":
        return "torch"

    def load(backend: Backend) -> Callable[..., object]:
        from transforms.deblur import open_deblurrer

        return open_deblurrer(config.model_copy(update={"backend": backend}))

    facts = {
        "network": "deblurrer",
        "dtype": config.dtype,
        "weights": sha256(resolve_weights(config.weights)),
    }
    return choose_backend(facts, installed(config.device, config.dtype), load)


def find_detect_backend(config: DetectConfig) -> Backend:
    """Return the backend of the detector; what was exported for one backend is run by that."""
    if config.backend != "auto":
        return config.backend
    path = resolve_weights(config.weights)
    if path.suffix not in NETWORKS:
        return "torch"

    def load(backend: Backend) -> Callable[..., object]:
        from transforms.detect import load_detector

        return load_detector(config.model_copy(update={"backend": backend}))

    facts = {"network": "detector", "dtype": config.dtype, "weights": sha256(path)}
    return choose_backend(facts, installed(config.device, config.dtype), load)
