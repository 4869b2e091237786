"""The rooms of hpnet: each imports only rooms before it, and none imports click."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpnet.work import identity

ORDER = (
    "core", "work", "artifacts", "weights", "models", "mannequin", "data", "detect", "estimate", "pool", "train",
    "fuse", "events", "report", "params", "project", "crossval", "predict", "ablate", "bench", "pretrain",
)  # fmt: skip
STAGES = ("data", "detect", "estimate", "pool", "train", "fuse", "events", "report")
MAY_RENDER = ("mannequin", "data", "pretrain", "bench", "ablate")
PACKAGE = identity.source_folder()


def modules() -> dict[str, Path]:
    found = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = ["hpnet", *file.relative_to(PACKAGE).with_suffix("").parts]
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


MODULES = modules()


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def imported(module: str) -> set[str]:
    file = MODULES[module]
    names = identity.imports(file.read_text(encoding="utf-8"), module, file.name == "__init__.py")
    return {name for name in names if name in MODULES and name != module}


def test_every_room_is_in_the_order() -> None:
    assert {room_of(module) for module in MODULES} - {""} <= {*ORDER, "assets"}


@pytest.mark.parametrize("room", ORDER)
def test_a_room_imports_only_rooms_before_it(room: str) -> None:
    later = set(ORDER[ORDER.index(room) + 1 :])
    wrong = [
        (module, name)
        for module in MODULES
        if room_of(module) == room
        for name in imported(module)
        if room_of(name) in later
    ]
    assert not wrong


def test_stage_rooms_know_nothing_of_each_other_but_parameters() -> None:
    wrong = [
        (module, name)
        for module in MODULES
        if room_of(module) in STAGES and module != "hpnet.train.compare"
        for name in imported(module)
        if room_of(name) in STAGES and room_of(name) != room_of(module)
        # a package alone is what `from ..data.params import DataParams` runs on its way
        if not name.endswith(".params") and name.count(".") > 1
    ]
    assert not wrong


def test_mannequins_are_drawn_for_those_who_may_render_them() -> None:
    assert not [
        (module, name)
        for module in MODULES
        if room_of(module) not in MAY_RENDER
        for name in imported(module)
        if room_of(name) == "mannequin"
    ]


def test_the_library_knows_no_command_line() -> None:
    found = [m for m, file in MODULES.items() if "import click" in file.read_text(encoding="utf-8")]
    assert not found


def test_no_module_imports_itself_through_others() -> None:
    """Imports inside functions count too."""
    state: dict[str, int] = {}
    circles: list[list[str]] = []

    def visit(module: str, path: list[str]) -> None:
        state[module] = 1
        for name in sorted(imported(module)):
            if state.get(name) == 1:
                circles.append([*path[path.index(name) :], name] if name in path else [module, name])
            elif name not in state:
                visit(name, [*path, name])
        state[module] = 2

    for module in MODULES:
        if module not in state:
            visit(module, [module])
    assert not circles
