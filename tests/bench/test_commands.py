"""hpnet bench predict and streams: the commands of every way are ones that run, and ratios are those of the rounds."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hpnet.artifacts.clips import Clips
from hpnet.bench import commands
from tests.trained import hpnet, inside, shared_project


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shared_project(tmp_path_factory)


@pytest.mark.long
def test_every_way_of_predicting_does_the_same_clips(project: Path, tmp_path: Path) -> None:
    comparison = commands.predicting(project, 2, tmp_path / "clips", "cpu")
    chosen = Clips.load(tmp_path / "clips").usable()
    assert chosen.split.tolist() == ["test", "test"]
    assert comparison.amount == chosen.frames.sum()
    shutil.copy(project / "params.yaml", tmp_path)
    with inside(tmp_path):
        for name, ways in comparison.ways.items():
            for words in ways:
                said = hpnet(*words)
            if name.startswith("predict"):
                assert all(path in said for path in chosen.path)
    assert (tmp_path / "artifacts" / "pool" / "features.npy").is_file()


def test_events_and_windows_are_of_the_same_videos_and_streams(project: Path) -> None:
    video = project.parent / "videos" / "wave" / "01.mp4"
    comparison = commands.watching(project, [video], "cpu")
    (windows,), (events,) = comparison.ways["windows"], comparison.ways["events"]
    assert events == (*windows, "--events")
    assert windows[1] == str(video.absolute())
    assert "multimodal" not in windows[-1]
    assert comparison.amount == 8
    with pytest.raises(FileNotFoundError, match="untrimmed videos come from"):
        commands.watching(project, [], "cpu")


def test_both_ways_of_training_are_told_the_same(project: Path, tmp_path: Path) -> None:
    comparison = commands.streams(project, 1, "cpu")
    four, (together,) = comparison.ways["four runs"], comparison.ways["train all"]
    assert [words[1] for words in four] == ["hpj", "hpb", "hpjm", "hpbm"]
    assert {words[2:] for words in four} == {together[2:]}
    shutil.copy(project / "params.yaml", tmp_path)
    with inside(tmp_path):
        hpnet(*four[0])
    assert (tmp_path / "artifacts" / "train" / "hpj" / "scores.parquet").is_file()


def test_ratios_are_within_rounds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clock = iter([0.0, 10.0, 0.0, 5.0, 0.0, 40.0, 0.0, 10.0, 0.0, 30.0, 0.0, 10.0])  # the ways in turn, begin and end
    monkeypatch.setattr("hpnet.bench.commands.time.perf_counter", lambda: next(clock))
    (tmp_path / "params.yaml").touch()
    ways = {"slow": (("--version",),), "fast": (("--version",),)}
    comparison = commands.Comparison("t", "a", "slow", ways, "frames", 60)
    result = commands.run(comparison, tmp_path, 3)
    assert result["ways"]["slow"] == {"seconds": 30.0, "per_s": 2.0, "times_baseline": 1.0}
    assert result["ways"]["fast"] == {"seconds": 10.0, "per_s": 6.0, "times_baseline": 3.0}
    page = commands.markdown(comparison, result, "hpnet bench", "Noted.")
    assert "| fast | 10.0 | 6.00 | 3.00 |" in page
    assert page.endswith("Noted.\n")


def test_a_command_that_fails_ends_the_benchmark_with_its_words(tmp_path: Path) -> None:
    comparison = commands.Comparison("t", "a", "x", {"x": (("pool", "--input", "nowhere"),)}, "frames", 1)
    with pytest.raises(FileNotFoundError, match="params.yaml is missing: give the folder of a trained project"):
        commands.run(comparison, tmp_path, 1)
    (tmp_path / "params.yaml").write_text("{}")
    with pytest.raises(RuntimeError, match=r"hpnet pool failed: .*nowhere"):
        commands.run(comparison, tmp_path, 1)
