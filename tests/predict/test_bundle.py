"""A bundle: the answers of its project, where torch and the other large packages cannot be imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

import hpnet
from hpnet.artifacts.files import read_json, write_json
from hpnet.predict.bundle import CARD
from hpnet.predict.bundling import CERTIFICATE, FOUND, MOST_DIFFERENCE, verify
from hpnet.stages.cli import cli
from tests.trained import shared_project

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytestmark = [pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore:.*does not suit these people:UserWarning")]
STREAMS = "hpj,hpb,multimodal"
ABSENT = (
    "torch", "torchvision", "pandas", "pyarrow", "scipy", "sklearn", "accelerate", "transformers", "ultralytics",
    "mmpose", "mmengine", "matplotlib", "numba", "dvc", "onnx",
)  # fmt: skip
"""Packages that a bundle does without."""


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shared_project(tmp_path_factory)


@pytest.fixture(scope="module")
def bundle(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exported") / "bundle"
    done = invoke("export", "bundle", str(out), "--project", str(project), "--streams", STREAMS, "--clips", "2")
    assert done.exit_code == 0, (done.output, done.exception)
    assert "on 2 clips it differs from torch by keypoints" in done.output
    return out


def close(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same but for small differences of numbers."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(close(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(close, one, other))
    return bool(abs(one - other) < 2e-3) if isinstance(one, float) else bool(one == other)


def test_it_answers_as_its_project_does_where_torch_is_not_installed(project: Path, bundle: Path) -> None:
    clip = project.parent / "videos" / "push" / "03.mp4"
    expected = invoke(
        "predict", str(clip), "--json", "--project", str(project), "--streams", STREAMS, "--device", "cpu"
    )
    program = (
        f"import sys\nfor name in {ABSENT!r}: sys.modules[name] = None\n"
        "from hpnet.stages.cli import main\n"
        f"main({['predict', str(clip), '--json', '--project', str(bundle)]!r})\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    wanted, found = ([json.loads(line) for line in text.splitlines()] for text in (expected.stdout, done.stdout))
    assert len(wanted) > 0
    assert close(wanted, found), (wanted, found)


def test_python_loads_it_as_a_project(project: Path, bundle: Path) -> None:
    clip = project.parent / "videos" / "wave" / "03.mp4"
    whole, part = hpnet.load(project, device="cpu", streams=STREAMS.split(",")), hpnet.load(bundle)
    assert (part.names, part.streams) == (whole.names, whole.streams)
    assert "multimodal" in part.streams
    one, other = whole(clip), part(clip)
    assert isinstance(other, hpnet.Result)
    for left, right in zip(one.windows, other.windows, strict=True):
        for first, second in zip(left.answers, right.answers, strict=True):
            np.testing.assert_allclose(first.probabilities, second.probabilities, atol=MOST_DIFFERENCE)
    for left, right in zip(whole.embed(clip), part.embed(clip), strict=True):
        np.testing.assert_allclose(left.vector, right.vector, rtol=1e-2, atol=1e-2)
    assert [e.action for e in whole(clip, events=True).events] == [e.action for e in part(clip, events=True).events]


def test_a_project_and_its_bundle_run_by_other_backends(project: Path, bundle: Path) -> None:
    clip, streams = project.parent / "videos" / "wave" / "03.mp4", STREAMS.split(",")
    expected = hpnet.load(project, device="cpu", streams=streams)(clip).windows[0].answers[0].probabilities
    pytest.importorskip("openvino")
    for folder, backend in ((project, "onnxruntime"), (project, "openvino"), (bundle, "openvino")):
        model = hpnet.load(folder, device="cpu", streams=streams, backend=backend)
        found = model(clip).windows[0].answers[0].probabilities
        np.testing.assert_allclose(found, expected, atol=MOST_DIFFERENCE)
    with pytest.raises(ValueError, match="backend of a bundle 'torch': choose from onnxruntime, openvino"):
        hpnet.load(bundle, backend="torch")
    with pytest.raises(ValueError, match="backend tensorrt: "):
        hpnet.load(project, device="cpu", streams=streams, backend="tensorrt")


def test_its_certificate_is_checked_again(bundle: Path, tmp_path: Path) -> None:
    assert verify(bundle).difference.is_small
    again = invoke("export", "bundle", str(bundle), "--verify")
    assert again.exit_code == 0, again.output
    for file in bundle.iterdir():
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / CERTIFICATE).unlink()
    told = read_json(bundle / CERTIFICATE)
    write_json(tmp_path / CERTIFICATE, {**told, "clips": dict.fromkeys(told["clips"], "another digest")})
    with pytest.raises(FileNotFoundError, match="none of the 2 clips"):
        verify(tmp_path)


def test_what_cannot_be_is_refused(project: Path, bundle: Path, tmp_path: Path) -> None:
    clip = str(project.parent / "videos" / "wave" / "03.mp4")
    for arguments, said in (
        (("export", "bundle"), "give OUT"),
        (("predict", clip, "--project", str(bundle), "--device", "cuda"), "a bundle runs on the CPU"),
        (("predict", clip, "--project", str(bundle), "--precision", "bfloat16"), "computes in float32"),
        (("predict", clip, "--project", str(bundle), "--streams", "hpjm"), "not one of the fused streams: hpb, hpj"),
        (("teach", "drink", clip, "--project", str(bundle)), "is a bundle: teach its project"),
    ):
        done = invoke(*arguments)
        assert done.exit_code != 0
        assert said in done.output + str(done.exception), (arguments, done.output)
    for name in (FOUND, *(file.name for file in bundle.iterdir() if file.name != CARD)):
        if not (tmp_path / name).exists():
            (tmp_path / name).symlink_to(bundle / name)
    write_json(tmp_path / CARD, {**read_json(bundle / CARD), "format": 99})
    with pytest.raises(ValueError, match="format 99, this hpnet reads 1"):
        hpnet.load(tmp_path)
