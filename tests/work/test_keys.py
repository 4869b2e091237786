"""Keys of shards follow the code: an edit of a copy of the package gives the shards that it decides another name."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hpnet.work.identity import source_folder

KEYS = """
import json
from hpnet.core.skeleton import COCO17
from hpnet.artifacts.poses import PoseMeta
from hpnet.detect.step import detect_key
from hpnet.estimate.step import estimate_key
from hpnet.params import Params
from hpnet.pool.step import pool_key
params = Params()
poses = PoseMeta("m", "w", COCO17, (96, 128), {"h2s3": (4, 1, 1)}, 5)
keys = {"detect": detect_key(params.detect), "estimate": estimate_key(params.estimate, 2, None, "float32"),
        "pool": pool_key(params.pool, poses)}
print(json.dumps(keys, default=str))
"""
EDITS = [
    ("core/skeleton.py", "COCO_JOINTS, (0, 0, 0, 1, 2, 0, 0, 5, 6,", "COCO_JOINTS, (0, 0, 0, 1, 2, 0, 5, 5, 6,",
     {"estimate", "pool"}),  # the bones of the skeleton are in the poses and in the features
    ("detect/tracking.py", "MIN_PRESENCE = 0.2", "MIN_PRESENCE = 0.3", {"detect"}),
    ("core/video/reading.py", "import annotations\n", "import annotations\nimport math\n", {"detect", "estimate"}),
    ("pool/pooling.py", "reduce(centre, axis=(3, 4))", "reduce(centre, axis=(3, 4)) + 1", {"pool"}),
    ("core/sampling.py", "+ 0.5", "+ 0.25", {"detect", "estimate"}),
    ("work/shards.py", "Map work over clips", "Apply work to clips", set()),
    ("fuse/rules.py", "import annotations\n", "import annotations\nimport math\n", set()),
]  # fmt: skip


def keys(package: Path) -> dict[str, object]:
    """The keys that a copy of the package gives to shards of default parameters."""
    env = {**os.environ, "PYTHONPATH": str(package.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", KEYS], env=env, cwd=package.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package without its commands."""
    folder = tmp_path_factory.mktemp("copy") / "hpnet"
    shutil.copytree(source_folder(), folder, ignore=shutil.ignore_patterns("__pycache__", "stages", "mannequin-xclip"))
    return folder


@pytest.fixture(scope="module")
def before(package: Path) -> dict[str, object]:
    return keys(package)


@pytest.mark.parametrize(("name", "old", "new", "stale"), EDITS, ids=[edit[0] for edit in EDITS])
def test_an_edit_renames_the_shards_that_it_decides(
    package: Path, before: dict[str, object], name: str, old: str, new: str, stale: set[str]
) -> None:
    file = package / name
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    try:
        after = keys(package)
    finally:
        file.write_text(text, encoding="utf-8")
    assert {stage for stage in before if after[stage] != before[stage]} == stale
