"""``hpnet predict``: actions in any video, recognised by a trained project."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpnet.work.console import one_line, progress

from .common import device_option

if TYPE_CHECKING:
    from hpnet.predict.output import Output
    from hpnet.predict.project import TrainedProject
    from hpnet.predict.recognise import Recogniser
    from hpnet.predict.windows import Cutting

LIVE_FPS = 15.0
FILE_FPS = 60.0
"""Frames of files beyond this rate are left out, unless the training clips have a higher one."""

EXPECTED = "a video file, a folder, a camera's number or an address such as rtsp://HOST/PATH"


@click.command("predict")
@click.argument("videos", nargs=-1, required=True, metavar="VIDEO...")
@click.option("--project", type=click.Path(file_okay=False, path_type=Path), default=Path(),
              help="Folder of the trained project.  [default: this folder]")  # fmt: skip
@click.option(
    "--streams", metavar="NAMES", help="Only these streams, such as hpj,hpb.  [default: all with a weight above 0]"
)
@click.option("--top", type=click.IntRange(1), default=3, show_default=True, help="Number of actions shown.")
@click.option("--window", type=click.FloatRange(0, min_open=True), metavar="SECONDS",
              help="Length of a window of long videos.  [default: median of the training clips]")  # fmt: skip
@click.option("--overlap", type=click.FloatRange(0, 1, max_open=True), default=0.5, show_default=True,
              help="Overlap of two windows, as a share of a window.")  # fmt: skip
@click.option("--fps", type=click.FloatRange(0, min_open=True),
              help="Leave out frames above this rate.  [default: 60, or that of training clips; live 15]")  # fmt: skip
@click.option("--people", type=click.IntRange(1), help="People kept per window.  [default: detect.persons]")
@click.option("--each/--no-each", default=True, show_default=True,
              help="With several people, also give an answer for each person.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="A JSON object per line, with times and boxes.")
@click.option("--save", type=click.Path(path_type=Path),
              help="Write an mp4 with boxes, skeletons and actions; a folder for several videos.")  # fmt: skip
@click.option("--live/--no-live", default=None,
              help="Drop frames to keep up with the source.  [default: for cameras and addresses]")  # fmt: skip
@click.option("--seconds", type=click.FloatRange(0, min_open=True), help="Live: stop after this time.")
@click.option("--precision", default="float32", show_default=True, help="float32, bfloat16 or float16.")
@click.option("--workers", type=click.IntRange(1),
              help="Processes that share the files.  [default: 1, or up to one per core for many files]")  # fmt: skip
@device_option
def command(videos: tuple[str, ...], **options: Any) -> None:
    """Recognise actions in videos: VIDEO is a file, a folder, a camera's number or a stream's address.

    Runs the detector, the pose network and the trained streams of a project, and fuses them as the project does. A
    video as long as the training clips is one window. A longer video is cut into overlapping windows. With several
    people there is an answer for all together and one for each person.
    """
    asked = Asked(**options)
    chosen = asked.chosen_streams()
    running = asked.is_live(videos)
    files, unusable = find_files(() if any(map(has_no_end, videos)) else videos)
    if running and not has_no_end(videos[0]) and (len(files) != 1 or Path(videos[0]).is_dir()):
        raise click.UsageError(f"{videos[0]} is a folder: --live plays one file")
    targets = {} if asked.save is None else find_targets(asked.save, files or [Path("live.mp4")])

    for target in targets.values():
        target.parent.mkdir(parents=True, exist_ok=True)  # refuse what cannot be written before the work starts

    from hpnet.predict.files import Task, default_workers, recognise_files
    from hpnet.predict.output import Output
    from hpnet.predict.project import TrainedProject

    trained = TrainedProject(asked.project, chosen, asked.device)
    cutting = asked.cutting(trained, running)
    task = Task(
        asked.project, chosen, asked.people, asked.each, asked.device, asked.precision, cutting, asked.top,
        asked.as_json, targets,
    )  # fmt: skip
    if running:
        recogniser = task.recogniser(trained)
        output = Output(trained, recogniser, cutting, asked.top, asked.as_json, targets)
        watch(videos[0], recogniser, cutting, output, asked.seconds)
        return
    workers = asked.workers or default_workers(len(files), trained.device)
    try:
        with progress("recognising", len(files)) as advance:
            failed = recognise_files(files, task, trained, workers, advance)
    except KeyboardInterrupt:
        raise click.ClickException("interrupted: the answers above are complete") from None
    failed += [repr(str(file)) for file in unusable]
    if failed:
        raise click.ClickException(
            f"{len(failed)} of {len(files) + len(unusable)} videos could not be read to their end: "
            f"{', '.join(map(one_line, failed))}"
        )


@dataclass(frozen=True)
class Asked:
    """The options, as their help says."""

    project: Path
    streams: str | None
    top: int
    window: float | None
    overlap: float
    fps: float | None
    people: int | None
    each: bool
    as_json: bool
    save: Path | None
    live: bool | None
    seconds: float | None
    precision: str
    workers: int | None
    device: str

    def chosen_streams(self) -> list[str] | None:
        """The names of --streams; None where it was not given."""
        if self.streams is None:
            return None
        chosen = [s.strip() for s in self.streams.split(",") if s.strip()]
        if not chosen:
            raise click.UsageError(f"--streams {self.streams!r} names no stream: expected names such as hpj,hpb")
        return chosen

    def is_live(self, videos: Sequence[str]) -> bool:
        """Whether frames are dropped to keep up: for cameras and addresses, and for a file where --live says so."""
        endless = [v for v in videos if has_no_end(v)]
        running = bool(endless) if self.live is None else self.live
        if running and len(videos) > 1:
            raise click.UsageError("only one live source is possible: give a single camera, address or file")
        if endless and not running:
            raise click.UsageError(f"{endless[0]} has no end: remove --no-live")
        return running

    def cutting(self, trained: TrainedProject, running: bool) -> Cutting:
        """How videos are cut into windows; by default as long as the training clips."""
        from hpnet.predict.windows import Cutting

        median_s, longest_s = trained.training_seconds()
        return Cutting(
            window_s=self.window or median_s,
            whole_s=self.window or longest_s,
            overlap=self.overlap,
            max_fps=self.fps or (LIVE_FPS if running else max(FILE_FPS, trained.training_fps())),
            stride=trained.params.detect.stride,
        )


def has_no_end(video: str) -> bool:
    """Whether it is a camera's number or a stream's address."""
    from hpnet.predict.sources import is_address, is_camera

    return is_camera(video) or is_address(video)


def find_files(videos: tuple[str, ...], expected: str = EXPECTED) -> tuple[list[Path], dict[Path, str]]:
    """The given files, and all videos below given folders; also videos with names that cannot be used, with the reason.

    Prints what was skipped.

    Args:
        expected: what a name may be, for the error of one that is nothing.
    """
    from hpnet.data.walk import find_videos

    files: list[Path] = []
    unusable: dict[Path, str] = {}
    for name in videos:
        path = Path(name)
        if not path.exists():
            raise FileNotFoundError(f"{one_line(name)} is missing: expected {expected}")
        if not path.is_dir():
            files.append(path)
            continue
        found = find_videos(path)
        files += found.files
        unusable |= found.unusable
        if found.passed_over():
            click.echo(found.passed_over(), err=True)
    for file, why in unusable.items():
        click.echo(f"{str(file)!r}: its name {why}: rename it", err=True)
    if unusable and not files:
        raise click.ClickException("no video has a name that can be used")
    return list(dict.fromkeys(files)), unusable


def find_targets(save: Path, files: Sequence[Path]) -> dict[str, Path]:
    """Video -> the mp4 that --save writes for it: ``save`` itself, or a file below the folder ``save``.

    In a folder the targets have the same sub-folders as the videos below their common folder, so ``a/1.mp4`` and
    ``b/1.mp4`` have different targets. If only the suffixes of two videos differ, the suffix becomes part of the name.

    Raises:
        click.UsageError: one file for several videos, another format than mp4, or a target that is one of the videos.
    """
    from hpnet.core.video import VIDEO_SUFFIXES

    suffix = save.suffix.lower()
    if suffix == ".mp4":
        if len(files) > 1:
            raise click.UsageError(f"--save {save} is one file for {len(files)} videos: give a folder")
        found = {str(files[0]): save}
    elif suffix in VIDEO_SUFFIXES:
        raise click.UsageError(f"--save {save}: only mp4 can be written, name it {save.with_suffix('.mp4').name}")
    else:
        shared = Path(os.path.commonpath([file.absolute().parent for file in files]))
        below = {file: file.absolute().relative_to(shared) for file in files}
        stems = Counter(place.with_suffix("") for place in below.values())
        found = {
            str(file): save / (place.with_suffix(".mp4") if stems[place.with_suffix("")] == 1 else f"{place}.mp4")
            for file, place in below.items()
        }
    inputs = {file.resolve() for file in files if file.exists()}
    for target in found.values():
        if target.resolve() in inputs:
            raise click.UsageError(f"--save would overwrite the video {target}: give another file or folder")
    return found


def watch(source: str, recogniser: Recogniser, cutting: Cutting, output: Output, seconds: float | None) -> None:
    """Answer a live source until it ends, ``seconds`` are over, or Ctrl-C.

    Raises:
        VideoError: the source cannot be read, breaks off, or gives no picture.
    """
    from hpnet.predict.live import LiveReader, live_windows

    with LiveReader(source, cutting.window_s, cutting.max_fps) as reader:
        try:
            output.show(recogniser.predict(live_windows(reader, cutting, seconds), output.fail, group=1))
        except KeyboardInterrupt:
            click.echo("stopped", err=True)
        finally:
            output.say_latency()
