"""Experiments with DVC: each in its own workspace, with the project's cache.

``dvc exp run`` needs a git commit and stashes the work tree, its queue does not assign GPUs, and both write into the
project's git. So an experiment is a folder ``.work/ablate/KEY`` with links to the code, its own params.yaml and the
project's dvc.lock. Its DVC cache *is* the project's: stages that the project or an experiment has run come from this
cache. The shards and checkpoints of ``.work`` are shared too, so a killed run resumes.
"""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ..artifacts.clips import Clips
from ..artifacts.features import Features
from ..artifacts.files import read_json_as, write_json
from ..artifacts.scores import Scores
from ..core.streams import MULTIMODAL
from ..params import validate
from ..project.code import codes
from ..project.folder import Project
from ..project.graph import Stage, needed
from ..report.results import total_fisher
from ..train import TEXTS
from .plan import Experiment, Planned, apply, file_digests, locked, signatures

SHARED_WORK = ("data", "detect", "estimate", "pool", "train")
"""Folders of .work that experiments and the project share: shards and checkpoints, named by their keys."""


@dataclass(frozen=True)
class Study:
    """A project, with the data that experiments need.

    Attributes:
        project: its folder.
        params: params.yaml, nested, without defaults.
        stages: of dvc.yaml, upstream first.
        digests: of the files that no stage makes.
        cache: DVC's cache folder.
    """

    project: Project
    params: dict[str, Any]
    stages: dict[str, Stage]
    digests: dict[str, str]
    cache: Path
    _signed: dict[str, dict[str, str]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def folder(self) -> Path:
        """Folder of the experiments."""
        return self.project.work / "ablate"

    def codes(self, params: Mapping[str, Any]) -> dict[str, str]:
        """Identity of the code behind the stages under these parameters (nested), by name."""
        checked = validate(dict(params), str(self.project.params_file))
        known = codes(checked)
        return {name: known[name].digest() for name in {stage.code for stage in self.stages.values()} & set(known)}

    def signatures(self, experiment: Experiment) -> dict[str, str]:
        """Signature of every stage under an experiment's parameters."""
        if experiment.key not in self._signed:
            values = apply(self.params, experiment.values)
            self._signed[experiment.key] = signatures(self.stages, values, self.digests, self.codes(values))
        return self._signed[experiment.key]


def open_study(project: Project) -> Study:
    """Read a project.

    Raises:
        FileNotFoundError: it has no dvc.yaml or no .dvc folder.
    """
    stages = project.read_stages()
    if not (project.root / ".dvc").exists():
        raise FileNotFoundError(f"{project.root / '.dvc'} is missing: run `dvc init` there first")
    params = project.read_values()
    cache = Path(_dvc(project.root, "cache", "dir").strip().splitlines()[-1])
    return Study(project, params, stages, file_digests(project.root, stages, [_videos(params)]), cache)


def _videos(params: Mapping[str, Any]) -> str:
    return str((params.get("data") or {}).get("videos", "videos"))


def _descriptions(params: Mapping[str, Any]) -> list[str]:
    """The user's file of descriptions, if there is one."""
    text = str(((params.get("train") or {}).get(MULTIMODAL) or {}).get("text", TEXTS[0]))
    return [] if text in TEXTS else [text]


@dataclass(frozen=True)
class _Result:
    """What is read again of an experiment's result.json."""

    signatures: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    fisher: float | None = None
    classes: list[str] | None = None


def _recorded(file: Path) -> _Result:
    return read_json_as(file, _Result, "delete its folder, and run the table again")


def known_signatures(study: Study) -> set[str]:
    """Signatures of stages that need no run: cached stages of the project, and stages of finished experiments."""
    lock, now = study.project.read_lock(), study.codes(study.params)
    own = signatures(study.stages, study.params, study.digests, now)
    cached = _cached(study, lock)
    known = {own[name] for name in locked(lock, study.stages, study.params, study.digests, now, cached)}
    for file in study.folder.glob("*/result.json"):
        known |= set(_recorded(file).signatures.values())
    return known


def _cached(study: Study, lock: Mapping[str, Any]) -> frozenset[str]:
    """The outputs in the lock that are in the cache."""
    listed = {out.get("md5", "") for entry in lock.get("stages", {}).values() for out in entry.get("outs", [])}
    files = study.cache / "files" / "md5"
    return frozenset(md5 for md5 in listed if md5 and (files / md5[:2] / md5[2:]).is_file())


def seconds_known(study: Study) -> dict[str, float]:
    """Wall time of each command, from the project's last run or else an experiment's; unknown ones are left out."""
    found: dict[str, float] = {}
    for file in sorted(study.folder.glob("*/result.json"), key=lambda one: one.stat().st_mtime):
        found |= _recorded(file).seconds
    own = study.project.work / "seconds.json"
    return found | (read_json_as(own, dict[str, float], "delete it") if own.is_file() else {})


def finished(study: Study, experiment: Experiment) -> list[str]:
    """The streams of an experiment with scores that belong to the present code and parameters."""
    file = study.folder / experiment.key / "result.json"
    if not file.is_file():
        return []
    stored, now = _recorded(file).signatures, study.signatures(experiment)
    folder = study.folder / experiment.key / "scores"
    return [
        stream
        for stream in experiment.streams
        if stored.get(f"train@{stream}", "") == now.get(f"train@{stream}") and (folder / f"{stream}.parquet").is_file()
    ]


def load_scores(study: Study, experiment: Experiment) -> dict[str, Scores]:
    """The scores of the finished streams."""
    folder = study.folder / experiment.key / "scores"
    return {stream: Scores.load(folder / f"{stream}.parquet") for stream in finished(study, experiment)}


def _fisher(place: Path) -> float | None:
    """Fisher score of an experiment's features (Fig. 7); None if they are not pooled by hpnet."""
    if not (place / "artifacts" / "pool" / "features.npy").is_file():
        return None
    score = total_fisher(Features.load(place / "artifacts" / "pool"), Clips.load(place / "artifacts" / "data"))
    return score if score is not None and math.isfinite(score) else None


def load_classes(study: Study, experiment: Experiment) -> list[str] | None:
    """The class names of an experiment; None if it has not run."""
    file = study.folder / experiment.key / "result.json"
    return _recorded(file).classes if file.is_file() else None


def clips_folder(study: Study, experiment: Experiment) -> Path:
    """Where the clip table of an experiment's run lies, once it has run."""
    return study.folder / experiment.key / "clips"


def load_fisher(study: Study, experiment: Experiment) -> float | None:
    """The Fisher score that was recorded when the experiment ran."""
    file = study.folder / experiment.key / "result.json"
    return _recorded(file).fisher if file.is_file() else None


def prepare(study: Study, experiment: Experiment) -> Path:
    """Make or update the workspace of an experiment.

    Raises:
        ValueError: the project reads a relative path outside of its folder, which would be wrong from the workspace.
    """
    root, place = study.project.root.resolve(), study.folder.resolve() / experiment.key
    place.mkdir(parents=True, exist_ok=True)
    outs = {out.split("/")[0] for stage in study.stages.values() for out in stage.written}
    named = (_videos(study.params), *_descriptions(study.params))
    read = [Path(dep) for stage in study.stages.values() for dep in stage.deps] + list(map(Path, named))
    away = next((path for path in read if path.parts[:1] == ("..",)), None)
    if away is not None:
        raise ValueError(f"{away} leads out of the project {root}: give it as an absolute path")
    wanted = {path.parts[0] for path in read if path.parts and not path.is_absolute()} - outs
    for name in sorted(wanted):
        if (root / name).exists() and not (place / name).is_symlink():
            (place / name).symlink_to(root / name)
    work = place / ".work"
    work.mkdir(exist_ok=True)
    for name in SHARED_WORK:
        (root / ".work" / name).mkdir(parents=True, exist_ok=True)
        if not (work / name).is_symlink():
            (work / name).symlink_to(root / ".work" / name)
    (place / "params.yaml").write_text(
        yaml.safe_dump(apply(study.params, experiment.values), sort_keys=False), encoding="utf-8"
    )
    for name in ("dvc.yaml", ".dvcignore"):
        if (root / name).is_file():
            shutil.copyfile(root / name, place / name)
    if not (place / "dvc.lock").is_file() and (root / "dvc.lock").is_file():
        shutil.copyfile(root / "dvc.lock", place / "dvc.lock")
    (place / ".dvc").mkdir(exist_ok=True)
    config = "[core]\n    no_scm = True\n    analytics = false\n    check_update = false\n    hardlink_lock = false\n"
    config += f'[cache]\n    dir = {study.cache}\n    type = "reflink,hardlink,symlink,copy"\n'
    (place / ".dvc" / "config").write_text(config, encoding="utf-8")
    return place


def run_experiment(
    study: Study, experiment: Experiment, gpu: str | None = None, on_stage: Callable[[str], None] = lambda name: None
) -> dict[str, Any]:
    """Reproduce an experiment's targets, keep its scores, and return the content of result.json.

    Args:
        gpu: value for CUDA_VISIBLE_DEVICES; None: unchanged.
        on_stage: called with the name of every stage that runs.

    Raises:
        RuntimeError: a stage failed; names the log with its whole output.
    """
    place = prepare(study, experiment)
    started = time.monotonic()
    if (place / "dvc.lock").is_file():  # files of a `dvc pull` are not in the run cache
        _dvc(place, "checkout", "-q", "--with-deps", *experiment.targets, check=False)
    environment = _environment() | ({} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu})
    log = place / "repro.log"
    ran = []
    with (
        log.open("w", encoding="utf-8") as kept,
        subprocess.Popen(
            [sys.executable, "-m", "dvc", "repro", *experiment.targets],
            cwd=place, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        ) as process,
    ):  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            kept.write(line)
            kept.flush()
            if line.startswith("Running stage '"):
                ran.append(line.split("'")[1])
                on_stage(ran[-1])
    if process.returncode:
        tail = [line for line in log.read_text(encoding="utf-8").splitlines() if line.strip()]
        reason = next((line for line in reversed(tail) if line.startswith("Error:")), tail[-1] if tail else "no output")
        raise RuntimeError(f"{experiment.text}: {reason} (all of it: {log})")
    for stream in experiment.streams:
        target = place / "scores" / f"{stream}.parquet"
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(place / "artifacts" / "train" / stream / "scores.parquet", target)
    fisher = _fisher(place)
    data = place / "artifacts" / "data"
    signed = study.signatures(experiment)
    for name in ("clips.csv", "classes.csv"):
        if (data / name).is_file():
            (place / "clips").mkdir(exist_ok=True)
            shutil.copyfile(data / name, place / "clips" / name)
    before = place / "result.json"
    stages = _recorded(before).signatures if before.is_file() else {}
    times = place / ".work" / "seconds.json"
    result = {
        "overrides": experiment.values,
        "signatures": stages | {name: signed[name] for name in needed(experiment.targets, study.stages)},
        "ran": ran,
        "wall_seconds": round(time.monotonic() - started, 1),
        "seconds": read_json_as(times, dict[str, float]) if times.is_file() else {},
        "fisher": fisher,
        "classes": Clips.load(data).class_names if (data / "clips.csv").is_file() else None,
    }
    write_json(before, result)
    shutil.rmtree(place / "artifacts")  # outputs are in the cache; the scores are kept
    return result


