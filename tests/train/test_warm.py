"""``hpnet train --start-from``: going on from an earlier training after clips were added."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hpnet.artifacts.clips import Clips
from hpnet.artifacts.files import read_json
from hpnet.stages.train import command
from hpnet.weights.checkpoint import load_tensors
from hpnet.work.shards import file_digest

from ..trained import inside
from .test_loop import SPLITS, make_clips, make_features

SMALL = ("--topology-graph-base-channels", "4", "--topology-graph-blocks", "1", "--topology-warmup-epochs", "0")


def train(*arguments: str) -> Result:
    return CliRunner().invoke(command, [*arguments, *SMALL, "--topology-epochs", "1", "--device", "cpu"])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose joint stream was trained before four clips were added."""
    root = tmp_path_factory.mktemp("made")
    with inside(root):
        for count in (len(SPLITS) - 4, len(SPLITS)):
            clips = make_clips(SPLITS[:count])
            clips.save(root / "artifacts/data")
            make_features(clips).save(root / "artifacts/pool")
            if count < len(SPLITS):
                assert train("hpj").exit_code == 0
                shutil.move(root / "artifacts/train/hpj", root / "earlier/hpj")
    return root


@pytest.fixture
def earlier(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the earlier training, in a copy of that project."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "earlier/hpj"


def test_weights_are_those_of_the_earlier_training_and_the_card_says_so(earlier: Path) -> None:
    done = train("hpj", "--start-from", str(earlier), "--topology-lr", "1e-9")
    assert done.exit_code == 0, f"{done.output}{done.exception!r}"
    now, then = (load_tensors(folder / "model.safetensors") for folder in (Path("artifacts/train/hpj"), earlier))
    for name, value in then.items():
        if name.endswith("weight"):  # at such a rate nothing is learnt
            assert float((now[name] - value).abs().max()) < 1e-5
    card = read_json(Path("artifacts/train/hpj/config.json"))
    assert card["started_from"] == file_digest(earlier / "model.safetensors")
    assert train("hpj").exit_code == 0
    assert "started_from" not in read_json(Path("artifacts/train/hpj/config.json"))


@pytest.mark.long
def test_all_streams_start_from_their_own(earlier: Path) -> None:
    done = train("all", "--start-from", str(earlier.parent))
    assert done.exit_code == 1
    assert "hpb" in f"{done.output}{done.exception}"  # which was not trained before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("hpb",), "is of the stream 'hpj', not 'hpb'"),
        (("hpj", "--topology-graph-model", "linear"), "fitted as a whole, in seconds: leave the option out"),
        (("hpj", "--refit"), "train.refit scores clips by weights that did not see them"),
        (("hpj", "--topology-graph-model", "stgcn"), "does not fit this network"),
    ],
)
def test_what_cannot_start_is_refused(earlier: Path, arguments: tuple[str, ...], words: str) -> None:
    done = train(*arguments, "--start-from", str(earlier))
    assert done.exit_code == 1
    assert words in str(done.exception)


def test_a_clip_that_was_learnt_may_not_validate_or_test_now(earlier: Path) -> None:
    clips = Clips.load(Path("artifacts/data"))
    learnt = clips.table.index[clips.table.split == "train"][0]
    moved = clips.table.assign(split=clips.table.split.where(clips.table.index != learnt, "test"))
    Clips(moved, clips.classes).save(Path("artifacts/data"))
    done = train("hpj", "--start-from", str(earlier))
    assert "learnt 1 clips that validate or test now" in str(done.exception)


def test_a_folder_without_a_training_is_named(earlier: Path) -> None:
    done = train("hpj", "--start-from", str(earlier.parent))
    assert "earlier/model.safetensors is missing; expected the folder of a trained stream" in str(done.exception)
