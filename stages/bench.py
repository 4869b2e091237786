"""``hpnet bench``: this package's speed against the plain way, side by side in one run."""

from __future__ import annotations

import click


@click.group("bench")
def command() -> None:
    """Benchmarks: ratios measured side by side in one run, as JSON and markdown with the machine's description."""
