"""``hpnet weights``: list, download, convert and check weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .common import PROJECT

if TYPE_CHECKING:
    from hpnet.weights.files import Weights

preset_option = click.option("--preset", help="The weights of a preset of `hpnet init`.")


@click.group("weights")
def command() -> None:
    """Pretrained weights: list, fetch, convert, check.

    NAMES are networks as params.yaml names them (rtmpose-m, yolo11m, ...), X-CLIPs of the hub (OWNER/NAME) or
    RT-DETRs of the hub (rtdetr:OWNER/NAME). Weights are looked for in $HPNET_WEIGHTS and in weights/ of the project;
    the packaged networks are the package's own files, always.
    """


@command.command("list")
@click.argument("names", nargs=-1)
@preset_option
def list_command(names: tuple[str, ...], preset: str | None) -> None:
    """Show the file of a network: its address, size, digest and place. All networks by default."""
    from hpnet.project.weights import CATALOGUE
    from hpnet.project.weights_files import describe

    for entry in _chosen(names, preset) if names or preset else CATALOGUE.values():
        click.echo(describe(entry))


@command.command("fetch")
@click.argument("names", nargs=-1)
@preset_option
@click.option("--into", type=click.Path(file_okay=False, path_type=Path), help="Folder.  [default: weights]")
@click.option("--mirror", help="Address of a folder with the files, used instead of their own addresses.")
def fetch_command(names: tuple[str, ...], preset: str | None, into: Path | None, mirror: str | None) -> None:
    """Download weights; by default those that params.yaml of this folder names. A stopped download resumes.

    If a download is not possible, one line says what to download by hand and where to put it.
    """
    from hpnet.project.weights_files import fetch_missing

    left = []
    for found in fetch_missing(_chosen(names, preset), into, mirror):
        if found.wrong:
            left.append(found.text)
        else:
            click.echo(found.text)
    if left:
        raise click.ClickException("\n".join(left))


@command.command("check")
@click.argument("names", nargs=-1)
@preset_option
def check_command(names: tuple[str, ...], preset: str | None) -> None:
    """Check that weights are present and complete; by default those that params.yaml of this folder names.

    The exit status is 1 if a file is missing or damaged.
    """
    from hpnet.project.weights_files import check

    wrong = 0
    for found in check(_chosen(names, preset)):
        click.echo(found.text)
        wrong += found.wrong
    if wrong:
        raise click.ClickException(f"{wrong} {'file is' if wrong == 1 else 'files are'} missing or damaged")


@command.command("convert")
@click.argument("source", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--model", required=True, help="Network of the checkpoint: a pose network, or ctrgcn.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help=".safetensors to write.")
def convert_command(source: Path, model: str, out: Path) -> None:
    """Rename a released checkpoint's keys (the SimCC authors', OpenMMLab's, CTR-GCN's) and write safetensors."""
    from hpnet.project.convert import convert

    click.echo(f"{convert(source, model, out)} tensors -> {out}")


@command.command("calibrate")
@click.option("--crops", type=click.IntRange(1), default=64, show_default=True, help="Number of crops of people.")
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), default=PROJECT.weights / "calibration.safetensors",
    show_default=True, help="File to write, for estimate.int8.",
)  # fmt: skip
def calibrate_command(crops: int, out: Path) -> None:
    """Cut crops of training clips, by which the pose network is set to compute in 8-bit integers (estimate.int8).

    Reads the clip tables, the boxes and the videos of this project; `hpnet data` and `hpnet detect` come before. Labels
    and the other splits are not read.
    """
    from hpnet.params import load_params
    from hpnet.project.weights import require_weights

    params = load_params()
    require_weights(params, "pose")
    from hpnet.estimate.calibrate import training_crops

    found = training_crops(params.estimate, PROJECT.data, PROJECT.detect, crops)
    found.save(out)
    click.echo(f"{len(found.crops)} crops -> {out}: estimate.int8 names it, estimate.backend openvino computes with it")


def _chosen(names: tuple[str, ...], preset: str | None) -> list[Weights]:
    """The networks of the arguments; without any, those that params.yaml of this folder needs."""
    from hpnet.params import load_params
    from hpnet.project.weights import lookup, needed, of_preset

    if names or preset:
        return [lookup(name) for name in names] + (of_preset(preset) if preset else [])
    if not Path("params.yaml").is_file():
        raise click.UsageError("give networks or a --preset: there is no params.yaml here (`hpnet weights list`)")
    return needed(load_params())
