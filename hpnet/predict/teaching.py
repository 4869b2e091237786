"""Teaching a trained project an action by a few clips, without training its networks again.

The clips are read as `hpnet predict` reads videos. What the networks read of them, and of the project's training clips,
gives a linear discriminant (:mod:`hpnet.predict.head`). It is kept beside the project, in ``taught/``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..artifacts.clips import Clips
from ..artifacts.features import Features
from ..artifacts.files import read_json
from ..artifacts.taught import Taught, TaughtAction, TaughtClip, TaughtWindow
from ..core.video import VideoError
from ..models.linear import Linear
from ..project.folder import Project
from ..train.batches import ordered_batches
from ..train.clips import LabelledClips, labelled_clips
from ..train.datasets import PersonFeatures, person_rows
from ..train.out_of_fold import learnt, make_folds
from ..work.console import one_line
from ..work.shards import file_digest
from .head import Check, Head, Indices, Known, fit_head
from .project import BATCH, TrainedProject
from .recognise import Recogniser
from .trained import Sample, Trained
from .windows import Cutting, every_window

FOLDS = 5
MOST_CLIPS = 2000
"""Clips of trained actions that are read; of more, as many of each action as possible."""
MOST_BYTES = 1 << 30
"""What is read of these clips is at most so large; else fewer are read."""
FEWEST_UNSEEN = 40
"""A validation split of fewer clips is too small to choose a threshold on."""
TOO_FEW = 3
"""An action of so many clips of which none is recognised is refused."""
LONGEST_NAME = 100
RESERVED = ("unknown", "background")


def teach(recogniser: Recogniser, name: str, files: Sequence[Path], cutting: Cutting, most_loss: float) -> Taught:
    """Teach an action, and keep it beside the project.

    Args:
        files: clips of the action alone.
        cutting: how longer clips are cut; a clip of several windows counts as one.
        most_loss: share of the clips of trained actions that taught actions together may answer.

    Returns:
        All taught actions, the new one last.

    Raises:
        ValueError: the name or a clip cannot be used, or the action cannot be told from a trained one; nothing is kept.
        FileNotFoundError: the features of the training clips are missing.
    """
    trained = require_project(recogniser.project)
    before = trained.taught
    actions = () if before is None else before.actions
    if not 0 <= most_loss < 1:
        raise ValueError(f"most loss {most_loss:g}; expected a share of 0 or more and below 1")
    _check_name(name, trained.classes, [action.name for action in actions])
    digests = _check_clips(files, actions)
    made = {clip.file: clip for clip in _read(recogniser, files, digests, cutting)}
    clips = tuple(made[str(file)] for file in files)
    pose = {"model": recogniser.pose_meta.model, "weights_digest": str(recogniser.pose_meta.weights_digest)}
    found = fit(trained, (*actions, _new(name, clips)), pose, most_loss)
    new = found.actions[-1]
    if new.left_out >= TOO_FEW and not new.recognised:
        raise ValueError(
            f"{name!r} cannot be told from trained actions: none of its {new.left_out} clips is recognised when it is "
            f"left out and at most {most_loss:.1%} of the clips of trained actions may be lost; they are most like "
            f"{new.nearest!r}: give more or clearer clips, or allow a larger loss"
        )
    found.save(trained.project.taught)
    trained.taught = found
    return found


def require_project(trained: Trained) -> TrainedProject:
    """Refuse networks without their project.

    Raises:
        ValueError: they are an exported bundle.
    """
    if not isinstance(trained, TrainedProject):
        raise ValueError(f"{trained.root} is a bundle: teach its project, then export it again")
    return trained


def again(trained: TrainedProject) -> Taught:
    """Fit the taught actions to networks that were trained again; their clips are not needed.

    Args:
        trained: made with ``taught=False``.

    Raises:
        ValueError: nothing is taught, or the pose network or its features are others, so that the clips must be read.
    """
    before = Taught.load(trained.project.taught)
    if before is None:
        raise ValueError(f"{trained.project.root} has no taught action")
    stored = read_json(trained.project.estimate / "meta.json")
    if before.features != trained.features or any(str(stored[key]) != value for key, value in before.pose.items()):
        clips = " ".join(one_line(clip.file) for clip in before.actions[0].clips)
        raise ValueError(
            "the pose network or the features are others than when the actions were taught: run `hpnet teach --forget "
            f"NAME` and teach again, such as `hpnet teach {before.actions[0].name!r} {clips}`"
        )
    found = fit(trained, before.actions, before.pose, before.most_taken)
    found.save(trained.project.taught)
    return found


def forget(trained: TrainedProject, name: str) -> Taught | None:
    """Forget an action; the others are fitted again. None: there is no other.

    Args:
        trained: made with ``taught=False``.

    Raises:
        ValueError: no such action is taught; lists those that are.
    """
    folder = trained.project.taught
    before = require_taught(trained.project, name)
    rest = tuple(action for action in before.actions if action.name != name)
    if not rest:
        Taught.remove(folder)
        return None
    found = fit(trained, rest, before.pose, before.most_taken)
    found.save(folder)
    return found


def require_taught(project: Project, name: str) -> Taught:
    """The taught actions, among them ``name``.

    Raises:
        ValueError: it is not; lists those that are.
    """
    found = Taught.load(project.taught)
    if found is None or name not in found.names:
        names = "none" if found is None else ", ".join(map(repr, found.names))
        raise ValueError(f"{name!r} is no taught action of {project.root}; taught: {names}")
    return found


def fit(trained: TrainedProject, actions: Sequence[TaughtAction], pose: dict[str, str], most_loss: float) -> Taught:
    """Fit the discriminant of a project's actions and of examples.

    Raises:
        ValueError: the features are not those that the networks were trained on, or all networks read pictures.
        FileNotFoundError: the features of the training clips are missing.
    """
    if not trained.readers:
        raise ValueError("the only stream is 'multimodal', which compares with texts: train one of hpj to hpbm as well")
    table = Clips.load(trained.project.data)
    known = known_clips(trained, table)
    clips = [(place, clip) for place, action in enumerate(actions) for clip in action.clips]
    labels = np.array([place for place, _ in clips], np.int64)
    read = list(_embedded(trained, [clip for _, clip in clips]))
    taught = {stream: np.stack([each[stream] for each in read]) for stream in trained.readers}
    head, checks = fit_head(known, taught, labels, table.num_classes, most_loss)
    judged = (_judged(*found, head, place, table.class_names)
              for place, found in enumerate(zip(actions, checks, strict=True)))  # fmt: skip
    return Taught(
        tuple(judged),
        head.weights,
        head.biases,
        trained.digests(),
        trained.features,
        pose,
        int((known.folds >= 0).sum()),
        most_loss,
    )


def known_clips(trained: TrainedProject, table: Clips) -> Known:
    """What the networks read of the project's training clips.

    Raises:
        ValueError: the features are not those that the networks were trained on.
        FileNotFoundError: there are none.
    """
    features = Features.load(trained.project.pool)
    if features.meta != trained.features:
        raise ValueError(
            f"{trained.project.pool} has other features than the networks were trained on: run `dvc repro`"
        )
    clips = labelled_clips(table)
    rows = person_rows(features, clips, {str(clip) for clip in table.table.clip_id})
    chosen = np.flatnonzero(learnt(clips) & (rows >= 0).any(1))
    people = PersonFeatures(features.array, rows, clips.labels, trained.device)
    by_steps = not all(isinstance(trained.reader(stream).network, Linear) for stream in trained.readers)
    folds = left_out_in_turn(clips, chosen, by_steps and not trained.params.train.refit)
    chosen = _evenly(chosen, clips, _room(trained, people, chosen[:1]))
    found: dict[str, list[NDArray[np.float32]]] = {stream: [] for stream in trained.readers}
    for part in ordered_batches(chosen, BATCH):
        batch = people.batch(part)
        for stream, values in trained.read(batch.features, batch.valid).items():
            found[stream].append(values)
    return Known({s: np.concatenate(v) for s, v in found.items()}, clips.labels[chosen], folds[chosen])


def left_out_in_turn(clips: LabelledClips, among: Indices, by_steps: bool) -> Indices:
    """(N,) the folds of clips on which a threshold is chosen, of whole sources; -1: none.

    Networks that are trained by steps know their training clips by heart. Where the validation split has enough clips,
    its clips are left out in turn; else all clips are.

    Args:
        among: the clips that are read.
        by_steps: whether a network was trained by steps, and not on the validation split.

    Raises:
        ValueError: all clips are of one source.
    """
    folds = make_folds(clips, FOLDS).of
    unseen = np.array([split == "val" for split in clips.splits])
    return np.where(unseen, folds, -1) if by_steps and unseen[among].sum() >= FEWEST_UNSEEN else folds


def _room(trained: TrainedProject, people: PersonFeatures, some: Indices) -> int:
    """How many clips may be read."""
    batch = people.batch(some)
    size = sum(values.nbytes for values in trained.read(batch.features, batch.valid).values())
    return max(1, min(MOST_CLIPS, MOST_BYTES // max(1, size)))


def _evenly(chosen: Indices, clips: LabelledClips, most: int) -> Indices:
    """At most ``most`` of the clips, as many of each action as possible, in their order."""
    if len(chosen) <= most:
        return chosen
    order = np.random.default_rng(0).permutation(chosen)
    rank = np.zeros(len(order), np.int64)
    for label in np.unique(clips.labels[order]):
        own = clips.labels[order] == label
        rank[own] = np.arange(own.sum())
    return np.sort(order[np.argsort(rank, kind="stable")[:most]])


def _embedded(trained: TrainedProject, clips: Sequence[TaughtClip]) -> Iterator[dict[str, NDArray[np.float32]]]:
    """What the networks read of each clip, (D,) of each stream: the mean over its windows."""
    for clip in clips:
        samples = [Sample(window.features, window.valid, []) for window in clip.windows]
        yield {stream: values.mean(0) for stream, values in trained.embeddings(samples).items()}


def _new(name: str, clips: tuple[TaughtClip, ...]) -> TaughtAction:
    return TaughtAction(name, clips, 0, 0, 0.0, "", 0.0, 1.0)


def _judged(action: TaughtAction, check: Check, head: Head, place: int, classes: Sequence[str]) -> TaughtAction:
    return replace(
        action,
        recognised=check.recognised,
        left_out=check.left_out,
        taken=check.taken,
        nearest=classes[check.nearest],
        threshold=float(head.thresholds[place]),
        temperature=float(head.temperatures[place]),
    )


def _check_name(name: str, trained: Sequence[str], taught: Sequence[str]) -> None:
    if not name.strip() or name != name.strip() or not name.isprintable() or len(name) > LONGEST_NAME:
        raise ValueError(f"{name!r} is no name: expected text of at most {LONGEST_NAME} characters on one line")
    if name in RESERVED:
        raise ValueError(f"{name!r} has a meaning of its own: choose another name")
    if name in trained:
        raise ValueError(f"{name!r} is a trained action: add the clips to its videos and train, or choose another name")
    if name in taught:
        raise ValueError(
            f"{name!r} is taught already: run `hpnet teach --forget {name!r}` first, or choose another name"
        )


def _check_clips(files: Sequence[Path], actions: Sequence[TaughtAction]) -> dict[str, str]:
    """File -> digest.

    Raises:
        FileNotFoundError, ValueError: there is none, one is missing, or one was given already.
    """
    if not files:
        raise ValueError("no clip was given: expected one or more videos of the action, best five")
    seen = {clip.digest: f"an example of {action.name!r}" for action in actions for clip in action.clips}
    digests: dict[str, str] = {}
    for file in files:
        if not file.is_file():
            raise FileNotFoundError(f"{one_line(str(file))} is missing: expected a video")
        digest = file_digest(file)
        if digest in seen:
            raise ValueError(f"{one_line(str(file))} is {seen[digest]} already: give other clips")
        seen[digest] = "given"
        digests[str(file)] = digest
    return digests


def _read(
    recogniser: Recogniser, files: Sequence[Path], digests: dict[str, str], cutting: Cutting
) -> Iterator[TaughtClip]:
    """The clips with the features of their people.

    Raises:
        VideoError: one cannot be read.
        ValueError: nobody is found in one; names all of them.
    """

    def fail(video: str, reason: str) -> None:
        raise VideoError(f"{one_line(video)}: {reason}")

    windows: dict[str, list[TaughtWindow]] = {str(file): [] for file in files}
    for video, sample in recogniser.examples(every_window(list(files), cutting, fail), fail):
        if sample is not None and sample.valid.any():
            windows[video].append(TaughtWindow(sample.features, sample.valid))
    empty = [one_line(video) for video, found in windows.items() if not found]
    if empty:
        raise ValueError(
            f"nobody was found in {', '.join(empty)}: leave {'it' if len(empty) == 1 else 'them'} out, or see what is "
            f"found with `hpnet look {empty[0]}`"
        )
    for video, found in windows.items():
        yield TaughtClip(video, digests[video], tuple(found))
