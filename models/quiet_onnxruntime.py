"""ONNX Runtime without its telemetry: only import the package from here.

Since version 1.30 it would report to a server on Linux, too, and write files below the home folder
as soon as it is imported. Later is too late to say no.
"""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime

__all__ = ["onnxruntime"]
