"""A trained project as a Python object: called with a video, it answers. ``hpnet predict`` is a client of it."""

from __future__ import annotations

import functools
import itertools
import warnings
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from ..artifacts.taught import TaughtAction
from ..core.video import VideoError
from ..work.console import one_line
from .bundle import Bundle, is_bundle
from .finding import EventFinder, VideoEvent
from .following import parts_of
from .head import MOST_LOSS
from .live import Clock, LiveReader, live_windows
from .recognise import Prediction, Recogniser
from .result import Result, make_result, without_maps
from .sources import EXPECTED, gather_files, has_no_end
from .stored import StoredProject
from .suitability import watched
from .trained import Trained
from .watching import DETECT_EVERY, Watching
from .windows import Cutting, OnFailure, Window, array_windows, every_window

LIVE_FPS = 30.0
FILE_FPS = 60.0
"""Frames of files beyond this rate are left out, unless the training clips have a higher one."""

Source = str | Path | int | Sequence[str | Path] | NDArray[np.uint8]
"""A path, a folder, an address, a camera's number, several paths, or frames (T, H, W, 3) uint8 RGB."""


@dataclass(frozen=True, eq=False)
class Embedding:
    """What the networks know of one person in one window.

    Attributes:
        video, window, start_s, end_s: as in :class:`hpnet.WindowResult`.
        track: the person's number.
        pooled: (T, V, C) float16, the features at the joints that the streams read.
        trained: stream -> (D,) float32, what its linear classifier reads. The stream ``multimodal`` has no such vector.
    """

    video: str
    window: int
    start_s: float
    end_s: float
    track: int
    pooled: NDArray[np.float16] = field(repr=False)
    trained: dict[str, NDArray[np.float32]] = field(repr=False)

    @property
    def vector(self) -> NDArray[np.float32]:
        """(D,) float32, the vectors of all streams, one after another.

        Raises:
            ValueError: the only stream is ``multimodal``.
        """
        if not self.trained:
            raise ValueError("the stream multimodal has no vector: load the model with one of the streams hpj to hpbm")
        return np.concatenate(list(self.trained.values()))


@dataclass
class _Failures:
    """Videos that cannot be used: an error if there is one video, remembered if there are several."""

    alone: bool
    reasons: dict[str, str] = field(default_factory=dict)

    def of(self, predictions: Sequence[Prediction]) -> dict[str, str]:
        """The reasons, if a video could be used."""
        if self.reasons and not predictions:
            told = "; ".join(f"{one_line(video)}: {reason}" for video, reason in self.reasons.items())
            raise VideoError(f"no video could be used: {told}")
        return self.reasons

    def __call__(self, video: str, reason: str) -> None:
        if self.alone:
            raise VideoError(f"{one_line(video)}: {reason}")
        self.reasons[video] = reason
        _warn(f"{one_line(video)}: {reason}")


def _names(source: str | Path | int | Sequence[str | Path]) -> list[str]:
    """What is asked for, one or several.

    Raises:
        ValueError: it is something else, or nothing.
    """
    several = [source] if isinstance(source, str | Path | int) else source
    given: list[Any] = list(several) if isinstance(several, Iterable) and not isinstance(several, bytes) else []
    if not given or not all(isinstance(name, str | Path | int) for name in given):
        raise ValueError(f"{source!r} is no source: expected {EXPECTED}, a list of them, or frames as an array")
    return [str(name) for name in given]


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=2)


