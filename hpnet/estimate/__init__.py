"""Person crops -> joints and tapped maps: networks, crops, taps, decoding, and the work over clips."""

from .networks import NETWORKS, NetworkSpec

__all__ = ["NETWORKS", "NetworkSpec"]
