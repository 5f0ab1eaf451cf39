"""OpenVINO without its telemetry: only import the package from here.

Its converter would report every conversion to a server, unless the user has told it not to, and
write files below the home folder. Where the package for that is missing it does neither.
"""

import sys

sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # As if it were not installed.

import openvino  # noqa: E402

__all__ = ["openvino"]