class Model:
    """The detector, the pose network and the trained streams of a project; made by :func:`hpnet.load`.

    Args:
        folder, device, streams, people, each, precision, backend, detect_every: see :func:`hpnet.load`.

    Attributes:
        streams: names of the streams that are fused.

    >>> model.names
    ('clap', 'jump', 'push', 'stand up', 'wave')
    """

    def __init__(
        self,
        folder: str | Path,
        device: str = "auto",
        streams: Sequence[str] | str | None = None,
        *,
        people: int | None = None,
        each: bool = True,
        precision: str = "float32",
        backend: str | None = None,
        detect_every: int = DETECT_EVERY,
    ) -> None:
        if detect_every < 1:
            raise ValueError(f"detect_every is {detect_every}: expected one or more frames")
        if people is not None and people < 1:
            raise ValueError(f"people is {people}: expected one or more")
        chosen = streams.split(",") if isinstance(streams, str) else streams
        self.project = open_trained(Path(folder), chosen, device, backend)
        self.streams: tuple[str, ...] = self.project.streams
        self._finder: EventFinder | None = None
        self._detect_every = detect_every
        self._options: dict[str, Any] = {"people": people, "each": each, "device": device, "precision": precision}

    def __repr__(self) -> str:
        return f"Model({str(self.project.root)!r}: {len(self.names)} actions, streams {', '.join(self.streams)})"

    @property
    def names(self) -> tuple[str, ...]:
        """The K actions that it knows, first those that it was trained on, then those that it was taught."""
        return self.project.names

    @functools.cached_property
    def recogniser(self) -> Recogniser:
        """The networks at work."""
        return Recogniser(self.project, **self._options)

    @overload
    def __call__(
        self, source: Source, fps: float | None = None, *, stream: Literal[False] = False, live: bool | None = None,
        seconds: float | None = None, window_s: float | None = None, overlap: float = 0.5, max_fps: float | None = None,
        events: bool = False,
    ) -> Result: ...  # fmt: skip

    @overload
    def __call__(
        self, source: Source, fps: float | None = None, *, stream: Literal[True], live: bool | None = None,
        seconds: float | None = None, window_s: float | None = None, overlap: float = 0.5, max_fps: float | None = None,
        events: bool = False,
    ) -> Iterator[Result]: ...  # fmt: skip

    def __call__(
        self,
        source: Source,
        fps: float | None = None,
        *,
        stream: bool = False,
        live: bool | None = None,
        seconds: float | None = None,
        window_s: float | None = None,
        overlap: float = 0.5,
        max_fps: float | None = None,
        events: bool = False,
    ) -> Result | Iterator[Result]:
        """Recognise the actions in a video, in several, in frames, or in what a camera sees.

        Args:
            source: a path, a list of paths, a folder (all videos below it), an address such as ``rtsp://HOST/PATH``, a
                camera's number, or frames (T, H, W, 3) uint8 RGB.
            fps: frames per second of an array; nothing else takes it.
            stream: give a result per window as soon as it is there, instead of one result at the end.
            live: drop frames to keep up with the source; None: for cameras and addresses.
            seconds: end a live source after this time.
            window_s, overlap, max_fps: see :meth:`cutting`.
            events: find what each person does from when to when, instead of an answer per window: ``events`` of the
                result. Its windows are parts of the video with people and joints, without answers.

        Returns:
            A result; with ``stream`` an iterator of results of one window each.

        Raises:
            FileNotFoundError: there is no such file or folder.
            ValueError: the source cannot be used. One of several videos that cannot be is in ``failed`` of the result
                and a warning; with ``stream`` the windows before it came.

        >>> result = model(["clip.mp4", "folder"])
        >>> [window.video for window in result.windows]
        ['clip.mp4', 'folder/b.mp4']
        >>> for part in model("clip.mp4", stream=True):
        ...     print(len(part.windows), part.windows[0].frames)
        1 (0, 7)
        >>> import numpy as np
        >>> frames = np.zeros((16, 120, 160, 3), np.uint8)
        >>> print(model(frames, fps=8))
        frames     0.00-1.00 s     no person was found
        frames     0.50-1.50 s     no person was found
        frames     1.00-2.00 s     no person was found
        """
        found = self._find(source, fps, live, seconds)
        if found.live is not None and has_no_end(found.live) and not stream and seconds is None:
            raise ValueError(f"{found.live} has no end: use stream=True, or give seconds")
        if events and (stream or found.live is not None):
            raise ValueError("events are known at the end of a video: leave out stream and live, and give no camera")
        cutting = self.cutting(window_s=window_s, overlap=overlap, max_fps=max_fps, live=found.live is not None)
        if events:
            return self._with_events(found, cutting)
        answers = self._answers(found, cutting, keeps_frames=stream)
        if stream:
            return (self._result([prediction], cutting, {}, True) for prediction in answers)
        predictions = list(answers)
        return self._result(predictions, cutting, found.failures.of(predictions), False)

    def embed(
        self,
        source: Source,
        fps: float | None = None,
        *,
        window_s: float | None = None,
        overlap: float = 0.5,
        max_fps: float | None = None,
    ) -> list[Embedding]:
        """Features of every person in every window: the pooled ones, and those that the trained classifiers read.

        Args:
            source: as for a call; nothing live.
            fps: frames per second of an array.
            window_s, overlap, max_fps: see :meth:`cutting`.

        Raises:
            FileNotFoundError, ValueError: as for a call.

        >>> person, = model.embed("clip.mp4")
        >>> person.track, person.pooled.shape[0], sorted(person.trained)
        (0, 8, ['hpb', 'hpj'])
        >>> person.vector.shape == (sum(len(v) for v in person.trained.values()),)
        True
        """
        found = self._find(source, fps, None, None)
        if found.live is not None:
            raise ValueError(f"{found.live} has no end: features are made of files and arrays")
        made = []
        windows = found.windows(self.cutting(window_s=window_s, overlap=overlap, max_fps=max_fps), found.failures)
        for seen, pooled, trained in self.recogniser.embed(windows, found.failures):
            for rank, person in enumerate(seen.people):
                vectors = {stream: rows[rank] for stream, rows in trained.items()}
                place = (seen.window.video, seen.window.number, seen.start_s, seen.end_s, person.number)
                made.append(Embedding(*place, pooled[rank], vectors))
        return made

    def from_poses(
        self, poses: str | Path | NDArray[np.floating], scores: NDArray[np.floating] | None = None
    ) -> Result:
        """Answer for poses that somebody else's network found, in a project that was trained on such poses.

        Args:
            poses: a pickle in the layout of pyskl and mmaction2, or key points (T, M, V, 2) in pixels, or (T, M, V, 3)
                in metres, of M people in the frames of a clip; zeros where nobody is.
            scores: (T, M, V) of key points; 0 where a joint was not seen.

        Returns:
            A window for each clip. Its times are not numbers, and it has no boxes. The tracks are the people's numbers
            in the file. A clip that cannot be used is in ``failed``.

        Raises:
            FileNotFoundError: no such file.
            ValueError: it is damaged or hostile, or the networks read other poses.
        """
        from .given_poses import answer_poses, clips_of

        failed: dict[str, str] = {}
        windows = tuple(answer_poses(self.project, clips_of(poses, scores), self._options["each"], failed))
        for name, why in failed.items():
            _warn(f"{one_line(name)}: {why}")
        return Result(self.names, windows, failed)

    def teach(self, name: str, clips: Sequence[str | Path], *, most_loss: float = MOST_LOSS) -> TaughtAction:
        """Teach it an action by a few clips of that action alone, best five or more; its networks stay as they are.

        From now on the action is among its names, here and in ``hpnet predict``, because it is kept beside the project,
        in ``taught/``.

        Args:
            name: of the action.
            clips: paths. Everybody in them does it. Of a clip of several windows all windows show it.
            most_loss: share of the clips of trained actions that taught actions may answer, 0..1.

        Returns:
            How it does on clips that it did not see.

        Raises:
            FileNotFoundError: a clip is missing.
            ValueError: the name or a clip cannot be used, or the action cannot be told from a trained one.

        >>> taught = model.teach("drink", ["drink1.mp4", "drink2.mp4"])
        >>> taught.left_out, model.names[-1]
        (2, 'drink')
        >>> model.forget("drink")
        """
        from .teaching import teach

        files = [Path(clip) for clip in ([clips] if isinstance(clips, str | Path) else clips)]
        self._finder = None
        return teach(self.recogniser, name, files, self.cutting(), most_loss).actions[-1]

    def forget(self, name: str) -> None:
        """Undo :meth:`teach`.

        Raises:
            ValueError: no such action is taught.
        """
        from .teaching import forget, require_project

        self.project.taught = forget(require_project(self.project), name)
        self._finder = None

    def cutting(
        self,
        *,
        window_s: float | None = None,
        overlap: float = 0.5,
        max_fps: float | None = None,
        live: bool = False,
    ) -> Cutting:
        """How videos are cut into windows.

        Args:
            window_s: seconds of a window of a longer video; None: the median of the training clips, and a video as
                long as the longest of them is one window.
            overlap: share of a window that it shares with the next, 0 <= overlap < 1.
            max_fps: leave out frames above this rate; None: 60, or that of the training clips; live 30.
        """
        median_s, longest_s = self.project.training_seconds()
        return Cutting(
            window_s=median_s if window_s is None else window_s,
            whole_s=longest_s if window_s is None else window_s,
            overlap=overlap,
            max_fps=(LIVE_FPS if live else max(FILE_FPS, self.project.training_fps())) if max_fps is None else max_fps,
            stride=self.project.params.detect.stride,
        )

    def watch(
        self,
        source: str,
        cutting: Cutting,
        seconds: float | None,
        keeps_frames: bool = True,
        clock: Clock | None = None,
    ) -> Generator[Prediction]:
        """The windows of a live source, or of a file played at its own speed, each answered at once.

        Args:
            seconds: end after this time.
            keeps_frames: windows have their frames; without them memory is less. The stream ``multimodal`` needs them.
            clock: another time, for benchmarks.

        Raises:
            VideoError: the source cannot be read, breaks off, or gives no picture.
        """
        watching = Watching(self.project, self.recogniser.eyes, cutting.window_s, self._detect_every)
        keeps_frames = keeps_frames or self.project.wants_frames > 0
        with LiveReader(source, cutting.window_s, cutting.max_fps, clock) as reader:
            for window in live_windows(reader, cutting, seconds, watching.look, keeps_frames):
                yield self.recogniser.answer(watching.window(window))

    def _find(self, source: Source, fps: float | None, live: bool | None, seconds: float | None) -> _Found:
        if isinstance(source, np.ndarray):
            if fps is None:
                raise ValueError("an array of frames has no times: give fps, its frames per second")
            if live or seconds is not None:
                raise ValueError("an array of frames is not live: leave out live and seconds")
            return _Found(_Failures(True), frames=source, fps=fps)
        if fps is not None:
            raise ValueError("fps is for an array of frames: a video has timestamps; max_fps leaves frames out")
        names = _names(source)
        endless = [name for name in names if has_no_end(name)]
        running = bool(endless) if live is None else live
        if running and (len(names) != 1 or Path(names[0]).is_dir()):
            raise ValueError("only one live source is possible: give a single camera, address or file")
        if endless and not running:
            raise ValueError(f"{endless[0]} has no end: leave out live=False")
        if running:
            return _Found(_Failures(True), live=names[0], seconds=seconds)
        if seconds is not None:
            raise ValueError("seconds ends a live source: leave it out, or give live=True")
        gathered = gather_files(names, EXPECTED)
        failures = _Failures(alone=len(names) == 1 and not Path(names[0]).is_dir())
        for note in gathered.notes:
            _warn(note)
        for file, why in gathered.unusable.items():
            failures(str(file), f"its name {why}: rename it")
        return _Found(failures, files=gathered.files)

    def _answers(self, found: _Found, cutting: Cutting, keeps_frames: bool) -> Iterator[Prediction]:
        """The predictions of all videos; warns where the networks do not suit the people."""
        predictions: Iterator[Prediction] = (
            self.recogniser.predict(found.windows(cutting, found.failures), found.failures)
            if found.live is None
            else self.watch(found.live, cutting, found.seconds, keeps_frames)
        )
        for _, of_video in itertools.groupby(predictions, key=lambda p: p.seen.window.video):
            yield from watched(of_video, self.project.params, _warn)

    def finder(self, window_s: float) -> EventFinder:
        """Finds events with these networks, which read windows of this length."""
        if self._finder is None or self._finder.window_s != window_s:
            self._finder = EventFinder(self.recogniser, window_s)
        return self._finder

    def _with_events(self, found: _Found, cutting: Cutting) -> Result:
        finder = self.finder(cutting.window_s)
        predictions: list[Prediction] = []
        events: list[VideoEvent] = []
        for windows in found.videos(parts_of(cutting), found.failures):
            following = finder.follow(windows, found.failures)
            parts = [without_maps(part, False) for part in watched(iter(following), self.project.params, _warn)]
            if parts:
                events += finder.events(parts[0].seen.window.video, following.timelines)
            predictions += parts
        result = self._result(predictions, cutting, found.failures.of(predictions), False)
        return replace(result, events=tuple(events))

    def _result(
        self, predictions: list[Prediction], cutting: Cutting, failed: dict[str, str], with_frames: bool
    ) -> Result:
        edges = tuple(self.recogniser.pose_meta.skeleton.edges)
        return make_result(predictions, self.names, edges, cutting.max_fps, failed, with_frames)


