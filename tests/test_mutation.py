"""Mutation trial: every operator, sign and number of the formulas, changed one at a time, is noticed by a test.

`HPNET_MUTANTS=1 pytest tests/test_mutation.py` takes many minutes; `python -m tests.test_mutation pooling 3 17` runs
mutants 3 and 17 alone and says what they are. Annotations, decorators and the words of errors are left as they are.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import functools
import importlib.abc
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest

from hpnet.work import identity
from hpnet.work.identity import source_file

ROOT = Path(__file__).resolve().parents[1]
LIMIT_S = int(os.environ.get("HPNET_MUTANT_LIMIT", "300"))
TESTS: dict[str, tuple[str, ...]] = {
    "hpnet.pool.pooling": ("pool/test_pooling.py",),
    "hpnet.core.resampling": ("pool/test_pooling.py",),
    "hpnet.models.streams": ("models/test_streams.py",),
    "hpnet.models.trmm": ("models/test_trmm.py",),
    "hpnet.fuse.alignment": ("fuse/test_fusion.py",),
    "hpnet.fuse.applied": ("fuse/test_fusion.py",),
    "hpnet.fuse.fitting": ("fuse/test_fusion.py",),
    "hpnet.fuse.rules": ("fuse/test_fusion.py",),
    "hpnet.fuse.fusion": ("fuse/test_fusion.py",),
    "hpnet.fuse.stored": ("fuse/test_fusion.py",),
}
"""Each module's own tests alone, without those of its command: they have to notice, whatever others do."""
_ANY_NEGATIVE = "reshape takes -2 as it takes -1: the size that is left"
_SAME_LENGTHS = "both sides are made from the same names; strict says so and changes nothing"
EQUIVALENT: dict[str, dict[str, str]] = {
    "hpnet.pool.pooling": {
        "size = window.shape[3]  [3 -> 4]": "windows are square",
    },
    "hpnet.core.resampling": {
        "position = np.clip((np.arange(frames) + 0.5) * count / frames - 0.5, 0, count - 1)  [Sub -> Add] #2": (
            "beyond the last frame both neighbours are the last frame, whatever their shares"
        ),
        "share = (position - before).astype(np.float32).reshape(-1, *[1] * (series.ndim - 1))  [1 -> 2]": _ANY_NEGATIVE,
        "share = (place - before).astype(np.float32).reshape(-1, *[1] * (series.ndim - 1))  [1 -> 2]": _ANY_NEGATIVE,
        "masked = series * valid.reshape(-1, *[1] * (series.ndim - 1))  [1 -> 2]": _ANY_NEGATIVE,
    },
    "hpnet.models.streams": {},
    "hpnet.models.trmm": {
        "change: Tensor = self.attention(self.norm(text), keys, condition, need_weights=False)[0]  [False -> True]": (
            "the weights are made beside the output, which is taken alone"
        ),
    },
    "hpnet.fuse.alignment": {
        "for clip, split, label in zip(scores.clip_ids, scores.splits, scores.labels.tolist(), strict=True):"
        "  [True -> False]": "Scores refuses columns of different lengths",
    },
    "hpnet.fuse.fitting": {
        "scores: ArrayLike, labels: ArrayLike, adjustment: ArrayLike | None = None, seed: int = 0, resamples: int = 0"
        "  [0 -> 1] #2": "one resample gives no standard error either",
    },
    "hpnet.fuse.rules": {},
    "hpnet.fuse.fusion": {},
    "hpnet.fuse.applied": {},
    "hpnet.fuse.stored": {
        'return "probabilities" if (values >= 0).all() and (abs(values.sum(1) - 1) < _SUM_TOLERANCE).all() else '
        '"logits"  [Lt -> LtE]': "no sum of floating-point numbers is exactly the tolerance away from 1",
    },
}
"""Module -> mutant -> why it computes the same as the original."""

SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip


def source(module: str) -> Path:
    return ROOT.joinpath(*module.split(".")).with_suffix(".py")


def places(node: ast.AST) -> Iterator[ast.AST]:
    """Every node that computes; not annotations, decorators, f-strings and what is raised."""
    if isinstance(node, ast.JoinedStr | ast.Raise):
        return
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list"):
            continue
        if isinstance(node, ast.AnnAssign) and name == "target":
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from places(child)


def changes(node: ast.AST) -> list[tuple[str, ast.AST]]:
    """(what was done, the node instead) of one node."""
    found: list[tuple[str, ast.AST]] = []

    def swapped(field: str, index: int | None = None) -> None:
        other = copy.deepcopy(node)
        old = getattr(other, field) if index is None else getattr(other, field)[index]
        new = SWAPS.get(type(old))
        if new is None:
            return
        if index is None:
            setattr(other, field, new())
        else:
            getattr(other, field)[index] = new()
        found.append((f"{type(old).__name__} -> {new.__name__}", other))

    if isinstance(node, ast.BinOp | ast.AugAssign | ast.BoolOp):
        swapped("op")
    elif isinstance(node, ast.Compare):
        for index in range(len(node.ops)):
            swapped("ops", index)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not | ast.Invert):
        found.append((f"{type(node.op).__name__} left out", node.operand))
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        found.append((f"{node.value} -> {not node.value}", ast.Constant(not node.value)))
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        value = node.value + 1 if isinstance(node.value, int) else node.value * 2 + (node.value == 0)
        found.append((f"{node.value!r} -> {value!r}", ast.Constant(value)))
    return found


