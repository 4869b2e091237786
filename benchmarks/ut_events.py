"""Events on UT-Interaction: nothing of a tested sequence is in networks, rule or thresholds. See benchmarks/events.md.

    python ut_events.py WORK [seen]   # in the project; seen: the rule learns from networks that saw the sequences

Five folds of whole sequences. Where one is tested, networks without it and without the fold of a sequence answer for
that sequence, and the rule is learnt from such answers. WORK keeps the networks, and what the pose network saw.
"""

import pickle
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from hpnet.artifacts.clips import Clips
from hpnet.artifacts.takes import Takes
from hpnet.core.event_metrics import MEASURES, difference_intervals, measure_intervals
from hpnet.core.events import BACKGROUND
from hpnet.crossval.folds import Fold, fold_clips
from hpnet.events.finding import of_sliding_windows
from hpnet.events.labelling import Timeline
from hpnet.events.learning import Example, events_like, folds_by_source, learn
from hpnet.fuse import step as fuse
from hpnet.predict.following import Following, parts_of
from hpnet.predict.project import TrainedProject
from hpnet.predict.seeing import Eyes, Seen
from hpnet.predict.windows import Cutting, Window, every_window
from hpnet.project.folder import Project
from hpnet.train import step as train
from hpnet.train.run import Folders, Machine

STREAMS, FOLDS, WINDOW_S = ("hpj", "hpb"), 5, 4.0
CHOSEN = {"components": [100, 200, 400], "people": ["all"], "classifiers": ["discriminant"], "distances": True}


class Remembering(Eyes):
    """Eyes that look at a video of a few minutes once, and from then on see what they saw."""

    def __init__(self, eyes: Eyes, kept: list[Seen[Any]]) -> None:
        super().__init__(eyes.estimator, eyes.finder)
        self.kept = kept

    def see(self, *given: Any, **options: Any) -> Iterator[Seen[Any]]:
        self.kept = self.kept or list(super().see(*given, **options))
        return iter(self.kept)


def fail(video: str, reason: str) -> None:
    raise ValueError(f"{video}: {reason}")


def answers(networks: TrainedProject, eyes: Eyes, windows: Iterable[Window]) -> list[Timeline]:
    following = Following(networks, eyes, windows, WINDOW_S, fail)
    list(following)
    return following.timelines


def trained(project: Project, folder: Path, held: set[str]) -> TrainedProject:
    """Networks that were trained without the sources ``held``, as a project of their own."""
    own, mirrored = Project(folder), project.read_params().pool.mirrored
    linear = {f"train.topology.linear.{name}": value for name, value in {**CHOSEN, "mirrored": [mirrored]}.items()}
    params = project.read_params({**linear, "fuse.unknown": "none", "fuse.weights": dict.fromkeys(STREAMS, 0.5)})
    if not own.fusion_file.is_file():
        clips = Clips.load(project.data)
        ids, outside = clips.table.clip_id, frozenset(clips.table.clip_id[clips.table.source.isin(held)])
        fold = Fold(folder.name, frozenset(ids) - outside, outside)
        fold_clips(clips, fold, params.data.val_fraction, params.data.seed).save(own.data)
        own.params_file.write_text(yaml.safe_dump(params.model_dump(mode="json")), encoding="utf-8")
        own.pool.symlink_to(project.pool.resolve())
        folders = Folders(own.data, own.pool, project.detect / "frames")
        for stream in STREAMS:
            place = train.Place(own.train(stream), own.metrics / f"{stream}.json", own.work)
            train.run(stream, params.train, folders, place, Machine("cpu", threads=1))
        streams = fuse.Inputs(folder, expected=STREAMS)
        fuse.run(params.fuse, params.data.protocol, streams, own.fuse, own.metrics / "fuse.json")
    return TrainedProject(folder, STREAMS, "cpu", with_taught=False)


def main(project: Project, work: Path, as_seen: bool) -> None:
    takes = Takes.load(project.data)
    truth, lengths = takes.truth, takes.durations_s
    source = dict(zip(takes.videos.video, takes.videos.source, strict=True))
    fold_of = dict(zip(source, folds_by_source(list(source.values()), FOLDS), strict=True))
    wanted = {(v, t): tuple(sorted({t} if as_seen else {t, fold_of[v]})) for v in truth for t in range(FOLDS)}
    networks: dict[tuple[int, ...], TrainedProject] = {}
    for held in sorted(set(wanted.values())):
        outside = {source[video] for video, fold in fold_of.items() if fold in held}
        networks[held] = trained(project, work / "-".join(map(str, held)), outside)
    eyes, said = networks[0,].eyes(people=None, device="cpu", precision="float32"), {}
    cutting = parts_of(Cutting(WINDOW_S, WINDOW_S, max_fps=60.0, stride=networks[0,].params.detect.stride))
    for video, path in takes.paths.items():
        file = work / f"{video}.pkl"
        if not file.is_file():
            recording = Remembering(eyes, [])
            answers(networks[0,], recording, every_window([path], cutting, fail))
            file.write_bytes(pickle.dumps(recording.kept))
        kept = pickle.loads(file.read_bytes())
        for held in {wanted[video, tested] for tested in range(FOLDS)}:
            said[video, held] = answers(networks[held], Remembering(eyes, kept), [kept[0].window.window])
    found, windows = {}, {}
    for tested in range(FOLDS):
        own, learning = networks[tested,], [video for video in truth if fold_of[video] != tested]
        examples = [Example(said[v, wanted[v, tested]], truth[v], lengths[v], source[v]) for v in learning]
        learnt = learn(examples, own.classes, own.event_rules(WINDOW_S)[0], own.params.events)
        for video in set(truth) - set(learning):
            lines = said[video, (tested,)]
            plain = [e for e in of_sliding_windows(lines, own.classes, WINDOW_S) if e.action != BACKGROUND]
            found[video] = events_like(learnt.rule.events(lines), truth[video])
            windows[video] = events_like(plain, truth[video])
    parts = [measure_intervals(truth, found, lengths), measure_intervals(truth, windows, lengths)]
    parts.append(difference_intervals(truth, windows, found, lengths))
    for name in MEASURES:
        cells = [f"{100 * p[name].value:.1f} ({100 * p[name].low:.1f} to {100 * p[name].high:.1f})" for p in parts]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main(Project(), Path(sys.argv[1]), sys.argv[2:] == ["seen"])
