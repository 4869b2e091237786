"""``hpnet weights``: which weights there are, getting them, converting them, and whether they are whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpnet.work.console import progress

if TYPE_CHECKING:
    from hpnet.weights.catalogue import Weights, WeightsFile

preset_option = click.option("--preset", help="The weights of a preset of `hpnet init`.")


@click.group("weights")
def command() -> None:
    """Pretrained weights: list, fetch, convert, check.

    NAMES are networks as params.yaml names them (hrnet-w48-simcc, yolov5mu, ...), X-CLIPs of the hub (OWNER/NAME) or
    RT-DETRs of the hub (rtdetr:OWNER/NAME). Weights are looked for in $HPNET_WEIGHTS and in weights/ of the project;
    the packaged networks are the package's own files, always.
    """


@command.command("list")
@click.argument("names", nargs=-1)
@preset_option
def list_command(names: tuple[str, ...], preset: str | None) -> None:
    """Show which file a network needs, from where, its size and digest, and where it is or goes. All by default."""
    from hpnet.weights.catalogue import CATALOGUE, destination, where
    from hpnet.weights.checkpoint import digest

    for entry in _chosen(names, preset, list(CATALOGUE.values())):
        size = f"about {entry.about_mb} MB" if entry.about_mb else "size unknown"
        click.echo(f"{entry.name}  ({entry.role}, {'packaged, ' if entry.packaged else ''}{size})")
        for file in entry.files:
            found = where(file)
            click.echo(f"  file    {file.path}")
            click.echo(f"  from    {file.url or entry.origin}")
            known = f"{file.digest_start}..." if file.digest_start else "not published"
            if found and not file.digest_start:
                known = f"{digest(found)[:8]}..." + ("" if entry.packaged else f" of the file here; {known}")
            click.echo(f"  digest  {known}")
            click.echo(f"  here    {found}" if found else f"  put it  {destination() / file.path}")


@command.command("fetch")
@click.argument("names", nargs=-1)
@preset_option
@click.option("--into", type=click.Path(file_okay=False, path_type=Path), help="Folder.  [default: weights]")
@click.option("--mirror", help="Address of a folder that has the files, instead of where they come from.")
def fetch_command(names: tuple[str, ...], preset: str | None, into: Path | None, mirror: str | None) -> None:
    """Download weights; by default those that params.yaml of this folder names. Goes on where an earlier call stopped.

    Where that is impossible, says in one line what to fetch by hand and where to put it.
    """
    from hpnet.weights.catalogue import by_hand, destination, missing
    from hpnet.weights.fetch import OfflineError

    by_hand_lines = []
    for entry in _chosen(names, preset, None):
        wanted = missing(entry) if into is None else [f for f in entry.files if not (into / f.path).is_file()]
        if not wanted:
            click.echo(f"{entry.name}: already here (`hpnet weights check {entry.name}` says whether whole)")
        for file in wanted:
            url = f"{mirror.rstrip('/')}/{file.path}" if mirror else file.url
            if not url:
                by_hand_lines.append(f"{entry.name}: {by_hand(entry, file, into)}")
                continue
            try:
                path = _download(url, (into or destination()) / file.path, file)
            except OfflineError as error:
                by_hand_lines.append(f"{entry.name}: {error}: {by_hand(entry, file, into)}")
            else:
                click.echo(f"{entry.name}: {path} ({path.stat().st_size / 1e6:.1f} MB)")
    if by_hand_lines:
        raise click.ClickException("\n".join(by_hand_lines))


@command.command("check")
@click.argument("names", nargs=-1)
@preset_option
def check_command(names: tuple[str, ...], preset: str | None) -> None:
    """Say whether weights are here and whole; by default those that params.yaml of this folder names.

    Exit status 1 when any is missing or broken.
    """
    from hpnet.weights.catalogue import by_hand, where
    from hpnet.weights.fetch import problem

    bad = 0
    for entry in _chosen(names, preset, None):
        for file in entry.files:
            path = where(file)
            if path is None:
                click.echo(f"{entry.name}: missing: {by_hand(entry, file)}")
                bad += 1
                continue
            wrong = problem(path, file.digest_start)
            click.echo(f"{entry.name}: {path} {wrong or 'is whole'}")
            bad += bool(wrong)
    if bad:
        raise click.ClickException(f"{bad} {'file is' if bad == 1 else 'files are'} missing or broken")


@command.command("convert")
@click.argument("source", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--model", required=True, help="The network that the checkpoint is of: a pose network, or ctrgcn.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help=".safetensors to write.")
def convert_command(source: Path, model: str, out: Path) -> None:
    """Rename a released checkpoint's keys (the SimCC authors', OpenMMLab's, CTR-GCN's) and write safetensors."""
    from hpnet.weights.convert import convert

    click.echo(f"{convert(source, model, out)} tensors -> {out}")


def _chosen(names: tuple[str, ...], preset: str | None, default: list[Weights] | None) -> list[Weights]:
    """What the arguments name; without any, ``default``, or what params.yaml of this folder needs."""
    from hpnet.weights.catalogue import lookup, needed, of_preset

    if names or preset:
        return [lookup(name) for name in names] + (of_preset(preset) if preset else [])
    if default is not None:
        return default
    if not Path("params.yaml").is_file():
        raise click.UsageError("name networks or a --preset: there is no params.yaml here (`hpnet weights list`)")
    from hpnet.params import load_params

    return needed(load_params())


def _download(url: str, path: Path, file: WeightsFile) -> Path:
    from hpnet.weights.fetch import fetch

    done = 0
    with progress(path.name, None) as advance:

        def on_progress(now: int, total: int) -> None:
            nonlocal done
            report: Callable[..., Any] = advance
            note = f"{now / 1e6:.0f} of {total / 1e6:.0f} MB" if total else f"{now / 1e6:.0f} MB"
            report(round((now - done) / 1e6), note=note)
            done = now

        return fetch(url, path, file.digest_start, on_progress)
