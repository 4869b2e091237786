"""hpnet detect and hpnet estimate as commands: what they say of people whom their networks do not know."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from hpnet.artifacts.files import read_json
from hpnet.core.video import load_clip, write_video
from hpnet.data.params import DataParams
from hpnet.mannequin.actions import ACTIONS
from hpnet.mannequin.benchmark import ClipSpec, write_clip
from hpnet.stages.cli import cli
from hpnet.weights.suitability import SCORED
from tests.trained import inside

SIZES = DataParams(subjects=2, frames=6, fps=8)
NOISE, CONTRAST = 45, 0.35
QUIET = ["--device", "cpu", "--workers", "1"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """A mannequin who waves."""
    folder = tmp_path_factory.mktemp("clip")
    spec = ClipSpec(1, 2, 1, 1, list(ACTIONS).index("wave"))
    write_clip(spec, SIZES, folder)
    return load_clip(folder / "videos" / f"{spec.clip_id}.mp4")


def said(folder: Path, frames: np.ndarray) -> dict[str, str]:
    """Stage -> what it says on stderr, of one clip in ``folder``."""
    for action in ("wave", "clap"):
        write_video(folder / "videos" / action / "a.mp4", frames, fps=8)
    found = {}
    with inside(folder):
        runs = (["data", "--source", "folder", "--protocol", "folder", "--videos", "videos"], ["detect"], ["estimate"])
        for arguments in runs:
            done = CliRunner().invoke(cli, [*arguments, *(QUIET if len(arguments) == 1 else ["--workers", "1"])])
            assert done.exit_code == 0, done.output
            found[arguments[0]] = done.stderr
    return found


def test_mannequins_suit_the_mannequin_networks(clip: np.ndarray, tmp_path: Path) -> None:
    found = said(tmp_path, clip)
    for stage in ("detect", "estimate"):
        assert "warning" not in found[stage]
        assert read_json(tmp_path / "metrics" / f"{stage}.json")["score_ratio"] > 0.75


def test_people_who_can_hardly_be_seen_do_not(clip: np.ndarray, tmp_path: Path) -> None:
    """Noise and half of the contrast, as of a camera at night."""
    noise = np.random.default_rng(0).normal(scale=NOISE, size=clip.shape)
    found = said(tmp_path, (clip * CONTRAST + 20 + noise).clip(0, 255).astype(np.uint8))
    for stage, model in (("detect", "mannequin-yolo"), ("estimate", "mannequin-simcc")):
        figures = read_json(tmp_path / "metrics" / f"{stage}.json")
        print(figures)
        assert figures["score_ratio"] < 0.75
        assert f"warning: {SCORED[stage]} of {model} score {figures['median_score']:.2f}" in found[stage]