@dataclass(frozen=True)
class _Found:
    """What a source is: files, frames with their rate, or something live."""

    failures: _Failures
    files: list[Path] = field(default_factory=list)
    frames: NDArray[np.uint8] | None = None
    fps: float = 0.0
    live: str | None = None
    seconds: float | None = None

    def windows(self, cutting: Cutting, on_failure: OnFailure) -> Iterator[Window]:
        if self.frames is not None:
            return array_windows(self.frames, self.fps, cutting)
        return every_window(self.files, cutting, on_failure)

    def videos(self, cutting: Cutting, on_failure: OnFailure) -> Iterator[Iterator[Window]]:
        """The windows of each video."""
        if self.frames is not None:
            yield array_windows(self.frames, self.fps, cutting)
        for file in self.files:
            yield every_window([file], cutting, on_failure)


def open_trained(folder: Path, streams: Sequence[str] | None, device: str, backend: str | None = None) -> Trained:
    """The networks of a folder. What is missing or does not belong together is refused before torch is imported.

    Args:
        backend: what runs detector and pose network; None: what the folder's parameters say.

    Raises:
        FileNotFoundError, ValueError: see :func:`hpnet.load`.
    """
    if is_bundle(folder):
        return Bundle(folder, streams, device, backend)
    StoredProject(folder, streams)
    from .project import TrainedProject

    trained = TrainedProject(folder, streams, device)
    if backend is not None:
        trained.params = trained.params.run_by(backend)
    return trained


