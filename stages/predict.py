"""``hpnet predict``: actions in any video, recognised by a trained project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpnet.work.console import note, one_line, progress

from .common import backend_option, device_option

if TYPE_CHECKING:
    from hpnet.predict.model import Model
    from hpnet.predict.output import Output
    from hpnet.predict.windows import Cutting


@click.command("predict")
@click.argument("videos", nargs=-1, metavar="VIDEO...")
@click.option("--poses", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Instead of videos: poses of clips, a pickle as pyskl has it.")  # fmt: skip
@click.option("--project", type=click.Path(file_okay=False, path_type=Path), default=Path(),
              help="Folder of the trained project, or of a bundle.  [default: this folder]")  # fmt: skip
@click.option(
    "--streams", metavar="NAMES", help="Only these streams, such as hpj,hpb.  [default: all with a weight above 0]"
)
@click.option("--top", type=click.IntRange(1), default=3, show_default=True, help="Number of actions shown.")
@click.option("--window", type=click.FloatRange(0, min_open=True), metavar="SECONDS",
              help="Length of a window of long videos.  [default: median of the training clips]")  # fmt: skip
@click.option("--overlap", type=click.FloatRange(0, 1, max_open=True), default=0.5, show_default=True,
              help="Overlap of two windows, as a share of a window.")  # fmt: skip
@click.option("--fps", type=click.FloatRange(0, min_open=True),
              help="Leave out frames above this rate.  [default: 60, or that of training clips; live 30]")  # fmt: skip
@click.option("--people", type=click.IntRange(1), help="People kept per window.  [default: detect.persons]")
@click.option("--each/--no-each", default=True, show_default=True,
              help="With several people, also give an answer for each person.")  # fmt: skip
@click.option("--events", is_flag=True, help="Who does what from when to when, instead of an answer per window.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object per line, with times and boxes.")
@click.option("--save", type=click.Path(path_type=Path),
              help="Write an mp4 with boxes, skeletons and actions; a folder for several videos.")  # fmt: skip
@click.option("--live/--no-live", default=None,
              help="Drop frames to keep up with the source.  [default: for cameras and addresses]")  # fmt: skip
@click.option("--detect-every", type=click.IntRange(1), default=10, show_default=True,
              help="Live: frames from one look of the detector to the next; joints carry boxes between.")  # fmt: skip
@click.option("--seconds", type=click.FloatRange(0, min_open=True), help="Live: stop after this time.")
@click.option("--precision", default="float32", show_default=True, help="float32, bfloat16 or float16.")
@backend_option
@click.option("--workers", type=click.IntRange(1),
              help="Processes that share the files.  [default: 1, or up to one per core for many files]")  # fmt: skip
@device_option
def command(videos: tuple[str, ...], **options: Any) -> None:
    """Recognise actions in videos: VIDEO is a file, a folder, a camera's number or a stream's address.

    Runs the detector, the pose network and the trained streams of a project, and fuses them as the project does. A
    video as long as the training clips is one window. A longer video is cut into overlapping windows. With several
    people there is an answer for all together and one for each person. With --events every video is watched once, and
    its events are printed: person, action, beginning, end.
    """
    asked = Asked(**options)
    chosen = asked.chosen_streams()
    if asked.poses is not None:
        answer_poses(videos, asked.poses, asked, chosen)
        return
    if not videos:
        raise click.UsageError("give a VIDEO, or --poses FILE")
    running = asked.is_live(videos)
    files, unusable = find_files(() if any(map(has_no_end, videos)) else videos)
    if running and not has_no_end(videos[0]) and (len(files) != 1 or Path(videos[0]).is_dir()):
        raise click.UsageError(f"{videos[0]} is a folder: --live plays one file")
    targets = {} if asked.save is None else find_targets(asked.save, files or [Path("live.mp4")])

    for file, reason in (reasons := {} if running else unreadable(files)).items():  # before networks are loaded
        note(f"{one_line(str(file))}: {reason}")
    if reasons:
        raise broken(list(map(str, reasons)), files, unusable)
    for target in targets.values():
        target.parent.mkdir(parents=True, exist_ok=True)  # refuse what cannot be written before the work starts

    from hpnet.predict.bundle import is_bundle
    from hpnet.predict.stored import require_names

    if not is_bundle(asked.project):
        require_names(asked.project, chosen)
    from hpnet.predict.files import Task, default_workers, recognise_files
    from hpnet.predict.model import Model
    from hpnet.predict.output import Output

    model = Model(
        asked.project, asked.device, chosen, people=asked.people, each=asked.each, precision=asked.precision,
        backend=asked.backend, detect_every=asked.detect_every,
    )  # fmt: skip
    cutting = model.cutting(window_s=asked.window, overlap=asked.overlap, max_fps=asked.fps, live=running)
    if model.project.without_unknown:
        click.echo(f"note: answers have no probability of unknown: {model.project.without_unknown}", err=True)
    task = Task(
        asked.project, chosen, asked.people, asked.each, asked.device, asked.precision, cutting, asked.top,
        asked.as_json, targets, asked.events, asked.backend,
    )  # fmt: skip
    if running:
        output = Output(model.project, model.recogniser, cutting, asked.top, asked.as_json, targets)
        watch(videos[0], model, cutting, output, asked.seconds)
        return
    workers = asked.workers or default_workers(len(files), model.project.on_gpu)
    try:
        with progress("recognising", len(files)) as advance:
            failed = recognise_files(files, task, model, workers, advance)
    except KeyboardInterrupt:
        raise click.ClickException("interrupted: the answers above are complete") from None
    if failed or unusable:
        raise broken(failed, files, unusable)


def broken(failed: Sequence[str], files: Sequence[Path], unusable: Mapping[Path, str]) -> click.ClickException:
    """What is said at the end of videos that failed, or whose names cannot be used."""
    names = [*failed, *(repr(str(file)) for file in unusable)]
    return click.ClickException(
        f"{len(names)} of {len(files) + len(unusable)} videos could not be read to their end: "
        f"{', '.join(map(one_line, names))}"
    )


@dataclass(frozen=True)
class Asked:
    """The options, as their help says."""

    poses: Path | None
    project: Path
    streams: str | None
    top: int
    window: float | None
    overlap: float
    fps: float | None
    people: int | None
    each: bool
    events: bool
    as_json: bool
    save: Path | None
    live: bool | None
    detect_every: int
    seconds: float | None
    precision: str
    backend: str | None
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
        if running and self.events:
            raise click.UsageError(f"{videos[0]} is live: --events are known at the end of a video, give a file")
        if endless and not running:
            raise click.UsageError(f"{endless[0]} has no end: remove --no-live")
        return running


def answer_poses(videos: Sequence[str], poses: Path, asked: Asked, chosen: list[str] | None) -> None:
    """Print the answers for a file of poses.

    Raises:
        click.UsageError: videos, or options that are for them.
        click.ClickException: some clips cannot be used.
    """
    for_videos = {"--events": asked.events, "--save": asked.save, "--live": asked.live, "--window": asked.window,
                  "--fps": asked.fps, "--seconds": asked.seconds, "VIDEO": videos}  # fmt: skip
    given = [name for name, value in for_videos.items() if value]
    if given:
        raise click.UsageError(f"{given[0]} is for videos: leave it out, or leave out --poses")
    import warnings

    from hpnet.predict.model import Model

    model = Model(asked.project, asked.device, chosen, people=asked.people, each=asked.each)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are printed below
        found = model.from_poses(poses)
    for window in found.windows:
        for line in window.json_lines(asked.top) if asked.as_json else window.table_lines(asked.top):
            click.echo(line)
    for name, why in found.failed.items():
        click.echo(f"{one_line(name)}: {why}", err=True)
    if found.failed:
        count = len(found.failed) + len(found.windows)
        raise click.ClickException(f"{len(found.failed)} of {count} clips could not be used")


def has_no_end(video: str) -> bool:
    """Whether it is a camera's number or a stream's address."""
    from hpnet.predict import sources

    return sources.has_no_end(video)


def unreadable(files: Sequence[Path]) -> dict[Path, str]:
    """Why no file can be opened; empty if one can. See :func:`hpnet.predict.sources.unreadable`."""
    from hpnet.predict import sources

    return sources.unreadable(files)


def find_files(videos: tuple[str, ...], expected: str | None = None) -> tuple[list[Path], dict[Path, str]]:
    """The given files, and all videos below given folders; also videos with names that cannot be used, with the reason.

    Prints what was skipped.

    Args:
        expected: what a name may be, for the error of one that is nothing; None: what `hpnet predict` takes.
    """
    from hpnet.predict.sources import EXPECTED, gather_files

    found = gather_files(videos, expected or EXPECTED)
    for line in found.notes:
        click.echo(line, err=True)
    for file, why in found.unusable.items():
        click.echo(f"{str(file)!r}: its name {why}: rename it", err=True)
    if found.unusable and not found.files:
        raise click.ClickException("no video has a name that can be used")
    return found.files, found.unusable


def find_targets(save: Path, files: Sequence[Path]) -> dict[str, Path]:
    """Video -> the mp4 that --save writes for it; see :func:`hpnet.predict.targets.video_targets`.

    Raises:
        click.UsageError: the target does not suit the videos.
    """
    from hpnet.predict.targets import video_targets

    try:
        return video_targets(save, files)
    except ValueError as error:
        raise click.UsageError(f"--save {error}") from None


def watch(source: str, model: Model, cutting: Cutting, output: Output, seconds: float | None) -> None:
    """Answer a live source until it ends, ``seconds`` are over, or Ctrl-C.

    Raises:
        VideoError: the source cannot be read, breaks off, or gives no picture.
    """
    with closing(model.watch(source, cutting, seconds, bool(output.targets))) as predictions:
        try:
            output.show(predictions)
        except KeyboardInterrupt:
            click.echo("stopped", err=True)
        finally:
            output.say_latency()
