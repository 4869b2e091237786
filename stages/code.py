"""``hpnet code``: the identity of the code behind each stage."""

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
    """Write what identifies the code behind each stage, or behind each NAME, into a folder: one digest per file.

    It covers the modules that a stage can run under these parameters, their defaults and the packaged weights, but no
    comments. Every stage depends on its own file, so that an edit or an upgrade of hpnet reruns what it touches.
    """
    from hpnet.project.code import digests, write_digests

    write_digests(out, digests(params, names))
