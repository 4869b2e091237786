"""Files that are not there: how to get them, by the stage that makes them or from DVC's cache and remotes."""

from __future__ import annotations

from pathlib import Path

from .yaml_text import MOST_DVC_VALUES, read_yaml, require_lock

LOCK = "dvc.lock"


def missing(path: Path, remedy: str) -> FileNotFoundError:
    """The error of a file that a stage makes.

    Somebody who cloned a project has its dvc.lock and not its files: to make them again can take days, and `dvc pull`
    fetches them.

    Args:
        remedy: how to make it, such as "run `hpnet pool` first".
    """
    pull = f", or `dvc pull`: {LOCK} says that it was made before" if was_made(path) else ""
    return FileNotFoundError(f"{path} is missing: {remedy}{pull}")


def was_made(path: Path) -> bool:
    """Whether the dvc.lock of the project around ``path`` lists it, a folder of it or something in it as an output."""
    here = path.absolute()
    root = next((folder for folder in here.parents if (folder / LOCK).is_file()), None)
    if root is None:
        return False
    try:
        stages = require_lock(read_yaml(root / LOCK, MOST_DVC_VALUES), LOCK).get("stages", {})
    except (ValueError, OSError):  # the file that is missing is what the user is told of
        return False
    outs = {root / out["path"] for stage in stages.values() for out in stage.get("outs", [])}
    return any(place in outs for place in (here, *here.parents)) or any(here in out.parents for out in outs)
