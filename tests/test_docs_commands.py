"""Every command that the pages show is run: here, in another test that is named, or not at all for a reason that is.

Pages whose commands are quick run in each test run, line by line, in a folder with what the page assumes. Those that
run the graph again and again take minutes: set HPNET_LONG_TESTS=1.
"""

import os
import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from hpnet.stages.cli import cli
from tests.data.test_import_poses import ntu_pickle
from tests.data.test_importers import CLASSES, TEST, scores_of
from tests.documents import PAGES, ROOT, console_lines, fences
from tests.project.test_init import poses_file
from tests.project.test_installed import SMALLEST
from tests.trained import inside, know_mannequins, shared_project, shrink

LONG = bool(os.environ.get("HPNET_LONG_TESTS"))
QUICK = ("tutorial.md", "predict.md", "reproduce.md", "troubleshooting.md", "tables.md", "paper-scale.md")
"""Pages whose commands are run line by line in every test run, but for the lines below."""

CI = ".ci/run"
WALK = "tests/test_docs.py::test_the_four_commands_of_the_readme"
GRAPH = "tests/test_docs_commands.py::test_commands_that_run_the_graph"
FETCH = "tests/weights/test_commands.py::test_fetch_from_a_mirror_and_offline"
TABLE9 = "tests/ablate/test_ablate.py::test_table_9_end_to_end_reuses_what_ran_and_runs_nothing_twice"
INSTALLED = "tests/project/test_installed.py::test_an_installed_hpnet_runs_a_whole_project"
TEACH = "tests/predict/test_teach.py::test_the_command_teaches_lists_and_forgets"
POSES = "tests/predict/test_given_poses.py::test_the_lines_of_the_tutorial_run"
ELSEWHERE = {
    'hpnet teach "open the door" door/1.mp4 door/2.mp4 door/3.mp4 door/4.mp4 door/5.mp4': TEACH,
    "hpnet teach --list": TEACH,
    "hpnet teach --again": "tests/predict/test_teach.py::test_the_command_teaches_again",
    'hpnet teach --forget "open the door"': TEACH,
    "hpnet predict --poses poses.pkl": "tests/predict/test_given_poses.py::test_the_command_prints_the_json_of_python",
    "mkdir poses && cd poses": POSES,
    "echo 'train: {topology: {graph: {model: linear}}}' > params.yaml": POSES,
    "hpnet import pyskl ../poses.pkl --out artifacts/data --val-fraction 0.3": POSES,
    "hpnet train hpj --input artifacts/data --data artifacts/data": POSES,
    "hpnet fuse": POSES,
    "hpnet predict --poses ../new.pkl": POSES,
    "make demo": CI,
    "source .venv/bin/activate": CI,
    "make wheel": "tests/project/test_package.py::test_the_wheel_holds_every_module_weight_template_and_table",
    'pip install "$(ls dist/hpnet-*.whl)[pose-networks]"': INSTALLED,
    "pip install --no-deps mmpose==1.1.0": CI,
    "dvc repro": GRAPH,
    "dvc repro pool": GRAPH,
    "hpnet predict new.mp4": WALK,
    "hpnet predict 0": "tests/predict/test_predict.py::test_live_command_reports_latency",
    "hpnet predict 0 --window 2": "tests/predict/test_predict.py::test_live_command_reports_latency",
    "hpnet predict rtsp://192.168.0.9/stream --seconds 60": (
        "tests/predict/test_predict.py::test_sources_that_are_not_there"
    ),
    "hpnet weights fetch": FETCH,
    "hpnet weights fetch --preset ntu120-xsub": FETCH,
    "hpnet bench extract": "tests/bench/test_extract.py::test_a_round_of_each_way_gives_a_row_of_the_page",
    "hpnet ablate table9": TABLE9,
    "hpnet ablate III IX XII": TABLE9,
    "hpnet ablate table9 --seeds 1,2,3": TABLE9,
    "hpnet ablate all --budget 2h": "tests/ablate/test_ablate.py::test_a_budget_that_is_too_small_starts_nothing",
    "hpnet ablate all --full": "tests/ablate/test_ablate.py::test_extra_rows_wait_for_full",
    "hpnet bench extract --model hrnet-w48-simcc --weights random --videos /data/nturgb --clips 64 --max-frames 64":
        "tests/bench/test_extract.py::test_a_round_of_each_way_gives_a_row_of_the_page",
    "hpnet bench train multimodal --device cuda --checkpointing":
        "tests/bench/test_multimodal.py::test_a_way_is_measured_and_has_a_row",
}  # fmt: skip
"""Command -> where it, or the same command at a size that a test can afford, is run."""
CROSSVAL = "tests/crossval/test_crossval.py::test_results_are_fused_fold_by_fold"
WHOLE_PAGES = {
    "README.md": GRAPH,
    "install.md": INSTALLED,
    "dvc.md": GRAPH,
    "training.md": GRAPH,
    "crossval.md": CROSSVAL,
    "events.md": "tests/test_docs_commands.py::test_the_tutorial",
    "models.md": "tests/estimate/test_backends.py::test_a_backend_gives_what_torch_gives",
    "teach.md": TEACH,
}


