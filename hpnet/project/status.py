"""Whether what the stages wrote is up to date, as DVC and the identities of code say."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from .code import content, digests
from .folder import Project
from .graph import CODE, code_file, needed

HARMLESS = "not in cache"
"""State of an output that is in the project, but not in DVC's cache."""


def stale(project: Project, stage: str) -> str:
    """Why the outputs of a stage, or of one before it, are not up to date; empty where they are.

    A folder without dvc.yaml holds what somebody made by hand: nothing is known to be wrong with it.

    Raises:
        RuntimeError: DVC cannot say.
    """
    if not project.graph_file.is_file():
        return ""
    stages = project.read_stages()
    names = [name for name in needed([stage], stages) if name != CODE]
    lock = project.read_lock().get("stages", {})
    now = digests(project.read_params(), sorted({stages[name].code for name in names if stages[name].code}))
    for name in names:
        if name not in lock:
            return f"{name} has not run"
        had = {dep["path"]: dep.get("md5") for dep in lock[name].get("deps", ())}
        code = stages[name].code
        if code and had.get(code_file(code)) != _md5(content(now[code])):
            return f"the code of {name} has changed since it ran"
    said = _dvc_status(project, stage)
    return next((f"{name}: {change}" for name in names for change in _changes(said.get(name, ()))), "")


def _changes(entries: Any) -> Iterator[str]:
    """What differs of a stage, its code left out, which is compared by its identity."""
    for entry in entries:
        for kind, items in entry.items() if isinstance(entry, Mapping) else ():
            for path, state in items.items() if isinstance(items, Mapping) else ((kind, items),):
                if str(path).startswith(f"{CODE}/") or (kind == "changed outs" and state == HARMLESS):
                    continue
                what = ", ".join(state) if isinstance(state, Mapping) else path
                yield f"{what} {'changed' if isinstance(state, Mapping) else state}"


def _dvc_status(project: Project, stage: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "dvc", "status", "--json", "--with-deps", stage]
    done = subprocess.run(command, cwd=project.root, capture_output=True, text=True, check=False)
    try:
        return dict(json.loads(done.stdout))
    except ValueError:
        said = " ".join(done.stderr.split())[-200:]
        raise RuntimeError(f"`dvc status {stage}` cannot say whether {stage} is up to date: {said}") from None


def _md5(text: str) -> str:
    """As DVC has it of a file."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
