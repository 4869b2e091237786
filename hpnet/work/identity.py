"""The identity of code: one digest of all code that a step runs, for DVC, shards, training runs and ablations.

The digest of a module is of its *meaning*: its syntax tree without comments, docstrings and layout, in a form that is
the same on every supported Python. The digest of a step is of all modules that it can import, directly or through
others. Three things are left out on purpose:

- imports for type checkers only (``if TYPE_CHECKING:``); - modules named ``params``: a step's parameters are values,
and their defaults are given to :func:`digest`; - entries of dicts that name a module (``{"ctrgcn":
"hpnet.models.ctrgcn"}``): they are loaded on demand, so only the entry that the parameters choose counts. A network
that is not chosen is not part of any step's code.

This module imports no other code of the package, and reads nothing of a project.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = "hpnet"
NAMES_A_MODULE = re.compile(rf"{PACKAGE}(\.\w+)+(:\w+)?|[a-zA-Z_]\w*(\.\w+)*:[a-zA-Z_]\w*")
"""Pattern of a value of a dict of modules: ``hpnet.models.ctrgcn``, ``hpnet.fuse.rules:WEIGHTED`` or
``numpy:mean``."""
PARAMETERS = "params"
"""Last part of the names of modules with parameters."""


@dataclass(frozen=True)
class Code:
    """The code that a stage runs, from the section of its parameters (``code()`` in every room's ``params.py``).

    Attributes:
        step: the module that does the work.
        chosen: the modules that the parameters name, entries of dicts of modules.
        packaged: files of the package that it reads, as patterns relative to it (``assets/mannequin-yolo*``).
        defaults: the defaults of its parameters, as JSON values.
        given: files of the user that its parameters name and that are no input of the stage: their content counts as
            code does. A file that is missing is refused where it is read.
    """

    step: str
    chosen: tuple[str, ...] = ()
    packaged: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    given: tuple[str, ...] = ()

    def digest(self) -> str:
        """Its identity, 32 hexadecimal digits; see :func:`digest`."""
        given = [path for path in map(Path, self.given) if path.is_file()]
        files = [*packaged_files(*self.packaged), *given]
        return digest(self.step, chosen=self.chosen, defaults=self.defaults, files=files)


@cache
def source_folder() -> Path:
    """Folder of the installed package. Its modules are not imported."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise FileNotFoundError(f"the source files of {PACKAGE} are not installed: identity of code needs them")
    return Path(found.origin).parent


@cache
def source_file(module: str) -> Path | None:
    """The file of a module of the package; None if there is no such module."""
    parts = module.split(".")
    if parts[0] != PACKAGE:
        return None
    path = source_folder().joinpath(*parts[1:])
    candidates = (path / "__init__.py", path.with_suffix(".py")) if len(parts) > 1 else (path / "__init__.py",)
    return next((file for file in candidates if file.is_file()), None)


def meaning(source: str) -> str:
    """A module's syntax tree as text, without comments, docstrings, layout and entries of dicts of modules.

    Equal for two sources exactly when Python runs the same program; the same text on Python 3.10 to 3.13.

    Raises:
        SyntaxError: the source is not Python.
    """
    return json.dumps(_canonical(ast.parse(source)), separators=(",", ":"))


def imports(source: str, module: str, is_package: bool = False) -> set[str]:
    """Names that a module imports from the package, anywhere, also inside functions.

    Args:
        module: its own dotted name, for relative imports.
        is_package: whether it is a package's ``__init__``.

    Returns:
        Candidates: for ``from hpnet.a import b`` both ``hpnet.a`` and ``hpnet.a.b``; not all are modules.
    """
    found: set[str] = set()
    for node in _running(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = module.split(".") if is_package else module.split(".")[:-1]
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            found |= {stem, *(f"{stem}.{alias.name}" for alias in node.names)}
    return {name for name in found if name.partition(".")[0] == PACKAGE}


def closure(roots: Iterable[str]) -> dict[str, Path]:
    """Module -> file of all modules that ``roots`` can import, including the roots, sorted by name.

    Raises:
        ModuleNotFoundError: a root is not a module of the package.
    """
    waiting, files = list(roots), dict[str, Path]()
    for root in waiting:
        if source_file(root) is None:
            raise ModuleNotFoundError(f"{root} is no module of {PACKAGE}")
    while waiting:
        module = waiting.pop()
        file = source_file(module)
        if file is None or module in files or module.rpartition(".")[2] == PARAMETERS:
            continue
        files[module] = file
        waiting += _imported(module, file)
    return {module: files[module] for module in sorted(files)}


def digest(
    step: str,
    *,
    chosen: Iterable[str] = (),
    defaults: Mapping[str, Any] | None = None,
    files: Iterable[Path] = (),
) -> str:
    """The identity of a step's code, 32 hexadecimal digits.

    Args:
        step: the module that does the work, such as ``hpnet.detect.step``.
        chosen: the modules that the parameters name, from dicts of modules; modules of other packages count by name.
        defaults: the defaults of the step's parameters, as JSON values.
        files: that the step reads and that are none of its inputs: weights, class tables, templates.

    Raises:
        ModuleNotFoundError: ``step`` or one of ``chosen`` is not a module of the package.
        FileNotFoundError: a file is missing.
    """
    found = hashlib.blake2b(digest_size=16)
    names = {name.partition(":")[0]: name for name in chosen}
    modules = closure([step, *(module for module in names if module.partition(".")[0] == PACKAGE)])
    for module, file in modules.items():
        found.update(f"{module}\0{_meaning_digest(file)}\0".encode())
    for name in sorted(name for module, name in names.items() if module not in modules):
        found.update(f"{name}\0".encode())
    found.update(json.dumps(defaults or {}, sort_keys=True).encode())
    for path in sorted(files):
        found.update(f"\0{path.name}\0{_file_digest(path)}".encode())
    return found.hexdigest()


def packaged_files(*patterns: str) -> list[Path]:
    """Files of the package by patterns relative to it, such as ``assets/mannequin-yolo*``."""
    return sorted(file for pattern in patterns for file in source_folder().glob(pattern) if file.is_file())


@cache
def _imported(module: str, file: Path) -> frozenset[str]:
    names = imports(file.read_text(encoding="utf-8"), module, file.name == "__init__.py")
    parents = {name.rpartition(".")[0] for name in names}  # importing hpnet.a.b runs hpnet.a first
    return frozenset(name for name in names | parents if name and source_file(name) is not None)


@cache
def _meaning_digest(file: Path) -> str:
    return hashlib.blake2b(meaning(file.read_text(encoding="utf-8")).encode(), digest_size=16).hexdigest()


def _file_digest(file: Path) -> str:
    return hashlib.blake2b(file.read_bytes(), digest_size=16).hexdigest()


def _running(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes that can run, without blocks under ``if TYPE_CHECKING``."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.If) and _is_type_checking(node.test):
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)


def _is_type_checking(test: ast.expr) -> bool:
    return getattr(test, "id", getattr(test, "attr", "")) == "TYPE_CHECKING"


def _canonical(node: Any) -> Any:
    """A node as nested lists: its kind, then each field that is not empty, by name.

    Empty fields are left out, because newer versions of Python add some (``type_params``).
    """
    if isinstance(node, list):
        return [_canonical(item) for item in node if not _is_note(item)]
    if not isinstance(node, ast.AST):
        return _constant(node)
    if isinstance(node, ast.If) and _is_type_checking(node.test):
        return ["If", *map(_canonical, node.orelse)]
    if isinstance(node, ast.JoinedStr):
        return ["JoinedStr", _joined(node.values)]
    if isinstance(node, ast.Dict):
        kept = [pair for pair in zip(node.keys, node.values, strict=True) if not _names_a_module(pair[1])]
        return ["Dict", [[_canonical(key), _canonical(value)] for key, value in kept]]
    fields = ((name, value) for name, value in ast.iter_fields(node) if value not in (None, []))
    return [type(node).__name__, *([name, _canonical(v)] for name, v in fields if name not in ("kind", "type_comment"))]


def _joined(parts: list[ast.expr]) -> list[Any]:
    """Parts of an f-string: adjacent texts joined, empty ones left out, because Python's versions split differently."""
    found: list[Any] = []
    for part in parts:
        if not isinstance(part, ast.Constant):
            found.append(_canonical(part))
        elif part.value and found and isinstance(found[-1], str):
            found[-1] += str(part.value)
        elif part.value:
            found.append(str(part.value))
    return found


def _is_note(item: Any) -> bool:
    """Whether a statement is only a text, such as a docstring."""
    return isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant) and isinstance(item.value.value, str)


def _names_a_module(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and bool(NAMES_A_MODULE.fullmatch(str(value.value)))


def _constant(value: Any) -> Any:
    """A constant for JSON, with its type, because 1, 1.0, True and "1" are different programs."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return ["bytes", value.hex()]
    return [type(value).__name__, repr(value)]