def run_all(
    study: Study,
    planned: Sequence[Planned],
    *,
    budget: float | None = None,
    gpus: Sequence[str | None] = (None,),
    on_start: Callable[[Planned], None] = lambda item: None,
    on_stage: Callable[[str], None] = lambda name: None,
    on_done: Callable[[Planned, dict[str, Any]], None] = lambda item, result: None,
    on_failure: Callable[[Planned, str], None] = lambda item, why: None,
) -> list[Planned]:
    """Run experiments in order, one at a time per entry of ``gpus`` (None: no choice of a GPU).

    Two experiments that need the same stage never run at the same time, so no stage runs twice. With a budget
    (seconds), an experiment starts only if its estimated time fits; a stage that was never timed counts as 0 s until
    one of these experiments has run it. A failed experiment is reported and does not stop the others.

    Returns:
        The experiments that were not started.
    """
    began = time.monotonic()
    free = list(gpus)
    waiting, flying = list(planned), dict[Future[dict[str, Any]], tuple[Planned, str | None]]()
    left: list[Planned] = []
    learned: dict[str, float] = {}

    def expected(item: Planned) -> float:
        return item.total + sum(learned.get(study.stages[name].command, 0.0) for name in item.untimed)

    def busy() -> set[str]:
        return {sign for item, _ in flying.values() for sign in _signs(study, item, item.runs)}

    def clashes(item: Planned) -> bool:
        return bool(_signs(study, item, needed(item.experiment.targets, study.stages)) & busy())

    with ThreadPoolExecutor(len(free)) as pool:
        while waiting or flying:
            for item in list(waiting):
                if not free:
                    break
                if budget is not None and time.monotonic() - began + expected(item) > budget:
                    waiting.remove(item)
                    left.append(item)
                elif not clashes(item):
                    waiting.remove(item)
                    gpu = free.pop()
                    on_start(item)
                    flying[pool.submit(run_experiment, study, item.experiment, gpu, on_stage)] = (item, gpu)
            for future in wait(flying, return_when=FIRST_COMPLETED).done:
                item, gpu = flying.pop(future)
                free.append(gpu)
                try:
                    result = future.result()
                    learned |= result["seconds"]
                    on_done(item, result)
                except (RuntimeError, OSError, ValueError) as error:
                    on_failure(item, str(error))
    return left


def _signs(study: Study, item: Planned, names: Iterable[str]) -> set[str]:
    signed = study.signatures(item.experiment)
    return {signed[name] for name in names}


def _environment() -> dict[str, str]:
    """PATH with this Python's commands first, so that `hpnet` in dvc.yaml is this hpnet."""
    return os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}


def _dvc(folder: Path, *arguments: str, check: bool = True) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], cwd=folder, env=_environment(), capture_output=True, text=True
    )
    if check and done.returncode:
        raise RuntimeError(f"dvc {' '.join(arguments)} in {folder}: {done.stderr.strip().splitlines()[-1:]}")
    return done.stdout
