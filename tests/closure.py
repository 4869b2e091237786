"""Which files of this project a module imports, directly or through others. `python -m tests.closure stages/pool.py`"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def _file(module: str) -> Path | None:
    """The file of ``hpnet.x.y``; ``hpnet.stages`` lives in stages/."""
    parts = module.split(".")
    if parts[0] != "hpnet":
        return None
    path = ROOT / "stages" / Path(*parts[2:]) if parts[1:2] == ["stages"] else ROOT / Path(*parts)
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def _module(file: Path) -> list[str]:
    parts = list(file.relative_to(ROOT).with_suffix("").parts)
    return ["hpnet", *parts] if parts[0] == "stages" else parts


def direct_imports(file: Path) -> set[Path]:
    """Project files that ``file`` imports anywhere, also inside functions."""
    package = _module(file)[: None if file.name == "__init__.py" else -1]
    if file.name == "__init__.py":
        package = _module(file)[:-1]
    found: set[Path] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            names = [stem, *(f"{stem}.{alias.name}" for alias in node.names)]
        found |= {path for name in names if (path := _file(name)) is not None}
    return found - {file}


def closure(file: Path) -> set[str]:
    """Every project file reached from ``file``, itself included, relative to the root; empty files left out."""
    seen: set[Path] = set()
    waiting = [file]
    while waiting:
        current = waiting.pop()
        if current not in seen:
            seen.add(current)
            waiting += direct_imports(current)
    return {str(path.relative_to(ROOT)) for path in seen if path.stat().st_size}


if __name__ == "__main__":
    print("\n".join(sorted(closure(ROOT / sys.argv[1]))))
