"""``hpnet look``: boxes, tracks and skeletons in videos, before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpnet.params import Params, validate, whole_flag
from hpnet.project.folder import Project
from hpnet.project.presets import PRESETS
from hpnet.work.console import one_line, progress

from .common import backend_option, device_option, read_params, value_options
from .init import print_table
from .predict import find_files, find_targets

if TYPE_CHECKING:
    from hpnet.predict.look import Sight

PICTURES = (".png", ".jpg", ".jpeg")
MOST_ROWS = 60
"""Videos on one sheet."""


@click.command("look")
@click.argument("videos", nargs=-1, required=True, metavar="VIDEO...")
@click.option("--save", metavar="OUT", type=click.Path(path_type=Path),
              help="An .mp4 for one video, a folder for several, or a .png or .jpg: a sheet of frames.")  # fmt: skip
@click.option("--project", type=click.Path(file_okay=False, path_type=Path),
              help="The networks of this project.  [default: this folder's, else those of preset folder]")  # fmt: skip
@click.option("--preset", type=click.Choice([name for name, preset in PRESETS.items() if not preset.poses]),
              help="The networks of this preset of `hpnet init`.")  # fmt: skip
@value_options("detect.model", "detect.image_size", "detect.confidence", "detect.iou", "detect.stride",
               "detect.persons", "estimate.model", "estimate.weights", "estimate.box_scale")  # fmt: skip
@click.option("--precision", default="float32", show_default=True, help="float32, bfloat16 or float16.")
@backend_option
@device_option
def command(
    videos: tuple[str, ...],
    save: Path | None,
    project: Path | None,
    preset: str | None,
    values: dict[str, Any],
    precision: str,
    backend: str | None,
    device: str,
) -> None:
    """Show what the detector and the pose network see: boxes, tracks and skeletons, before anything is trained.

    VIDEO is a file or a folder. Prints frames, people and both networks' scores of each video, and whether the networks
    suit its people. In the pictures joints and bones have the colour of their score, red 0, yellow 0.5, green 1, and
    are faint where it is low; boxes have the colour of their track.
    """
    params = chosen_params(project, preset, values)
    params = params if backend is None else params.run_by(backend)
    files, unusable = find_files(videos, "a video file or a folder")
    sheet = save is not None and save.suffix.lower() in PICTURES
    if sheet and len(files) > MOST_ROWS:
        raise click.UsageError(f"--save {save}: a sheet has room for {MOST_ROWS} videos, not {len(files)}")
    targets = {} if save is None or sheet else find_targets(save, files)
    for target in [save] if sheet and save is not None else targets.values():
        if target.exists():
            raise FileExistsError(f"{target} is there already, and nothing is overwritten: name another file or folder")

    from hpnet.project.weights import require_weights

    require_weights(params, "detector", "pose")
    from hpnet.predict import look

    failed = {str(file): why for file, why in unusable.items()}

    def fail(video: str, reason: str) -> None:
        failed[video] = reason
        click.echo(f"{one_line(video)}: {reason}", err=True)

    looker = look.Looker(params, device=device, precision=precision)
    seen: dict[str, Sight] = {}
    rows = []
    with progress("looking", len(files)) as advance:
        for file in files:
            if sheet:
                count = look.TILES if len(files) == 1 else look.ROW_TILES
                seen[str(file)], row = look.tiles(looker, file, count, fail)
                rows.append(row)
            elif save is not None:
                seen[str(file)] = look.save_video(looker, file, targets[str(file)], fail)
            else:
                seen[str(file)] = look.only_look(looker, file, fail)
            advance()
    if sheet and save is not None and any(rows):
        whole = rows if len(rows) > 1 else look.folded(rows[0])
        look.save_sheet(whole, save)
    show(seen)
    for comparison in look.together(params, list(seen.values())).comparisons():
        if not comparison.suits:
            click.echo(f"warning: {comparison.warning}", err=True)
    if failed:
        names = ", ".join(map(one_line, failed))
        raise click.ClickException(f"{len(failed)} of {len(files) + len(unusable)} videos could not be read: {names}")


def chosen_params(project: Path | None, preset: str | None, values: dict[str, Any]) -> Params:
    """The parameters of a project or preset, with the values that were given as options."""
    if project is not None and preset is not None:
        raise click.UsageError("--project and --preset both name networks: give one of them")
    if project is not None:
        return read_params(str(Project(project).params_file), values, whole_flag)
    if preset is None and Project().params_file.is_file():
        return read_params(None, values, whole_flag)
    if preset is None:
        preset = "folder"
        click.echo("no params.yaml in this folder: the networks of preset folder", err=True)
    try:
        return validate(dict(PRESETS[preset].values), f"preset {preset}", values, whole_flag)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def show(seen: dict[str, Sight]) -> None:
    """Print a line for each video."""
    lines: list[Sequence[str]] = [("video", "frames", "people", "boxes", "joints", "suits")]
    for video, sight in seen.items():
        suits = [comparison.suits for comparison in sight.comparisons]
        scores = ("–" if score is None else f"{score:.2f}" for score in (sight.boxes, sight.joints))
        verdict = "–" if not suits else "yes" if all(suits) else "no"
        lines.append((one_line(video), str(sight.frames), str(len(sight.numbers)), *scores, verdict))
    print_table([tuple(line) for line in lines])
