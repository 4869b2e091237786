"""Which source files of hpnet a stage runs, and their digest: what a project outside the repository depends on."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from functools import cache
from pathlib import Path

STAGES = ("data", "detect", "estimate", "pool", "train", "compare", "fuse", "report", "import_")
PACKAGED = {
    "detect": "mannequin-yolo*",
    "estimate": "mannequin-simcc*",
    "train": "mannequin-xclip/*",
}
"""Stage -> the packaged weights that it may read."""


@cache
def source_folder(package: str) -> Path:
    """Where ``hpnet`` or ``hpnet.stages`` is installed; neither imports anything."""
    found = importlib.util.find_spec(package)
    assert found is not None
    return Path(str(found.origin)).parent


@cache
def source_file(module: str) -> Path | None:
    """The file of a module of hpnet, or None where there is no such module. It is not imported."""
    parts = module.split(".")
    if parts[0] != "hpnet":
        return None
    in_stages = parts[1:2] == ["stages"]
    base = source_folder("hpnet.stages") if in_stages else source_folder("hpnet")
    path = base.joinpath(*parts[2 if in_stages else 1 :])
    candidates = (path / "__init__.py", path.with_suffix(".py"))
    return next((file for file in candidates if file.is_file()), None)


@cache
def direct_imports(module: str) -> frozenset[str]:
    """Modules of hpnet that ``module`` imports anywhere, also inside functions."""
    file = source_file(module)
    if file is None:
        return frozenset()
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            levels = package.split(".")
            base = levels[: len(levels) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            names = [stem, *(f"{stem}.{alias.name}" for alias in node.names)]
        found |= {name for name in names if source_file(name) is not None}
    return frozenset(found - {module})


def closure(stage: str) -> dict[str, Path]:
    """Module -> file of everything that a stage imports, itself included; empty files are left out."""
    waiting, seen = [f"hpnet.stages.{stage}"], set[str]()
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            waiting += direct_imports(module)
    files = {module: source_file(module) for module in sorted(seen)}
    return {module: file for module, file in files.items() if file is not None and file.stat().st_size}


def code_digest(stage: str) -> str:
    """32 hexadecimal digits of the source of a stage and of the packaged weights that it may read."""
    digest = hashlib.blake2b(digest_size=16)
    for module, file in closure(stage).items():
        digest.update(module.encode() + b"\0" + file.read_bytes())
    assets = source_folder("hpnet") / "assets"
    for weights in sorted(assets.glob(PACKAGED[stage])) if stage in PACKAGED else []:
        digest.update(weights.name.encode() + b"\0" + weights.read_bytes())
    return digest.hexdigest()


def write_digests(folder: Path) -> dict[str, str]:
    """Write ``folder/<stage>.txt`` for every stage; a file whose digest is the same stays as it is."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {stage: code_digest(stage) for stage in STAGES}
    for stage, digest in found.items():
        (folder / f"{stage.rstrip('_')}.txt").write_text(f"{digest}\n", encoding="utf-8")
    return found
