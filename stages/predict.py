"""``hpnet predict``: actions in any video, by a trained project."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpnet.work.console import progress

from .common import device_option

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hpnet.predict.project import TrainedProject
    from hpnet.predict.recognise import Prediction, Recogniser
    from hpnet.predict.windows import Cutting

LIVE_FPS = 15.0
FILE_FPS = 60.0
"""Frames of files beyond this rate are left out, unless the training clips have a higher one."""


@click.command("predict")
@click.argument("videos", nargs=-1, required=True, metavar="VIDEO...")
@click.option("--project", type=click.Path(file_okay=False, path_type=Path), default=Path(),
              help="Folder of the trained project.  [default: this folder]")  # fmt: skip
@click.option("--streams", metavar="NAMES", help="Only these, such as hpj,hpb.  [default: all that carry weight]")
@click.option("--top", type=click.IntRange(1), default=3, show_default=True, help="Actions shown.")
@click.option("--window", type=click.FloatRange(0, min_open=True), metavar="SECONDS",
              help="Length of a window of long videos.  [default: the median training clip's]")  # fmt: skip
@click.option("--overlap", type=click.FloatRange(0, 1, max_open=True), default=0.5, show_default=True,
              help="Share of a window that the next one repeats.")  # fmt: skip
@click.option("--fps", type=click.FloatRange(0, min_open=True),
              help="Leave out frames above this rate.  [default: 60, or the training clips'; live 15]")  # fmt: skip
@click.option("--people", type=click.IntRange(1), help="People kept per window.  [default: detect.persons]")
@click.option("--each/--no-each", default=True, show_default=True,
              help="With several people, also say what each does by themselves.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="A JSON object per line, with times and boxes.")
@click.option("--save", type=click.Path(path_type=Path),
              help="Write an mp4 with boxes, skeletons and actions; a folder for several videos.")  # fmt: skip
@click.option("--live/--no-live", default=None,
              help="Keep up by dropping frames.  [default: for cameras and addresses]")  # fmt: skip
@click.option("--seconds", type=click.FloatRange(0, min_open=True), help="Live: stop after so long.")
@click.option("--precision", default="float32", show_default=True, help="float32, bfloat16 or float16.")
@click.option("--workers", type=click.IntRange(1),
              help="Processes that share the files.  [default: on CPU one per core, if files are many]")  # fmt: skip
@device_option
def command(
    videos: tuple[str, ...],
    project: Path,
    streams: str | None,
    top: int,
    window: float | None,
    overlap: float,
    fps: float | None,
    people: int | None,
    each: bool,
    as_json: bool,
    save: Path | None,
    live: bool | None,
    seconds: float | None,
    precision: str,
    workers: int | None,
    device: str,
) -> None:
    """Say what people do in videos: VIDEO is a file, a folder, a camera's number or a stream's address.

    Runs the detector, the pose network and the trained streams of a project and fuses them as the project does. A video
    as long as the training clips is answered at once; a longer one in overlapping windows. Where there are several
    people, they are answered together and each by themselves.
    """
    from hpnet.predict.sources import is_address, is_camera

    cameras = [v for v in videos if is_camera(v) or is_address(v)]
    running = bool(cameras) if live is None else live
    chosen = None if streams is None else [s.strip() for s in streams.split(",") if s.strip()]
    if chosen == []:
        raise click.UsageError(f"--streams {streams!r} names no stream, expected such as hpj,hpb")
    if running and len(videos) > 1:
        raise click.UsageError("one live source at a time: give a single camera, address or file")
    if cameras and not running:
        raise click.UsageError(f"{cameras[0]} has no end: leave --no-live out")
    files, unusable = find_files(() if cameras else videos)
    if running and not cameras and (len(files) != 1 or Path(videos[0]).is_dir()):
        raise click.UsageError(f"{videos[0]} is a folder: --live plays one file")
    targets = {} if save is None else find_targets(save, files or [Path("live.mp4")])

    for target in targets.values():
        target.parent.mkdir(parents=True, exist_ok=True)  # what cannot be written is said before the work

    from hpnet.predict.project import TrainedProject
    from hpnet.predict.windows import Cutting

    from .predict_files import Task, default_workers, recognise_files

    trained = TrainedProject(project, chosen, device)
    median_s, longest_s = trained.training_seconds()
    cutting = Cutting(
        window_s=window or median_s,
        whole_s=window or longest_s,
        overlap=overlap,
        max_fps=fps or (LIVE_FPS if running else max(FILE_FPS, trained.training_fps())),
        stride=trained.params.detect.stride,
    )
    task = Task(project, chosen, people, each, device, precision, cutting, top, as_json, targets)
    if running:
        recogniser = task.recogniser(trained)
        watch(videos[0], recogniser, cutting, Output(trained, recogniser, cutting, top, as_json, targets), seconds)
        return
    workers = workers or default_workers(len(files), trained.device)
    try:
        with progress("recognising", len(files)) as advance:
            failed = recognise_files(files, task, trained, workers, advance)
    except KeyboardInterrupt:
        raise click.ClickException("interrupted: what was answered until here stands") from None
    failed += [repr(str(file)) for file in unusable]
    if failed:
        raise click.ClickException(
            f"{len(failed)} of {len(files) + len(unusable)} videos could not be read to their end: "
            f"{', '.join(map(one_line, failed))}"
        )


def find_files(videos: tuple[str, ...]) -> tuple[list[Path], dict[Path, str]]:
    """Files as named, folders with every video below them; and those of a folder whose names cannot be used, with why.

    Says what was passed over.
    """
    from hpnet.data.walk import find_videos

    files: list[Path] = []
    unusable: dict[Path, str] = {}
    for name in videos:
        path = Path(name)
        if not path.exists():
            raise FileNotFoundError(
                f"{one_line(name)} is missing: expected a video file, a folder, a camera's number or an address such "
                "as rtsp://HOST/PATH"
            )
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

    In a folder the targets lie as the videos do below the folder that they share, so that ``a/1.mp4`` and ``b/1.mp4``
    do not meet; where only the suffixes of two videos differ, theirs is kept as a part of the name.

    Raises:
        click.UsageError: one file for several videos, another format than mp4, or a target that is one of the videos.
    """
    from hpnet.core.video import VIDEO_SUFFIXES

    suffix = save.suffix.lower()
    if suffix == ".mp4":
        if len(files) > 1:
            raise click.UsageError(f"--save {save} is one file for {len(files)} videos: name a folder")
        found = {str(files[0]): save}
    elif suffix in VIDEO_SUFFIXES:
        raise click.UsageError(f"--save {save}: mp4 is what can be written, name it {save.with_suffix('.mp4').name}")
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
            raise click.UsageError(f"--save would write over the video {target}: name another file or folder")
    return found


