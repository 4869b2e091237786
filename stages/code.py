"""``hpnet code``: digests of the source behind each stage, for projects outside hpnet's repository."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("code")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("code"), show_default=True)
def command(out: Path) -> None:
    """Write a digest of the source (and packaged weights) behind each stage into a folder.

    A project made by `hpnet init` depends on these, so that an upgrade of hpnet reruns what it touches.
    """
    from hpnet.work.identity import write_digests

    write_digests(out)
