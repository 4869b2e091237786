"""Training by steps, and :data:`FITTERS` of networks that are fitted as a whole."""

from __future__ import annotations

FITTERS: dict[str, str] = {"linear": "hpnet.train.linear", "auto": "hpnet.train.auto"}
"""``graph.model`` -> the module that fits it. It offers ``train``, as :func:`hpnet.train.topology.train`; that of a
network of :data:`hpnet.models.FITTED_NETWORKS` also ``blank``, the network of a card, to load weights into."""
TEXTS = ("names", "sentences", "descriptions")
"""Values of ``train.multimodal.text`` besides a file: the class names alone, as the released code reads them; one
sentence per class, the column ``prompt`` of ``classes.csv``; several per class, its column ``descriptions``."""
TEXT_FILES = (".csv", ".json")
"""Ends of the names of such files."""
