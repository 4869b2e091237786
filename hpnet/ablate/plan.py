"""The stages that a set of experiments must run, and their time: arithmetic on dvc.yaml, dvc.lock and parameters.

A stage's *signature* is a hash of its parameters, of the files that it depends on, of its code under the experiment's
parameters and of the signatures upstream. Two experiments share a stage exactly if its signatures are equal. A stage
with a known signature needs no run.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..project.code import content
from ..project.dvc_yaml import lookup
from ..project.graph import CODE, Stage, code_file, needed, touches, upstream
from .paper import Overrides, PaperTable


@dataclass(frozen=True)
class Experiment:
    """Parameters that differ from the project's own, and the streams that are wanted."""

    overrides: tuple[tuple[str, str], ...]
    streams: tuple[str, ...]

    @property
    def key(self) -> str:
        """Name of its folder; 'base' for the project's own parameters."""
        if not self.overrides:
            return "base"
        return hashlib.sha256(json.dumps(self.overrides).encode()).hexdigest()[:12]

    @property
    def values(self) -> dict[str, Any]:
        """Dotted name -> value."""
        return {name: json.loads(text) for name, text in self.overrides}

    @property
    def text(self) -> str:
        """'pool.region=3', as `dvc exp run -S` takes it; the wide estimate is shortened."""
        return ", ".join(f"{name}={value}" for name, value in self.values.items()) or "as in params.yaml"

    @property
    def targets(self) -> list[str]:
        """Stages to reproduce."""
        return [f"train@{stream}" for stream in self.streams]


@dataclass(frozen=True)
class Planned:
    """An experiment with the stages that it will run, in order, and the seconds expected of each (None: unknown)."""

    experiment: Experiment
    runs: tuple[str, ...]
    seconds: dict[str, float | None]

    @property
    def total(self) -> float:
        """Seconds expected; stages without a figure count nothing."""
        return sum(value or 0.0 for value in self.seconds.values())

    @property
    def untimed(self) -> tuple[str, ...]:
        """The stages without a figure."""
        return tuple(name for name, value in self.seconds.items() if value is None)


def apply(params: Mapping[str, Any], overrides: Overrides) -> dict[str, Any]:
    """A copy of nested ``params`` with dotted ``overrides``."""
    result: dict[str, Any] = json.loads(json.dumps(params))
    for dotted, value in overrides.items():
        *sections, key = dotted.split(".")
        target = result
        for section in sections:
            target = target.setdefault(section, {})
        target[key] = value
    return result


def signatures(
    stages: Mapping[str, Stage], params: Mapping[str, Any], digests: Mapping[str, str], codes: Mapping[str, str]
) -> dict[str, str]:
    """Signature of every stage under ``params``.

    Args:
        digests: of the files that no stage writes.
        codes: identity of the code behind the stages under ``params``, by name. The stage that writes them is not part
            of another signature, because its inputs determine them.
    """
    found: dict[str, str] = {}
    for name, stage in stages.items():
        parts = {
            "name": name,
            "params": {p: lookup(params, p) for p in stage.params},
            "files": {dep: digests[dep] for dep in stage.deps if dep in digests},
            "code": codes.get(stage.code, ""),
            "upstream": [found[other] for other in upstream(stage, stages)],
        }
        found[name] = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
    return found


