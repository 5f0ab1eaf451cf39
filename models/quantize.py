"""Deblurrers of 8 bits: weights and maps between layers as bytes.

Post-training quantisation by NNCF (https://github.com/openvinotoolkit/nncf, Apache-2.0), with fast
bias correction. The greatest values that were seen bound what a map can hold: means over pictures,
NNCF's own choice, cut off the strongest edges, by 88 grey levels. In float32 stay the first layers,
through which every detail goes, and of separable networks the decoder: in 8 bits its depthwise
filters lose most (2 dB of PSNR to the float network, and a point of recall under strong blur).
Weights take half of their range: with all of it, sums overflow where a processor has no VNNI (8 dB
lost there, up to 0.7 dB won elsewhere).
"""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import quiet_onnxruntime, quiet_openvino
from models.backbones import DepthwiseSeparable
from models.cards import checked_digest
from models.cpu_runtimes import traceable
from models.onnx_runtime import convert_module
from models.prepared import prepare_generator
from models.restorer import Restorer

Images = NDArray[np.uint8]

BEFORE_NNCF = (quiet_onnxruntime, quiet_openvino)
"""NNCF takes both packages in, and reports what it does as OpenVINO does."""
FIRST = 2
"""So many convolutions at the beginning stay in float32."""
DECODER = ("/td", "/head", "/smooth", "/final")
"""What is in the names of the decoder's convolutions."""


def quantize_generator(weights: Path, pictures: Iterable[Images]) -> bytes:
    """Return the 8-bit network of a weight file as ONNX.

    `pictures`, uint8 (h, w, 3) of sides that the network takes, are such as it will meet: they show
    how far the values of every layer reach. The name of the graph ends with the SHA-256 of the
    weights. Raises ValueError for weights without frozen norms, ModuleNotFoundError without NNCF.
    """
    import nncf
    import onnx
    from nncf.quantization.advanced_parameters import (
        AdvancedQuantizationParameters,
        OverflowFix,
        QuantizationParameters,
    )
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    logging.getLogger("nncf").setLevel(logging.WARNING)  # Else it names every layer.
    digest = checked_digest(weights, None)
    generator, _ = prepare_generator(weights, sha256=digest, normalisation="frozen")
    network = onnx.load_from_string(convert_module(*traceable(generator)))
    samples = [{"images": picture[None]} for picture in pictures]
    quantized = nncf.quantize(
        network,
        nncf.Dataset(samples),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(samples),
        ignored_scope=nncf.IgnoredScope(names=_kept_in_float(network, generator)),
        advanced_parameters=AdvancedQuantizationParameters(
            overflow_fix=OverflowFix.ENABLE,
            activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
            # ONNX Runtime takes one range for all channels, and it costs nothing.
            activations_quantization_params=QuantizationParameters(per_channel=False),
        ),
    )
    quantized.graph.name = f"{weights.stem} in 8 bits, of weights {digest}"
    onnx.checker.check_model(quantized)
    return bytes(quantized.SerializeToString())


def _kept_in_float(network: Any, generator: Restorer) -> list[str]:  # noqa: ANN401 - untyped
    """Return the names of the convolutions of an ONNX network that are not quantised."""
    names = [node.name for node in network.graph.node if node.op_type == "Conv"]
    separable = any(isinstance(module, DepthwiseSeparable) for module in generator.modules())
    decoder = [name for name in names if any(part in name for part in DECODER)] if separable else []
    return [*names[:FIRST], *decoder]
