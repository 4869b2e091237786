"""Windows -> features. A new pooling operator is an entry in :data:`OPERATORS`."""

from __future__ import annotations

OPERATORS: dict[str, str] = {
    "mean": "numpy:mean",
    "max": "numpy:max",
}
"""Choices of ``pool.operator``: functions of an array and ``axis``, which reduce the two axes of a window."""
