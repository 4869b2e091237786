"""What makes a training run another one, and what does not: the folder of its checkpoints, over edited copies of the
package."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hpnet.core.streams import MULTIMODAL
from hpnet.train.params import MultimodalParams, TopologyParams
from hpnet.train.run import Folders, Machine, model_card, run_name, seed_folder, threads
from hpnet.work.identity import source_folder
from tests.train.test_loop import SPLITS, make_clips, make_features

NAMES = """
import json, sys
from hpnet.core.streams import MULTIMODAL
from hpnet.train.params import TrainParams
from hpnet.train.run import Machine, model_card, run_name

def name(stream):
    section = TrainParams().of(stream)
    return run_name(stream, section, model_card(section, {}, Machine(), "cpu"), seed=1)

print(json.dumps([name("hpj"), name(MULTIMODAL)]))
"""
EDITS: dict[str, tuple[str, str, str, tuple[bool, bool]]] = {
    "a prompt": ("train/text.py", "a person performing", "somebody performing", (False, True)),
    "a bone": ("core/skeleton.py", "RELEASED17 = ", "MORE = 1\nRELEASED17 = ", (True, True)),
    "the loop": ("train/loop.py", "CHECK_EVERY_STEPS = 50", "CHECK_EVERY_STEPS = 60", (True, True)),
    "the network that was chosen": ("models/ctrgcn.py", "KERNEL = 5", "KERNEL = 7", (True, True)),
    "a network that nobody chose": ("models/stgcn.py", "import torch", "import torch\nMORE = 1", (False, False)),
    "a new network": (
        "models/__init__.py", '"ctrgcn": "', '"newest": "hpnet.models.newest:Newest", "ctrgcn": "', (False, False),
    ),
    "a default of one stream": ("train/params.py", "epochs: int = Field(65", "epochs: int = Field(66", (True, False)),
    "a comment": ("train/loop.py", "CHECK_EVERY_STEPS = 50", "CHECK_EVERY_STEPS = 50  # a few", (False, False)),
    "a docstring": ("train/topology.py", '"""The topology streams', '"""The four topology streams', (False, False)),
    "a command": ("pool/step.py", "INDEX = ", "MORE = 1\nINDEX = ", (False, False)),
}  # fmt: skip

SHORT = ("a prompt", "the loop", "a new network")
"""Each takes a process of seconds, so the others are long."""


def run_names(package: Path) -> list[str]:
    """Of a topology and a multimodal run by the package in this folder."""
    done = subprocess.run(
        [sys.executable, "-c", NAMES], cwd=package.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found: list[str] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package that may be edited."""
    copy = tmp_path_factory.mktemp("source") / "hpnet"
    shutil.copytree(source_folder(), copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


@pytest.fixture(scope="module")
def unedited(package: Path) -> list[str]:
    names = run_names(package)
    assert names == run_names(source_folder())
    return names


@pytest.mark.parametrize(
    "edit", [pytest.param(edit, marks=() if edit in SHORT else pytest.mark.long) for edit in EDITS]
)
def test_an_edit_starts_the_runs_that_it_decides_and_no_other(package: Path, unedited: list[str], edit: str) -> None:
    file, before, after, stale = EDITS[edit]
    source = (package / file).read_text()
    assert before in source
    (package / "models/newest.py").write_text("class Newest: ...\n")
    (package / file).write_text(source.replace(before, after, 1))
    try:
        names = run_names(package)
    finally:
        (package / file).write_text(source)
        (package / "models/newest.py").unlink()
    assert tuple(now != then for now, then in zip(names, unedited, strict=True)) == stale


def name_of(section: TopologyParams | MultimodalParams, folders: Folders, stream: str = "hpj", seed: int = 1) -> str:
    digests = folders.digests(frames=isinstance(section, MultimodalParams))
    return run_name(stream, section, model_card(section, digests, Machine(), "cpu"), seed=seed)


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    clips = make_clips(SPLITS)
    clips.save(tmp_path / "data")
    make_features(clips).save(tmp_path / "pool")
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames/frames-00000.parquet").write_bytes(b"1")
    return Folders(tmp_path / "data", tmp_path / "pool", tmp_path / "frames")


def test_values_seeds_arithmetic_and_weights_make_another_run(folders: Folders) -> None:
    plain = TopologyParams()
    names = [
        name_of(plain, folders),
        name_of(plain.model_copy(update={"lr": 0.2}), folders),
        name_of(plain, folders, seed=2),
        name_of(plain, folders, stream="hpb"),
    ]
    for machine, device, processes, weights in (
        (Machine(precision="bfloat16"), "cpu", 1, None),
        (Machine(), "cuda", 1, None),
        (Machine(), "cpu", 2, None),
        (Machine(), "cpu", 1, "another"),
    ):
        card = model_card(plain, folders.digests(frames=False), machine, device)
        names.append(run_name("hpj", plain, card, seed=1, processes=processes, started_from=weights))
    assert len(set(names)) == len(names)
    assert name_of(plain.model_copy(update={"test_draws": 3}), folders) == names[0]  # scores alone depend on it
    threads_and_graphs = model_card(plain, folders.digests(frames=False), Machine(threads=3, compiled=True), "cpu")
    assert run_name("hpj", plain, threads_and_graphs, seed=1) == names[0]


def relabel(folders: Folders) -> None:
    file = folders.data / "classes.csv"
    file.write_text(file.read_text().replace("class0", "other"))


def pool_again(folders: Folders) -> None:
    make_features(make_clips(SPLITS), seed=1).save(folders.pool)


def cut_again(folders: Folders) -> None:
    (folders.frames / "frames-00000.parquet").write_bytes(b"2")


@pytest.mark.parametrize(
    ("change", "stale"), [(relabel, (True, True)), (pool_again, (True, True)), (cut_again, (False, True))]
)
def test_other_inputs_make_another_run(
    folders: Folders, change: Callable[[Folders], None], stale: tuple[bool, bool]
) -> None:
    def names() -> tuple[str, str]:
        return name_of(TopologyParams(), folders), name_of(MultimodalParams(), folders, MULTIMODAL)

    before = names()
    change(folders)
    assert tuple(now != then for now, then in zip(names(), before, strict=True)) == stale


def test_another_text_or_an_edit_of_its_file_makes_another_run(folders: Folders, tmp_path: Path) -> None:
    file = tmp_path / "own.csv"
    file.write_text("class,description\nclass0,a\n")
    texts = ("sentences", "descriptions", str(file), str(file))
    names = []
    for text in texts:
        names.append(name_of(MultimodalParams(text=text), folders, MULTIMODAL))
        if len(names) == 3:
            file.write_text("class,description\nclass0,b\n")
    assert len(set(names)) == 4


def test_small_steps_get_one_thread() -> None:
    assert (threads(10, None), threads(10**8, None), threads(10**8, 3), threads(10, 2)) == (1, None, 3, 2)


def test_the_folder_of_another_seed_is_that_of_its_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    work, outside = Path(".work"), tmp_path.parent / "elsewhere" / "hpj"
    outs = [Path("hpj"), Path("a/hpj"), Path("a/../b/hpj"), outside, outside.parent / "x" / "hpj"]
    found = {seed_folder(seed, (3, 4, 5), out, work) for out in outs for seed in (4, 5)}
    assert len(found) == 10
    assert all(".." not in folder.parts and folder.is_relative_to(work / "seeds") for folder in found)
    assert seed_folder(4, (3, 4), Path("hpj").absolute(), work) == seed_folder(4, (3, 4), Path("hpj"), work)
    assert seed_folder(3, (3, 4), outside, work) == outside
