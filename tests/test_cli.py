"""The command line: quick to start, clear when something is wrong."""

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from hpnet.stages.cli import COMMANDS, cli, main
from hpnet.weights.places import ASSETS


def run(*args: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "hpnet.stages.cli", *args], capture_output=True, text=True, cwd=cwd)


def test_help_imports_neither_torch_nor_mmpose_nor_pydantic() -> None:
    program = (
        "import sys; from hpnet.stages.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'mmpose', 'pydantic', 'numpy', 'pandas', 'transformers'} & set(sys.modules)\n"
        "sys.exit(str(sorted(heavy)) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_has_its_module_and_help(name: str) -> None:
    result = CliRunner().invoke(cli, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert result.output.startswith("Usage:")


def test_importing_a_command_stays_light() -> None:
    program = (
        "import sys\n"
        "from hpnet.stages.cli import cli, COMMANDS\n"
        "for name in COMMANDS: cli.get_command(None, name)\n"
        "heavy = {'torch', 'mmpose', 'transformers', 'ultralytics', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(str(sorted(heavy)) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


HEAVY = frozenset({
    "torch", "torchvision", "torch._dynamo", "pandas", "pyarrow", "scipy", "sklearn", "accelerate", "transformers",
    "tokenizers", "ultralytics", "mmpose", "mmengine", "matplotlib", "onnxruntime", "cv2", "av",
})  # fmt: skip
"""Modules that take a tenth of a second or more to import."""
RUN = "from hpnet.stages.cli import main\ntry: main({arguments!r})\nexcept SystemExit: pass\n"
PICTURES = frozenset({"cv2", "av"})
MAY_IMPORT: dict[str, tuple[str, frozenset[str]]] = {
    "a file that is no video": (RUN.format(arguments=["predict", "no.mp4"]), PICTURES),
    "a file that is missing": (RUN.format(arguments=["predict", "nowhere.mp4"]), PICTURES),
    "a folder that is no project": (RUN.format(arguments=["predict", "clip.mp4", "--project", "nowhere"]), PICTURES),
    "a project that was not trained": (RUN.format(arguments=["predict", "clip.mp4", "--streams", "hpx"]), PICTURES),
    "teach without clips": (RUN.format(arguments=["teach", "wave"]), frozenset()),
    "the Python API": ("import hpnet\nhpnet.load\nhpnet.Result\nhpnet.VideoEvent\n", PICTURES),
    "MoveNet and what follows people": (
        "import numpy as np\n"
        "import hpnet.predict.output, hpnet.predict.files\n"
        "from hpnet.detect.detector import build_detector\n"
        "from hpnet.estimate.networks import build\n"
        "from hpnet.estimate.specs import SPECS\n"
        "build_detector('movenet-multipose', image_size=64).detect(np.zeros((1, 64, 64, 3), np.uint8))\n"
        "build(SPECS['movenet-lightning'])\n",
        PICTURES | {"torch"},
    ),
    "the networks of the topology streams": (
        "import hpnet.predict.project\n"
        "from hpnet.core.choices import load\n"
        "from hpnet.models import TOPOLOGY_NETWORKS\n"
        "from hpnet.train import FITTERS\n"
        "for name in FITTERS: load(FITTERS, name, 'network')\n"
        "from hpnet.models.build import build\n"
        "from hpnet.models.sketch import sketching\n"
        "sizes = dict(in_channels=8, num_classes=3, num_joints=17, num_persons=2, base_channels=8, blocks=2)\n"
        "for name in TOPOLOGY_NETWORKS:\n"
        "    with sketching(): build(name, **sizes)\n"
        "    build(name, **sizes)\n",
        PICTURES | {"torch", "pandas", "pyarrow"},
    ),
}
"""What is done -> a program that does it, and which of :data:`HEAVY` it may import."""


@pytest.mark.parametrize("what", list(MAY_IMPORT))
def test_what_is_done_imports_what_it_needs_alone(what: str, tmp_path: Path) -> None:
    """What can be refused without networks is refused before torch is imported; MoveNet and the topology streams need
    neither mmpose nor ultralytics nor transformers."""
    program, allowed = MAY_IMPORT[what]
    (tmp_path / "no.mp4").write_text("no video")
    (tmp_path / "clip.mp4").write_bytes((ASSETS / "clip.mp4").read_bytes())
    (tmp_path / "params.yaml").touch()
    code = f"{program}import sys; print('imported', *sorted({set(HEAVY)!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.splitlines()[-1].split()[1:]) <= allowed, done.stderr


def test_wrong_usage_exits_2_with_a_hint(tmp_path: Path) -> None:
    typo = run("estimat", cwd=tmp_path)
    assert typo.returncode == 2
    assert "Did you mean 'estimate'?" in typo.stderr
    (tmp_path / "params.yaml").write_text("pool:\n  regoin: 3\n")
    wrong = run("pool", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "unknown parameter 'pool.regoin'; did you mean 'pool.region'?" in wrong.stderr
    assert "Traceback" not in wrong.stderr


def test_missing_inputs_exit_1_and_say_what_to_run(tmp_path: Path) -> None:
    for stage, remedy in (("detect", "hpnet data"), ("pool", "hpnet estimate"), ("train", "hpnet ")):
        args = (stage, "hpj") if stage == "train" else (stage,)
        done = run(*args, cwd=tmp_path)
        assert done.returncode == 1, (stage, done.stderr)
        assert remedy in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(28, "No space left on device", "artifacts/x"), "artifacts/x: No space left on device (make room"),
        (ValueError("pool.region = 7 is larger than the window"), "Error: pool.region = 7"),
        (KeyboardInterrupt(), "interrupted; finished work is kept"),
    ],
)
def test_errors_are_short_and_exit_1(
    error: BaseException, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command("broken")
    def broken() -> None:
        raise error

    monkeypatch.setattr(type(cli), "get_command", lambda self, ctx, name: broken)
    with pytest.raises(SystemExit) as stopped:
        main(["data"])
    assert stopped.value.code == 1
    assert message in capsys.readouterr().err
    if isinstance(error, ValueError):
        with pytest.raises(ValueError, match="larger than"):
            main(["data", "--debug"])


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_are_told_how_to_complete(shell: str) -> None:
    program = "from hpnet.stages.cli import main; main([])"
    script = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | {"_HPNET_COMPLETE": f"{shell}_source"},
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert f"_HPNET_COMPLETE={shell}_complete" in script
    if shell == "bash":
        said = subprocess.run(
            ["bash"], input=f"{script}\ncomplete -p hpnet", capture_output=True, text=True, check=True
        )
        assert "-F _hpnet_completion hpnet" in said.stdout


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("hpnet pre", ["predict", "pretrain"]),
        ("hpnet init d --preset uav", ["uav-human-v1", "uav-human-v2"]),
        ("hpnet weights ", ["list", "fetch", "check", "convert", "calibrate"]),
        ("hpnet pool --reg", ["--region"]),
    ],
)
def test_commands_options_and_choices_are_completed(typed: str, expected: list[str]) -> None:
    words = {"COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" ")), "_HPNET_COMPLETE": "bash_complete"}
    done = subprocess.run(
        [sys.executable, "-c", "from hpnet.stages.cli import main; main([])"], env=os.environ | words,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert sorted(done.stdout.split()) == sorted(f"plain,{name}" for name in expected)