def load(
    folder: str | Path,
    device: str = "auto",
    streams: Sequence[str] | str | None = None,
    *,
    people: int | None = None,
    each: bool = True,
    precision: str = "float32",
    backend: str | None = None,
    detect_every: int = DETECT_EVERY,
) -> Model:
    """The model of a trained project.

    Args:
        folder: a project in which ``dvc repro`` has run, or a bundle that `hpnet export bundle` wrote.
        device: auto, cpu, cuda or cuda:N.
        streams: only these, such as ``["hpj", "hpb"]`` or ``"hpj,hpb"``; None: all with a weight above 0 in the
            project's fusion.
        people: people kept per window; None: ``detect.persons`` of the project.
        each: with several people, also answer for each of them.
        precision: float32, bfloat16 or float16.
        backend: what runs detector and pose network: torch, onnxruntime or openvino; None: what the project says.
        detect_every: live: frames from one look of the detector to the next; between them joints carry the boxes.

    Raises:
        FileNotFoundError: something of the project is missing; names the command that makes it.
        ValueError: its parts do not belong together, or a name is unknown.

    >>> model = hpnet.load("actions", device="cpu", streams=["hpj", "hpb"])
    >>> model
    Model('actions': 5 actions, streams hpj, hpb)
    """
    model = Model(
        folder, device, streams, people=people, each=each, precision=precision, backend=backend,
        detect_every=detect_every,
    )  # fmt: skip
    if not model.project.imported:
        _ = model.recogniser  # refuse now what does not belong together
    return model
