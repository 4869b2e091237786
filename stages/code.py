"""``hpnet code``: the identity of the code of each stage."""

from __future__ import annotations

from pathlib import Path

import click

from hpnet.params import Params

from .common import PROJECT, section_options


@click.command("code")
@click.argument("names", nargs=-1, metavar="[NAME...]")
@section_options()
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=PROJECT.code, show_default=True)
def command(params: Params, names: tuple[str, ...], out: Path) -> None:
    """Write a digest of the code of each stage, or of each NAME, into a folder: one file per stage.

    The digest covers the modules that a stage can run with these parameters, their defaults and the packaged weights,
    but not comments. Every stage depends on its own file, so an edit or upgrade of hpnet reruns only changed stages.
    """
    from hpnet.project.code import digests, write_digests

    write_digests(out, digests(params, names))
