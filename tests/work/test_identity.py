"""The identity of code: what counts as an edit, and what does not."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hpnet.work import identity

TYPES = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n"
SAME = [
    ("x = 1\n", "x = 1  # one\n"),
    ("x = 1\n", "\n\nx = (1)\n"),
    ("def f():\n    return 1\n", 'def f():\n    """Says one."""\n    return 1\n'),
    ("X = 1\n", 'X = 1\n"""What X is."""\n'),
    ("from a import (b, c)\n", "from a import b, c\n"),
    ("N = {}\n", 'N = {"ctrgcn": "hpnet.models.ctrgcn"}\n'),
    ('N = {"a": "hpnet.models.a"}\n', 'N = {"a": "hpnet.models.a", "b": "hpnet.models.b:Network"}\n'),
    (TYPES + "    import a\n", TYPES + "    import b\n"),
    ("x = 'a' 'b'\n", 'x = "ab"\n'),
]  # fmt: skip
DIFFERENT = [
    ("x = 1\n", "x = 2\n"),
    ("x = 1\n", "x = 1.0\n"),
    ("x = 1\n", "x = True\n"),
    ("x = '1'\n", "x = b'1'\n"),
    ("x = f'{y}'\n", "x = f'{y!r}'\n"),
    ("x = f'{y:.2f}'\n", "x = f'{y:.3f}'\n"),
    ("x = f'a{y}'\n", "x = f'b{y}'\n"),
    ("def f(a, b=1): pass\n", "def f(a, b=2): pass\n"),
    ("def f(*, a): pass\n", "def f(a): pass\n"),
    ("x = {'a': 1}\n", "x = {'a': 2}\n"),
    ("x = {**a}\n", "x = {'b': a}\n"),
    ("if a:\n    b()\n", "if a:\n    pass\nb()\n"),
    ("import a\n", "import b\n"),
    ("x = None\n", "x = 0\n"),
    ("return_ = x[1:]\n", "return_ = x[:1]\n"),
]


@pytest.mark.parametrize(("before", "after"), SAME)
def test_what_runs_the_same_has_one_meaning(before: str, after: str) -> None:
    assert identity.meaning(before) == identity.meaning(after)


@pytest.mark.parametrize(("before", "after"), DIFFERENT)
def test_what_runs_differently_has_another(before: str, after: str) -> None:
    assert identity.meaning(before) != identity.meaning(after)


def test_imports_are_found_wherever_they_stand() -> None:
    source = (
        "import hpnet.core.video\nimport numpy\nfrom . import sister\nfrom ..core import skeleton as s\n"
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..fuse import fusion\n"
        "def f():\n    from hpnet.work.shards import deal\n"
    )
    found = identity.imports(source, "hpnet.detect.step")
    assert {"hpnet.core.video", "hpnet.detect.sister", "hpnet.core.skeleton", "hpnet.work.shards"} <= found
    assert "hpnet.fuse" not in found
    assert all(name.startswith("hpnet") for name in found)


def test_the_closure_of_a_module_is_what_it_runs_without_parameters() -> None:
    found = identity.closure(["hpnet.detect.step"])
    assert {"hpnet", "hpnet.detect", "hpnet.detect.step", "hpnet.core.video", "hpnet.work.shards"} <= set(found)
    assert not any(module.split(".")[1:2] == ["stages"] or module.endswith(".params") for module in found)
    with pytest.raises(ModuleNotFoundError, match=r"hpnet\.nowhere is no module"):
        identity.closure(["hpnet.nowhere"])


def test_a_digest_knows_defaults_packaged_files_and_what_was_chosen(tmp_path: Path) -> None:
    weights = tmp_path / "a.safetensors"
    weights.write_bytes(b"1")
    step = "hpnet.core.geometry"
    plain = identity.digest(step)
    assert identity.digest(step) == plain
    assert identity.digest(step, defaults={"a": 1}) != plain
    assert identity.digest(step, chosen=["hpnet.core.skeleton:COCO17"]) != plain
    with_weights = identity.digest(step, files=[weights])
    weights.write_bytes(b"2")
    assert len({plain, with_weights, identity.digest(step, files=[weights])}) == 3


@pytest.mark.parametrize("version", ["3.10", "3.11", "3.12", "3.13"])
def test_every_supported_python_says_the_same(version: str) -> None:
    if version == f"{sys.version_info[0]}.{sys.version_info[1]}":
        pytest.skip("the other side of the comparison")
    python = shutil.which(f"python{version}")
    program = (
        "import sys, json, hashlib; sys.path.insert(0, sys.argv[1]); import identity; from pathlib import Path\n"
        "print(json.dumps({f: hashlib.sha256(identity.meaning(Path(f).read_text('utf-8')).encode()).hexdigest()"
        " for f in sys.argv[2:]}))"
    )
    if python is None or subprocess.run([python, "-c", ""], capture_output=True).returncode:
        pytest.skip(f"Python {version} is not installed")
    package = identity.source_folder()
    files = [str(file) for file in sorted(package.rglob("*.py"))]
    done = subprocess.run([python, "-c", program, str(package / "work"), *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    here = {file: identity.meaning(Path(file).read_text("utf-8")) for file in files}
    assert json.loads(done.stdout) == {f: hashlib.sha256(m.encode()).hexdigest() for f, m in here.items()}