class Replace(ast.NodeTransformer):
    """A copy of a tree with one node replaced; the tree itself is not touched."""

    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        if node is self.old:
            return ast.copy_location(self.new, node)
        copied = copy.copy(node)
        for name, value in ast.iter_fields(node):
            if isinstance(value, list):
                setattr(copied, name, [self.visit(v) if isinstance(v, ast.AST) else v for v in value])
            elif isinstance(value, ast.AST):
                setattr(copied, name, self.visit(value))
        return copied


def mutants(module: str) -> list[tuple[str, Callable[[], str]]]:
    """(name, its source) of every mutant; a name is the changed line, what was done, and a number if two are alike."""
    text = source(module).read_text(encoding="utf-8")
    lines = text.splitlines()
    tree = ast.parse(text)
    seen: dict[str, int] = {}
    found: list[tuple[str, Callable[[], str]]] = []
    for node in places(tree):
        for done, other in changes(node):
            name = f"{lines[node.lineno - 1].strip()}  [{done}]"  # type: ignore[attr-defined]
            seen[name] = seen.get(name, 0) + 1
            name += f" #{seen[name]}" if seen[name] > 1 else ""
            found.append((name, functools.partial(changed, tree, node, other)))
    return found


def changed(tree: ast.Module, node: ast.AST, other: ast.AST) -> str:
    """Source of ``tree`` with ``other`` in the place of ``node``; the tree stays as it is."""
    return ast.unparse(ast.fix_missing_locations(Replace(node, other).visit(tree)))


class Mutant(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives ``module`` another source."""

    def __init__(self, module: str, text: str) -> None:
        self.module, self.text = module, text

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != self.module:
            return None
        return importlib.util.spec_from_file_location(name, source(name), loader=self)

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self.text, str(source(self.module)), "exec"), module.__dict__)


def preload(module: str) -> None:
    """Import what the tests of ``module`` import and what does not import ``module`` itself; forks then have it."""
    program = (
        "import sys, pytest; pytest.main(['--collect-only', '-qq', '-p', 'no:cacheprovider', *sys.argv[1:]]);"
        "print('\\n'.join(['modules:', *sys.modules]))"
    )
    files = [str(ROOT / "tests" / name) for name in TESTS[module]]
    said = subprocess.run([sys.executable, "-c", program, *files], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in said.stdout.split("modules:")[1].split():
        if name.split(".")[0] == "hpnet":
            if module not in reached(name) and source_file(name) is not None:
                importlib.import_module(name)
        elif name.split(".")[0] not in ("tests", "_pytest", "pytest", "__main__", "conftest"):
            with contextlib.suppress(ImportError):
                importlib.import_module(name)


def reached(module: str) -> set[str]:
    """``module`` and what it imports, with the packages around, however deep."""
    waiting, seen = [module], set[str]()
    while waiting:
        name = waiting.pop()
        if name and name not in seen:
            seen.add(name)
            file = source_file(name)
            if file is not None:
                found = identity.imports(file.read_text(encoding="utf-8"), name, file.name == "__init__.py")
                waiting += [one for one in found if source_file(one) is not None]
            waiting.append(name.rpartition(".")[0])
    return seen


def outcome(module: str, text: str, folder: Path, shown: bool = False) -> str:
    """``caught``, ``survived`` or ``hung``: the tests of a module on other source, in a fork of this process."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if not shown:
                quiet = os.open(os.devnull, os.O_WRONLY)
                os.dup2(quiet, 1)
                os.dup2(quiet, 2)
            sys.meta_path.insert(0, Mutant(module, text))
            files = [str(ROOT / "tests" / name) for name in TESTS[module]]
            os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
            options = ["-x", "-q", "-p", "no:cacheprovider", f"--basetemp={folder}", "-k", "not command"]
            status = int(pytest.main([*options, *files]))
        finally:
            os._exit(status)
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return "survived" if status == 0 else "caught"
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "hung"


def survivors(module: str, folder: Path, chosen: Sequence[int] = ()) -> list[str]:
    """Names of the mutants that no test noticed."""
    preload(module)
    assert module not in sys.modules
    assert outcome(module, source(module).read_text(encoding="utf-8"), folder, shown=True) == "survived"
    left = []
    for number, (name, text) in enumerate(mutants(module)):
        if not chosen or number in chosen:
            found = outcome(module, text(), folder, shown=bool(chosen))
            print(f"{number} {found}: {name}", flush=True)
            left += [name] if found == "survived" else []
    return left


@pytest.mark.skipif("HPNET_MUTANTS" not in os.environ, reason="minutes: set HPNET_MUTANTS=1")
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("module", TESTS)
def test_every_changed_formula_is_noticed(module: str, tmp_path: Path) -> None:
    left = survivors(module, tmp_path / "mutant")
    assert set(left) <= set(EQUIVALENT[module]), "\n".join(sorted(set(left) - set(EQUIVALENT[module])))


def test_known_equivalents_exist() -> None:
    for module, known in EQUIVALENT.items():
        assert set(known) <= {name for name, _ in mutants(module)}, module
        assert all(known.values())


if __name__ == "__main__":
    which, *numbers = sys.argv[1:]
    target = next(name for name in TESTS if name.endswith(which))
    for survivor in survivors(target, Path("/tmp") / f"mutant-{os.getpid()}", [int(n) for n in numbers]):
        print("survived:", survivor, "" if survivor not in EQUIVALENT[target] else "(known)")
