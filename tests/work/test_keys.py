"""Keys of shards follow the code: an edit of a copy of the package gives the shards that it decides another name."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from hpnet.work.identity import source_folder

KEYS = """
import json, os, sys
from pathlib import Path
import hpnet
from hpnet.core.skeleton import COCO17
from hpnet.artifacts.poses import PoseMeta
from hpnet.detect.step import detect_key
from hpnet.estimate.step import estimate_key
from hpnet.params import Params
from hpnet.pool.step import pool_key
def keys():
    params = Params()
    poses = PoseMeta("m", "w", COCO17, (96, 128), {"h2s3": (4, 1, 1)}, 5)
    found = {"detect": detect_key(params.detect), "estimate": estimate_key(params.estimate, 2, None, "float32"),
             "pool": pool_key(params.pool, poses)}
    print(json.dumps(found, default=str), flush=True)

for name, old, new in json.load(sys.stdin):
    file = Path(hpnet.__file__).parent / name
    text = file.read_text(encoding="utf-8")
    assert old in text, name
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    if os.fork():  # a fresh process for each edit would import torch again
        assert os.wait()[1] == 0
    else:
        keys()
        os._exit(0)
    file.write_text(text, encoding="utf-8")
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


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    """Edited file -> the keys that a copy of the package gives to shards of default parameters; "": as it is."""
    package = tmp_path_factory.mktemp("copy") / "hpnet"
    shutil.copytree(source_folder(), package, ignore=shutil.ignore_patterns("__pycache__", "stages", "mannequin-xclip"))
    env = {**os.environ, "PYTHONPATH": str(package.parent), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", KEYS], env=env, cwd=package.parent, capture_output=True, text=True,
        input=json.dumps([("__init__.py", "", ""), *(edit[:3] for edit in EDITS)]),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return dict(zip(["", *(edit[0] for edit in EDITS)], map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.long
@pytest.mark.parametrize(("name", "stale"), [(name, stale) for name, _, _, stale in EDITS], ids=[e[0] for e in EDITS])
def test_an_edit_renames_the_shards_that_it_decides(
    keys: dict[str, dict[str, object]], name: str, stale: set[str]
) -> None:
    before, after = keys[""], keys[name]
    assert {stage for stage in before if after[stage] != before[stage]} == stale
