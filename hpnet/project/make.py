"""Making a project folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..data.events_table import is_events_table
from ..data.index import Labelled, label_folder
from ..data.params import DataParams
from ..data.preset import Preset, Values
from ..data.table import refuse_copies
from ..data.walk import find_videos
from ..params import validate
from . import dvc_yaml, presets, recipes, render

if TYPE_CHECKING:
    from .networks import Chosen


def make_project(
    folder: Path,
    name: str,
    videos: Path | None = None,
    table: Path | None = None,
    poses: Path | None = None,
    recipe: str = recipes.DEFAULT,
) -> dict[str, str]:
    """Write the files of a new project and return them by name.

    Args:
        folder: made if it is missing; if a file of the project already exists, nothing is written.
        name: a preset.
        videos: folder of videos, for presets that read videos.
        table: CSV of their actions, for preset ``folder``.
        poses: file or folder of 3-D poses, for presets of poses.
        recipe: of :data:`hpnet.project.recipes.RECIPES`.

    Raises:
        ValueError: unknown preset or recipe, a recipe that is not for the preset, an input that the preset does not
            read, or a table that does not match.
        FileNotFoundError: a required input is missing.
        FileExistsError: a file of the project already exists.
    """
    preset = recipes.under(presets.get(name), recipe)
    values = _values(folder, name, preset, videos, table, poses)
    validate(values, f"preset {name}")
    given = "" if poses is None else _reach(poses, folder)
    made_by = name if recipe == recipes.DEFAULT else f"{name} --recipe {recipe}"
    kind = presets.kind(preset, values, given, table is not None and is_events_table(table))
    files = {
        "params.yaml": render.render_params(preset, values, kind.takes),
        "dvc.yaml": dvc_yaml.render(kind),
        "README.md": render.render_readme(made_by, preset, values, in_git(folder)),
        "weights/README.txt": render.WEIGHTS,
        ".gitignore": render.GITIGNORE,
        ".dvcignore": render.DVCIGNORE,
        ".dvc/config": render.DVC_CONFIG.format(scm="" if in_git(folder) else "    no_scm = true\n"),
        ".dvc/.gitignore": render.DVC_GITIGNORE,
        ".dvc/plots.html": render.PLOTS_PAGE.read_text(encoding="utf-8"),
    }
    there = [file for file in files if (folder / file).exists()]
    if there:
        raise FileExistsError(
            f"{folder / there[0]} already exists and is not overwritten: give a new folder, or move it away"
        )
    for file, text in files.items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as stream:
            stream.write(text)
    return files


def in_git(folder: Path) -> bool:
    """Whether the folder is, or will be, inside a git work tree."""
    place = folder.absolute()
    return any((parent / ".git").exists() for parent in (place, *place.parents))


def _values(
    folder: Path, name: str, preset: Preset, videos: Path | None, table: Path | None, poses: Path | None
) -> Values:
    values: Values = {key: dict(section) for key, section in preset.values.items()}
    if preset.poses:
        if videos is not None or table is not None:
            raise ValueError(f"preset {name} reads 3-D poses: give --poses PATH instead of --videos or --table")
        if poses is None:
            raise FileNotFoundError(f"preset {name} needs --poses PATH: {preset.data}")
        if not poses.exists():
            raise FileNotFoundError(f"--poses {poses} is missing; expected {preset.data}")
        return values
    if poses is not None:
        raise ValueError(f"preset {name} reads videos, not --poses")
    data = values["data"]
    if data.get("source") != "folder":
        if videos is not None or table is not None:
            raise ValueError(f"preset {name} renders its clips: remove --videos and --table, or use preset folder")
        return values
    if table is not None and name != "folder":
        raise ValueError(f"preset {name} reads actions and splits from the clips' names: remove --table")
    if videos is None:
        raise FileNotFoundError(f"preset {name} needs --videos DIR: {preset.data}")
    find_videos(videos)
    if name == "folder":
        _refuse_leaks_and_one_class(videos, table)
        values = {key: dict(section) for key, section in networks(folder).values.items()}
        data = values["data"]
    data["videos"] = _reach(videos, folder)
    if table is not None:
        data["table"] = _reach(table, folder)
    return values


def label_videos(name: str, videos: Path, table: Path | None) -> Labelled:
    """The videos of a project of a preset, with the labels and splits that ``hpnet data`` will give them."""
    data = presets.get(name).values["data"]
    return label_folder(videos, DataParams.model_validate({**data, "table": str(table or "")}))


def missing_weights(folder: Path, name: str) -> list[str]:
    """Networks that a project of a preset needs and whose weights are missing."""
    from .weights import here, of_preset

    places = weights_folders(folder)
    return [entry.name for entry in of_preset(name) if not entry.packaged and not here(entry, places)]


def weights_folders(folder: Path) -> list[Path]:
    """Where a project in ``folder`` looks for weights."""
    from ..weights.places import search_folders

    return [folder / place for place in search_folders()]


def networks(folder: Path) -> Chosen:
    """The networks of a project of preset ``folder``: the best that are here, with a line about each."""
    from .networks import choose

    return choose(presets.get("folder").values, weights_folders(folder))


def _refuse_leaks_and_one_class(videos: Path, table: Path | None) -> None:
    labelled = label_videos("folder", videos, table)
    files, rows = labelled.files, labelled.table
    found = sorted(set(rows.class_name) - {""})
    if len(found) < 2:
        what = f"all have action {found[0]!r}" if found else "have no action"
        raise ValueError(f"the videos below {videos} {what}: expected a sub-folder per action, or --table")
    if not (rows.split == "train").any():
        raise ValueError(f"no video below {videos} is for training: expected a folder train beside the other splits")
    refuse_copies(files, rows.split.tolist())


def _reach(path: Path, folder: Path) -> str:
    """A path for the project's files: relative if it is in the project, absolute otherwise."""
    target, base = path.absolute(), folder.absolute()
    return os.path.relpath(target, base) if target.is_relative_to(base) else str(target)