def file_digests(root: Path, stages: Mapping[str, Stage], by_time: Iterable[str] = ()) -> dict[str, str]:
    """md5 of every dependency that no stage makes; for a folder, over its files' names and contents.

    Inputs of the stage ``code`` are left out, because the identities that it writes replace them.

    Args:
        by_time: folders too large to read; their files are identified by size and time of change.
    """
    unread = frozenset(by_time)
    outs = [out for stage in stages.values() for out in stage.written]
    found = {}
    for dep in sorted({dep for stage in stages.values() if stage.name != CODE for dep in stage.deps}):
        if any(touches(dep, out) for out in outs):
            continue
        path = root / dep
        if path.is_file():
            found[dep] = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        elif path.is_dir():
            files = sorted(p for p in path.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
            listed = [(str(f.relative_to(path)), _told_by(f, dep in unread)) for f in files]
            found[dep] = hashlib.sha256(json.dumps(listed).encode()).hexdigest()
    return found


def _told_by(file: Path, time: bool) -> str:
    if not time:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    known = file.stat()
    return f"{known.st_size} {known.st_mtime_ns}"


def locked(
    lock: Mapping[str, Any], stages: Mapping[str, Stage], params: Mapping[str, Any], digests: Mapping[str, str],
    codes: Mapping[str, str], cached: frozenset[str] | None = None,
) -> set[str]:  # fmt: skip
    """Stages in dvc.lock with exactly these parameters, files and code, and with everything upstream of them.

    Args:
        lock: parsed dvc.lock.
        params: nested, as in params.yaml.
        digests: of :func:`file_digests`.
        codes: as in :func:`signatures`.
        cached: md5 (with '.dir') of the files in the cache; a stage with an output that is not there is left out. None:
            all outputs are there.
    """
    known: set[str] = set()
    for name, stage in stages.items():
        entry = lock.get("stages", {}).get(name)
        if entry is None or not set(upstream(stage, stages)) <= known:
            continue
        stored = {key: value for file in entry.get("params", {}).values() for key, value in file.items()}
        same_params = all(stored.get(p) == lookup(params, p) for p in stage.params)
        files = {dep["path"]: dep.get("md5", "") for dep in entry.get("deps", [])}
        same_files = all(files.get(d) == digests[d] for d in stage.deps if d in digests and not _is_folder(files, d))
        same_code = stage.code not in codes or files.get(code_file(stage.code)) == _md5(content(codes[stage.code]))
        outs = {out.get("md5", "") for out in entry.get("outs", []) if str(out["path"]).startswith("artifacts/")}
        if same_params and same_files and same_code and (cached is None or outs <= cached):
            known.add(name)
    return known


def _md5(text: str) -> str:
    """md5 of a file, as DVC computes it."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _is_folder(files: Mapping[str, str], dep: str) -> bool:
    return files.get(dep, "").endswith(".dir")


def experiments(
    tables: Sequence[PaperTable], params: Mapping[str, Any], seeds: Sequence[int], everything: bool = False
) -> list[Experiment]:
    """The experiments of some tables, in the order of the rows; each once, with the streams of all its rows.

    ``params``: the project's parameters, nested, with every default filled in. Overrides with the project's own value
    are dropped, so a row without other changes is the project itself.
    """
    streams: dict[tuple[tuple[str, str], ...], dict[str, None]] = {}
    for table in tables:
        for row in table.rows:
            if row.unavailable or (row.extra and not everything):
                continue
            for setting in row.settings:
                for seed in seeds:
                    wanted = streams.setdefault(normal(setting, params, seed), {})
                    wanted |= dict.fromkeys(row.streams)
    return [Experiment(overrides, tuple(names)) for overrides, names in streams.items() if names]


def normal(setting: Overrides, params: Mapping[str, Any], seed: int) -> tuple[tuple[str, str], ...]:
    """A setting with its seed as sorted (name, JSON) pairs, without values that the project has too.

    ``params``: the project's parameters, nested, with every default filled in.
    """
    whole = {**setting, "train.seed": seed}
    return tuple(sorted((name, json.dumps(value)) for name, value in whole.items() if lookup(params, name) != value))


def plan(
    wanted: Sequence[Experiment],
    stages: Mapping[str, Stage],
    signed: Callable[[Experiment], Mapping[str, str]],
    known: Iterable[str],
    seconds: Mapping[str, float],
) -> list[Planned]:
    """The stages that each experiment runs, if they run in this order.

    Args:
        signed: signature of every stage under an experiment's parameters.
        known: signatures that need no run.
        seconds: command ('train hpj') -> wall time of its last run.
    """
    have, planned = set(known), []
    for experiment in wanted:
        signs = signed(experiment)
        runs = tuple(name for name in needed(experiment.targets, stages) if signs[name] not in have)
        have |= {signs[name] for name in runs}
        planned.append(Planned(experiment, runs, {name: seconds.get(stages[name].command) for name in runs}))
    return planned


def by_value(tables: Sequence[PaperTable], cost: Mapping[int, float]) -> list[PaperTable]:
    """Tables by value per second, those without cost first; ``cost``: table number -> seconds, estimated if unknown."""
    return sorted(tables, key=lambda t: (-t.value / max(cost[t.number], 1.0), t.number))


def duration(text: str) -> float:
    """'2h', '90m', '1h30m' or '45' (minutes) -> seconds.

    Raises:
        ValueError: anything else.
    """
    match = re.fullmatch(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)(?:m|$))?(?:(\d+)s)?", text.strip())
    if not match or not any(match.groups()):
        raise ValueError(f"{text!r} is not a duration: write 2h, 90m or 1h30m")
    hours, minutes, rest = (float(part or 0) for part in match.groups())
    return 3600 * hours + 60 * minutes + rest