def one_line(name: str) -> str:
    """A file's name as it can be printed: what would break the line, or is not UTF-8, is escaped."""
    plain = name.encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in plain)


def watch(source: str, recogniser: Recogniser, cutting: Cutting, output: Output, seconds: float | None) -> None:
    """Answer a live source until it ends, ``seconds`` are over, or Ctrl-C.

    Raises:
        VideoError: it cannot be read, breaks off, or delivers no picture.
    """
    from hpnet.predict.live import LiveReader, live_windows

    with LiveReader(source, cutting.window_s, cutting.max_fps) as reader:
        try:
            output.show(recogniser.predict(live_windows(reader, cutting, seconds), output.fail, group=1))
        except KeyboardInterrupt:
            click.echo("stopped", err=True)
        finally:
            output.say_latency()


@dataclass
class Output:
    """Prints answers, writes annotated videos, and remembers what failed and how late live answers were."""

    trained: TrainedProject
    recogniser: Recogniser
    cutting: Cutting
    top: int
    as_json: bool
    targets: Mapping[str, Path]
    echo: Callable[..., None] = click.echo
    failed: dict[str, str] = field(default_factory=dict)
    latencies_s: list[float] = field(default_factory=list)
    dropped: int = 0

    def fail(self, video: str, reason: str) -> None:
        """Remember and say that a video cannot be used."""
        self.failed[video] = reason
        self.echo(f"{one_line(video)}: {reason}", err=True)

    def show(self, predictions: Iterator[Prediction]) -> None:
        """Print the answers of one video; write it with --save. Ctrl-C ends it with what there is."""
        import itertools

        from hpnet.core.video import write_timed

        first = next(predictions, None)
        if first is None:
            return
        stream = itertools.chain([first], predictions)
        if not self.targets:
            for prediction in stream:
                self.print(prediction)
            return
        window = first.seen.window
        target = self.targets.get(window.video) or next(iter(self.targets.values()))  # live: the only one
        interrupted: list[KeyboardInterrupt] = []
        drawn = self._drawn(stream, interrupted)
        begun = next(drawn, None)  # an empty file is never begun
        if begun is not None:
            write_timed(target, itertools.chain([begun], drawn), window.fps)
            self.echo(f"{one_line(str(target))}{' ends where it was interrupted' if interrupted else ''}", err=True)
        if interrupted:
            raise interrupted[0]

    def _drawn(
        self, predictions: Iterator[Prediction], interrupted: list[KeyboardInterrupt]
    ) -> Iterator[tuple[float, NDArray[np.uint8]]]:
        """The annotated frames and their times; a Ctrl-C ends them, so that the file is closed whole."""
        from hpnet.predict.drawing import drawn
        from hpnet.predict.windows import Footage

        upto = 0
        edges = self.recogniser.pose_meta.skeleton.edges
        frames: Iterator[tuple[int, tuple[float, NDArray[np.uint8]]]] | None = None
        try:
            for prediction in predictions:
                self.print(prediction)
                window = prediction.seen.window
                if window.captured_s is not None:
                    frames = enumerate(window.frames, window.first)
                elif frames is None:
                    frames = enumerate(Footage(Path(window.video), self.cutting.max_fps))
                stop = window.first + prediction.seen.count
                for index, (seconds, frame) in frames:
                    if index >= max(upto, window.first):
                        yield seconds, drawn(prediction, index - window.first, frame, self.trained.classes, edges)
                    if index + 1 == stop:
                        break
                upto = stop
        except KeyboardInterrupt as error:
            interrupted.append(error)

    def print(self, prediction: Prediction) -> None:
        """One line per answer."""
        window = prediction.seen.window
        if prediction.latency_s is not None:
            self.latencies_s.append(prediction.latency_s)
            self.dropped += window.dropped
        for line in self.rows(prediction) if self.as_json else self.lines(prediction):
            self.echo(line)

    def rows(self, prediction: Prediction) -> Iterator[str]:
        """JSON lines."""
        window = prediction.seen.window
        when: dict[str, Any] = {
            "video": window.video,
            "window": window.number,
            "start_s": round(prediction.seen.start_s, 3),
            "end_s": round(prediction.seen.end_s, 3),
            "frames": [window.first, window.first + prediction.seen.count - 1],
        }
        if prediction.latency_s is not None:
            when |= {"latency_s": round(prediction.latency_s, 3), "dropped_frames": window.dropped}
        for answer in prediction.answers:
            actions = [{"name": self.trained.classes[k], "probability": round(p, 4)} for k, p in answer.top(self.top)]
            people = [
                {
                    "track": person.number,
                    "frames": (person.track.frames + window.first).tolist(),
                    "times_s": prediction.seen.times_s[person.track.frames].round(3).tolist(),
                    "boxes_xyxy_px": [[round(v, 1) for v in box] for box in person.track.boxes_xyxy_px.tolist()],
                }
                for person in answer.people
            ]
            yield json.dumps(
                {**when, "tracks": [p.number for p in answer.people], "actions": actions, "people": people}
            )
        if not prediction.answers:
            yield json.dumps({**when, "tracks": [], "actions": [], "people": []})

    def lines(self, prediction: Prediction) -> Iterator[str]:
        """Lines of a table."""
        window = prediction.seen.window
        when = f"{prediction.seen.start_s:7.2f}-{prediction.seen.end_s:.2f} s"
        video = one_line(window.video)
        for answer in prediction.answers:
            who = "+".join(str(person.number) for person in answer.people)
            actions = ", ".join(f"{self.trained.classes[k]} {p:.1%}" for k, p in answer.top(self.top))
            yield f"{video}  {when:<18} person {who:<6} {actions}"
        if not prediction.answers:
            yield f"{video}  {when:<18} nobody was found"

    def say_latency(self) -> None:
        """How a live source went."""
        if self.latencies_s:
            ordered = sorted(self.latencies_s)
            self.echo(
                f"{len(ordered)} windows; latency median {ordered[len(ordered) // 2]:.2f} s, "
                f"most {ordered[-1]:.2f} s; {self.dropped} frames dropped",
                err=True,
            )