def commands(page: Path) -> list[str]:
    """The commands of a page's console blocks, without comments."""
    blocks = [text for info, text in fences(page) if info.startswith("console")]
    return [re.split(r"\s+#", line)[0].strip() for text in blocks for line in console_lines(text)]


def test_every_command_is_run_somewhere() -> None:
    for page in PAGES:
        shown = commands(page)
        assert not shown or page.name in QUICK or page.name in WHOLE_PAGES, (
            f"{page.name} has commands that nothing runs"
        )
    for place in {*ELSEWHERE.values(), *WHOLE_PAGES.values()}:
        file, _, name = place.partition("::")
        text = (ROOT / file).read_text(encoding="utf-8")
        assert not name or f"def {name}(" in text, f"{place} is not there"
    everything = {command for page in PAGES for command in commands(page)}
    assert set(ELSEWHERE) - everything == set(), "these commands are not shown any more"


class Shell:
    """Runs the lines of a page in order: hpnet in this process, everything else through bash."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, line: str, status: int = 0) -> str:
        """Run one line where the ones before left off; what it printed."""
        if line.startswith("cd "):
            self.folder /= line[3:]
            assert self.folder.is_dir()
            return ""
        if line.startswith("hpnet ") and "&&" not in line:
            with inside(self.folder):
                done: Result = CliRunner().invoke(cli, line.split()[1:])
            code = 1 if done.exit_code == 0 and done.exception else done.exit_code
            said = f"{done.output}{done.exception or ''}"
        else:
            environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
            bash = ["bash", "-euo", "pipefail", "-c", line]
            ran = subprocess.run(bash, cwd=self.folder, env=environment, capture_output=True, text=True)
            code, said = ran.returncode, ran.stdout + ran.stderr
        assert code == status, f"$ {line}\n{said[-3000:]}"
        return said


def quick(page: str) -> Iterator[str]:
    """The commands of a page that are run here."""
    yield from (c for c in commands(next(p for p in PAGES if p.name == page)) if c not in ELSEWHERE)


@pytest.fixture
def folder(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the videos and files that the pages name."""
    clips = shared_project(tmp_path_factory).parent / "videos"
    (tmp_path / "videos").symlink_to(clips)
    rows = [f"{v.parent.name}/{v.name},{v.parent.name},person{v.stem}" for v in sorted(clips.glob("*/*.mp4"))]
    (tmp_path / "videos.csv").write_text("\n".join(["video,action,source", *rows]))
    return tmp_path


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("roomy_disk")
def test_the_tutorial(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    shell = Shell(folder)
    before, by_folders, by_table, enter, doctor, *predicting = quick("tutorial.md")
    shell.run(by_folders)
    shutil.move(folder / "actions", folder / "by_folders")
    shell.run(by_table)
    shell.run(enter)
    assert "videos" in shell.run(doctor)
    again = predicting.pop()  # hpnet doctor once more, behind the fetched weights
    assert before == again == doctor
    wave = folder / "videos" / "wave"
    trained = Shell(copy_of_what_predict_needs(shared_project(tmp_path_factory), folder / "trained"))
    shutil.copy(wave / "01.mp4", trained.folder / "clip.mp4")
    shutil.copy(wave / "01.mp4", trained.folder / "long.mp4")
    (trained.folder / "folder").mkdir()
    shutil.copy(wave / "02.mp4", trained.folder / "folder" / "b.mp4")
    said = {line: trained.run(f"{line} --streams hpj") for line in predicting}
    events = [line for line in said if "--events" in line]
    assert (len(said), len(events)) == (5, 2)
    assert all("person 0" in said[line] or '"tracks": [0]' in said[line] for line in said if line not in events)
    assert all(said[line].startswith("long.mp4") for line in events)
    for name in ("annotated.mp4", "seen.mp4"):
        assert (trained.folder / name).stat().st_size > 1000


def copy_of_what_predict_needs(project: Path, target: Path) -> Path:
    """A trained project without what only its own stages read."""
    ignored = shutil.ignore_patterns(".work", "estimate", "pool", "detect", "compare")
    shutil.copytree(project, target, ignore=ignored)
    return target


@pytest.mark.timeout(600)
def test_the_page_on_predicting(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    shell = Shell(copy_of_what_predict_needs(shared_project(tmp_path_factory), folder / "trained"))
    (shell.folder / "folder" / "deep").mkdir(parents=True)
    wave = folder / "videos" / "wave"
    for number, name in enumerate(("clip.mp4", "a.mp4", "b.mp4", "folder/1.mp4", "folder/deep/1.mp4", "long.mp4"), 1):
        shutil.copy(wave / f"{number:02d}.mp4", shell.folder / name)
    for line in quick("predict.md"):
        shell.run(line if line.startswith("hpnet look") else f"{line} --streams hpj")
    saved = {str(p.relative_to(shell.folder)) for p in shell.folder.rglob("*.mp4") if "annotated" in str(p)}
    assert saved == {"annotated.mp4", "annotated/1.mp4", "annotated/deep/1.mp4"}


def test_the_page_on_reproducing(folder: Path) -> None:
    (folder / "scores").mkdir()
    write_scores(folder / "scores")
    ntu_pickle(folder / "ntu60_hrnet.pkl")
    poses_file(folder / "nw_ucla.npz")
    for name in ("Skeleton", "SBU"):
        (folder / name).mkdir()
    small = {"train": SMALLEST["train"]}
    lines = list(quick("reproduce.md"))
    assert lines[:2] == ["hpnet init ntu120 --preset ntu120-xsub --recipe paper --videos videos", "cd ntu120"]
    shell = Shell(folder)
    shell.run(lines[0])
    (folder / "params.yaml").write_text("{}")
    shrink(folder, small)
    for line in lines[2:]:
        shell.run(line.replace("--protocol smarthome-cs", "--protocol smarthome-cv1"))
    assert (folder / "fused" / "weights.json").is_file()
    assert (folder / "ucla" / "params.yaml").is_file()


def write_scores(target: Path) -> None:
    """The authors' score folder as tests/data/test_importers.py makes it, without its classes' frequencies."""
    probabilities = np.exp(scores_of(TEST, 1))
    np.save(target / "0_best_score.npy", probabilities / probabilities.sum(1, keepdims=True))
    (target / "0_best_name.txt").write_text("\n".join(TEST) + "\n")
    for seed, stream in enumerate(("J", "B", "JM", "BM")):
        rows = dict(zip(TEST, scores_of(TEST, 10 + seed), strict=True))
        (target / f"{stream}_epoch1_test_score.pkl").write_bytes(pickle.dumps(rows))
    (target / "test_CV1.txt").write_text("\n".join(TEST) + "\n")
    (target / "train_CV1.txt").write_text("\n".join(f"{name}_p04_r00_v01_c01.mp4" for name in CLASSES) + "\n")


@pytest.mark.usefixtures("roomy_disk")
def test_troubleshooting(folder: Path) -> None:
    shell = Shell(folder)
    for line in quick("troubleshooting.md"):
        shell.run(line)


def test_tables_are_planned(folder: Path) -> None:
    shell = Shell(folder)
    shell.run("hpnet init actions --videos videos")
    shell.run("cd actions")
    know_mannequins(shell.folder)
    (line,) = quick("tables.md")
    assert "pool.region=3" in shell.run(line)


def test_paper_scale(folder: Path) -> None:
    init, enter, check, *edits = (line.replace("/data/nturgb", "videos") for line in quick("paper-scale.md"))
    shell = Shell(folder)
    shell.run(init)
    shell.run(enter)
    assert "missing" in shell.run(check, status=1)
    edits = [line for line in edits if line.startswith("sed ")]
    for line in edits:
        shell.run(line)
    graph = (shell.folder / "dvc.yaml").read_text()
    assert "cmd: hpnet detect --precision float16\n" in graph
    assert "cmd: hpnet estimate --precision bfloat16 --shard-size 128\n" in graph


@pytest.mark.timeout(1500)
@pytest.mark.skipif(not LONG, reason="minutes: set HPNET_LONG_TESTS=1")
def test_commands_that_run_the_graph(folder: Path) -> None:
    """README, dvc.md, training.md and what the other pages leave to this test, in a project under git."""
    shell = Shell(folder)
    shell.run("hpnet init actions --preset folder --videos videos")
    shell.run("cd actions")
    shrink(shell.folder, {key: value for key, value in SMALLEST.items() if key != "data"})
    shell.run("git init -q && dvc config --unset core.no_scm && git add -A")
    shell.run("git -c user.name=a -c user.email=a@b.c commit -qm start")
    pages = {page.name: commands(page) for page in PAGES}
    done = set[str]()
    for line in pages["dvc.md"]:
        if line == "dvc exp apply exp-name":
            line = f"dvc exp apply {shell.run('dvc exp list --name-only').split()[0]}"
        shell.run(line.replace("/data/", f"{folder}/"))
        if line.startswith("dvc queue start"):
            shell.run("while dvc queue status | grep -Eq 'Running|Queued'; do sleep 1; done")
            assert shell.run("dvc queue status").count("Success") == 2
        done.add(line)
    (shell.folder / "videos").symlink_to(folder / "videos")
    for line in pages["README.md"]:
        if not line.startswith(("make", "source", "cd", "hpnet init", "hpnet predict")) and line not in done:
            shell.run(line)
    poses_file(shell.folder / "nw_ucla.npz")
    for line in pages["training.md"]:
        shell.run(line.replace("-per-node 4", "-per-node 2").replace("processes 4", "processes 2"))
        if line.endswith("&& cd ucla"):
            shell.run("cd ucla")
            shrink(shell.folder, {"train": {"topology": SMALLEST["train"]["topology"]}})
