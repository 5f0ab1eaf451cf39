"""Histograms: what every measured tile counted, added up per scene and blur."""

from dataclasses import dataclass

import apache_beam as beam

from transforms.histogram_rows import SceneHistograms, SceneKey, add_histograms
from transforms.measure import histograms_of


@dataclass
class SumHistograms(beam.PTransform):
    """Add up the histograms of measured tiles; windows that settled earlier have none."""

    def expand(self, measured: beam.PCollection) -> beam.PCollection:
        """Map measured windows to one `SceneHistograms` per scene and blur."""
        return (
            measured
            | "Leave tile" >> beam.FlatMap(histograms_of)
            | "ByKey" >> beam.Map(by_key)
            | "Sum" >> beam.CombinePerKey(add_histograms)
            | "Values" >> beam.Values()
        )


def by_key(histograms: SceneHistograms) -> tuple[SceneKey, SceneHistograms]:
    """Return the key of a scene under one blur, and its histograms."""
    return histograms.key, histograms
