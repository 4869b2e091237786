"""What is chosen by name: another choice that nobody made is nobody's code, and an edit of the chosen one is seen."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hpnet.detect.detector import weights_files
from hpnet.detect.families import FAMILIES
from hpnet.detect.params import PACKAGED, DetectParams
from hpnet.estimate.params import EstimateParams
from hpnet.estimate.specs import SPECS
from hpnet.params import Params
from hpnet.work.identity import packaged_files, source_file, source_folder

DIGESTS = """
import json
from hpnet.params import validate

CHOICES = {
    "packaged": {},
    "fetched": {
        "detect": {"model": "rtdetr:OWNER/NAME"},
        "estimate": {"model": "vitpose-base"},
        "train": {"topology": {"graph": {"model": "gcn"}}},
    },
}
found = {}
for name, raw in CHOICES.items():
    params = validate(raw)
    codes = {"detect": params.detect, "estimate": params.estimate, "train": params.train.topology}
    found |= {f"{stage} {name}": section.code().digest() for stage, section in codes.items()}
print(json.dumps(found))
"""
ESTIMATE = {"estimate packaged", "estimate fetched"}
DETECT = {"detect packaged", "detect fetched"}

NEW = {
    "models/__init__.py": ('    "gcn":', '    "mine": "hpnet.models.mine:Mine",\n    "gcn":'),
    "models/mine.py": ("", "class Mine:\n    ..."),
    "estimate/specs.py": (
        "_SPECS = (\n",
        '_SPECS = (\n    _vitpose("vitpose-mine", 192, 12, 3, 30),\n'
        '    NetworkSpec("mine", "hpnet.estimate.families.mine", (96, 96), {}, "heatmap", 8, 4, "mine.pth", "me"),\n',
    ),
    "estimate/families/mine.py": ("", "def build(spec):\n    ..."),
    "detect/families/__init__.py": (
        '    "rtdetr:?*":',
        '    "mine:*": "hpnet.detect.families.mine",\n    "rtdetr:?*":',
    ),
    "detect/families/mine.py": ("", "def build(source, **options):\n    ..."),
    "weights/published.py": ('    "yolov5mu": 51,', '    "yolov5mu": 51, "yolo12n": 6,'),
}
"""A topology network, two pose networks (one of a new family) and a family of detectors, all with their entries."""

EDITS: list[tuple[str, str, str, set[str]]] = [
    ("estimate/specs.py", "sigma_bins=5.0", "sigma_bins=4.0", {"estimate packaged"}),
    ("estimate/specs.py", 'weights_from="what', 'weights_from="somewhere; what', set()),
    ("estimate/families/mmpose.py", "not spec.deconv", "spec.deconv", {"estimate packaged"}),
    ("models/vitpose.py", "PATCH_PX = 16", "PATCH_PX = 8", {"estimate fetched"}),
    ("estimate/networks.py", "build(spec)", "build(spec, True)", ESTIMATE),
    ("detect/families/mannequin.py", "torch.float16", "torch.bfloat16", {"detect packaged"}),
    ("detect/families/rtdetr.py", "MOST_SHARED_HEADS = 2", "MOST_SHARED_HEADS = 3", {"detect fetched"}),
    ("detect/yolo_checkpoint.py", "MOST_DEPTH = 50", "MOST_DEPTH = 60", set()),
    ("detect/yolo.py", "max_time_img=3600.0", "max_time_img=3601.0", {"detect packaged"}),
    ("detect/bytetrack.py", "rate_fps / 30", "rate_fps / 25", DETECT),
    ("models/gcn.py", "\nimport torch\n", "\nimport math\nimport torch\n", {"train fetched"}),
    ("models/mixformer.py", "\nimport torch\n", "\nimport math\nimport torch\n", set()),
]


def edited(package: Path, name: str, old: str, new: str) -> None:
    """Replace a text in a file of a copy of the package; a new file has no old text."""
    file = package / name
    before = file.read_text(encoding="utf-8") if old else ""
    assert not old or old in before, f"{name} has no {old!r}"
    file.write_text(before.replace(old, new, 1) if old else new, encoding="utf-8")


def digests(package: Path) -> dict[str, str]:
    """Identities of code that a copy of the package says, for the packaged networks and for fetched ones."""
    env = {**os.environ, "PYTHONPATH": str(package.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", DIGESTS], env=env, cwd=package.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package without its commands."""
    folder = tmp_path_factory.mktemp("copy") / "hpnet"
    shutil.copytree(source_folder(), folder, ignore=shutil.ignore_patterns("__pycache__", "stages", "mannequin-xclip"))
    return folder


@pytest.fixture(scope="module")
def before(package: Path) -> dict[str, str]:
    return digests(package)


def test_what_is_registered_but_not_chosen_makes_nothing_stale(package: Path, before: dict[str, str]) -> None:
    kept = {name: (package / name).read_bytes() for name in NEW if (package / name).is_file()}
    for name, (old, new) in NEW.items():
        edited(package, name, old, new)
    after = digests(package)
    for name in NEW:
        if name in kept:
            (package / name).write_bytes(kept[name])
        else:
            (package / name).unlink()
    assert after == before


@pytest.mark.parametrize(
    ("name", "old", "new", "stale"),
    [
        pytest.param(*edit, id=f"{edit[0]}: {edit[2].strip()}", marks=() if number % 5 == 0 else pytest.mark.long)
        for number, edit in enumerate(EDITS)  # each takes a process of seconds
    ],
)
def test_an_edit_makes_stale_what_was_chosen(
    package: Path, before: dict[str, str], name: str, old: str, new: str, stale: set[str]
) -> None:
    content = (package / name).read_bytes()
    edited(package, name, old, new)
    after = digests(package)
    (package / name).write_bytes(content)
    assert {key for key in before if before[key] != after[key]} == stale


def test_packaged_weights_are_code_and_are_those_that_are_read() -> None:
    for model, patterns in PACKAGED.items():
        assert DetectParams(model=model).code().packaged == patterns
        assert set(weights_files(model)) <= set(packaged_files(*patterns))
    files = {name: packaged_files(*EstimateParams(model=name).code().packaged) for name in SPECS}
    assert {name for name, found in files.items() if found} == {
        "mannequin-simcc",
        "mannequin-heatmap",
        "movenet-lightning",
        "movenet-thunder",
    }
    assert DetectParams(model="yolo11n").code().packaged == ()


def test_every_family_is_a_module_and_unknown_names_choose_none() -> None:
    families = {*FAMILIES.values(), *(spec.family for spec in SPECS.values())}
    assert len(families) >= 5
    assert all(source_file(module) for module in families)
    assert DetectParams(model="resnet").code().chosen == EstimateParams(model="hrnet").code().chosen == ()


def test_parameters_are_read_without_torch() -> None:
    program = "import sys, hpnet.params as p; c = p.Params(); c.detect.code(); c.estimate.code()\n"
    program += "import hpnet.project.weights as w; w.require_weights(c); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    assert Params().detect.code().digest() == Params().detect.code().digest()
