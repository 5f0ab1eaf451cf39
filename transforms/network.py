"""Counting what is read over the network, on the workers; the engine sums the counts."""

from apache_beam.metrics import Metrics

from transforms.network_use import NetworkUse, take_network_use

__all__ = ["NAMESPACE", "NetworkMeter", "NetworkUse", "take_network_use"]

NAMESPACE = "network"
"""Of the counters `requests`, `bytes` and `reads` (of tiles), which the engine sums."""


class NetworkMeter:
    """Adds what this process has read over the network to counters.

    `purpose` goes before their names: what is read for tiles is counted under `requests`, `bytes`
    and `reads`.
    """

    def __init__(self, purpose: str = "") -> None:
        self._requests = Metrics.counter(NAMESPACE, f"{purpose}requests")
        self._bytes = Metrics.counter(NAMESPACE, f"{purpose}bytes")
        self._reads = Metrics.counter(NAMESPACE, f"{purpose}reads")

    def count(self) -> None:
        """Count one read, with what was asked since the last count in this process."""
        use = take_network_use()
        self._reads.inc()
        self._requests.inc(use.requests)
        self._bytes.inc(use.bytes)
