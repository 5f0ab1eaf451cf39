"""Networks that do nothing, in the places where a run loads those of its config."""

import pytest

import pipeline.planning
import transforms.deblur
import transforms.detect
from pipeline.direct import Networks
from transforms.functional.boxes import Detections


class Nothing:
    """A detector that finds nothing."""

    names = ("vehicle",)

    def __call__(self, images):
        """Find nothing."""
        return [Detections.empty() for _ in images]


def keep(images):
    """Return the pictures as they are."""
    return images


STUBS = Networks(keep, Nothing())


def use_stubs(patch: pytest.MonkeyPatch, deblur=keep, find=STUBS.find) -> None:
    """Let runs in this process load these instead of networks."""
    for module in (pipeline.planning, transforms.deblur):
        patch.setattr(module, "load_deblurrer", lambda config: deblur)
    for module in (pipeline.planning, transforms.detect):
        patch.setattr(module, "load_detector", lambda config: find)
    patch.setattr(Networks, "of", staticmethod(lambda plan: Networks(deblur, find)))
    # Processes of `workers: auto` would load the networks themselves.
    patch.setattr(pipeline.planning, "usable_cores", lambda: 1)
