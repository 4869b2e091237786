"""Training by steps, and :data:`FITTERS` of networks that are fitted as a whole."""

from __future__ import annotations

FITTERS: dict[str, str] = {"linear": "hpnet.train.linear"}
"""``graph.model`` -> the module that fits it (:data:`hpnet.models.FITTED_NETWORKS`). It offers ``train``, as
:func:`hpnet.train.topology.train`, and ``blank``, the network of a card, to load weights into."""
