"""hpnet.data.importers and pickles: other projects' scores, and what is refused."""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from scipy.special import softmax

from hpnet.artifacts.imported import load_frequencies
from hpnet.artifacts.scores import Scores
from hpnet.data import protocols
from hpnet.data.importers import import_scores_csv, import_scores_hpnet, import_scores_npz
from hpnet.data.pickles import load_pickle

SHARED = Path(__file__).resolve().parents[3] / "shared"
SMARTHOME = SHARED / "data" / "scores" / "smarthome_cs"
CLASSES = list(protocols.class_table("smarthome-cv1").name)
TEST = [f"{name}_p{subject:02d}_r00_v01_c02.mp4" for subject in (2, 3) for name in CLASSES]


def scores_of(names: list[str], seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(len(names), len(CLASSES))).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A score folder as the authors lay it out, for smarthome-cv1, with rows in different orders."""
    source = tmp_path / "authors"
    source.mkdir()
    order = np.random.default_rng(0).permutation(len(TEST))
    probabilities = softmax(scores_of(TEST, 1), axis=1)
    for part, rows in enumerate(np.array_split(order, 3)):
        np.save(source / f"{part}_best_score.npy", probabilities[rows])
        (source / f"{part}_best_name.txt").write_text("\n".join(TEST[r] for r in rows) + "\n")
    for seed, stream in enumerate(("J", "B", "JM", "BM")):
        rows = dict(zip(TEST, scores_of(TEST, 10 + seed), strict=True))
        (source / f"{stream}_epoch1_test_score.pkl").write_bytes(pickle.dumps(dict(sorted(rows.items()))))
    (source / "test_CV1.txt").write_text("\n".join(TEST) + "\n")
    train = [f"{n}_p04_r{r:02d}_v01_c01.mp4" for k, n in enumerate(CLASSES) for r in range(k + 1)]
    (source / "train_CV1.txt").write_text("\n".join([*train, "WatchTV_p04_r00_v01_c01.mp4"]))
    return source


# --- the authors' folder --------------------------------------------------------------------------------------------


def test_scores_join_by_name(folder: Path) -> None:
    imported = import_scores_hpnet(folder, "smarthome-cv1")
    assert list(imported.streams) == ["hpj", "hpb", "hpjm", "hpbm", "multimodal"]
    assert imported.notes == ()
    for stream, expected in (("multimodal", softmax(scores_of(TEST, 1), axis=1)), ("hpb", scores_of(TEST, 11))):
        scores = imported.streams[stream]
        assert scores.clip_ids == tuple(n[:-4] for n in TEST)
        assert set(scores.splits) == {"test"}
        assert scores.labels.tolist() == [*range(19), *range(19)]
        np.testing.assert_array_equal(scores.logits, expected)
    assert imported.frequencies is not None
    assert imported.frequencies["count"].tolist() == list(range(1, 20))


def test_saved_scores_and_frequencies_load_again(folder: Path, tmp_path: Path) -> None:
    imported = import_scores_hpnet(folder, "smarthome-cv1")
    imported.save(tmp_path / "out")
    again = Scores.load(tmp_path / "out" / "hpj" / "scores.parquet")
    np.testing.assert_array_equal(again.logits, imported.streams["hpj"].logits)
    assert load_frequencies(tmp_path / "out" / "frequencies.csv").tolist() == list(range(1, 20))
    assert pd.read_csv(tmp_path / "out" / "classes.csv").name.tolist() == CLASSES


@pytest.mark.skipif(not SMARTHOME.is_dir(), reason="the authors' scores are not here")
def test_the_authors_own_folder() -> None:
    imported = import_scores_hpnet(SMARTHOME, "smarthome-cs")
    assert {len(s.clip_ids) for s in imported.streams.values()} == {5433}
    assert imported.frequencies is not None
    assert imported.frequencies["count"].sum() == 8829
    assert len(imported.classes) == 31


def test_validation_scores_take_their_split_from_the_list(folder: Path) -> None:
    val = [f"{name}_p04_r00_v01_c05.mp4" for name in CLASSES]
    (folder / "validation_CV1.txt").write_text("\n".join(val))
    (folder / "J_epoch1_val_score.pkl").write_bytes(pickle.dumps(dict(zip(val, scores_of(val, 5), strict=True))))
    scores = import_scores_hpnet(folder, "smarthome-cv1").streams["hpj"]
    assert len(scores.split("val").clip_ids) == 19
    assert len(scores.split("test").clip_ids) == len(TEST)


def test_absent_streams_and_training_list_are_noted(folder: Path) -> None:
    (folder / "BM_epoch1_test_score.pkl").unlink()
    (folder / "train_CV1.txt").unlink()
    imported = import_scores_hpnet(folder, "smarthome-cv1")
    assert imported.notes == ("no scores of stream hpbm", "no train_*.txt: training frequencies are unknown")
    assert imported.frequencies is None


def test_missing_clips_are_counted_and_refused(folder: Path) -> None:
    rows = dict(zip(TEST[2:], scores_of(TEST[2:], 1), strict=True))
    (folder / "B_epoch1_test_score.pkl").write_bytes(pickle.dumps(rows))
    with pytest.raises(ValueError, match=r"stream hpb: 2 of the listed test clips have no score, such as Cutbread_p02"):
        import_scores_hpnet(folder, "smarthome-cv1")
    imported = import_scores_hpnet(folder, "smarthome-cv1", allow_missing=True)
    assert len(imported.streams["hpb"].clip_ids) == len(TEST) - 2
    assert "stream hpb: 2 of the listed" in imported.notes[0]


def test_refusals(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"hpj: clip .* has 19 scores, the class list has 31 classes"):
        import_scores_hpnet(folder, "smarthome-cs")
    with pytest.raises(FileNotFoundError, match="nowhere is missing"):
        import_scores_hpnet(tmp_path / "nowhere", "smarthome-cv1")
    name = folder / "1_best_name.txt"
    lines = name.read_text().splitlines()
    name.write_text("\n".join(lines[:-1]))
    with pytest.raises(ValueError, match=r"1_best_score.npy is \(13, 19\) but 1_best_name.txt has 12 names"):
        import_scores_hpnet(folder, "smarthome-cv1")
    name.write_text("\n".join([*lines[:-1], lines[0]]))
    with pytest.raises(ValueError, match="is scored twice"):
        import_scores_hpnet(folder, "smarthome-cv1")
    name.write_text("\n".join([*lines[:-1], (folder / "0_best_name.txt").read_text().splitlines()[0]]))
    with pytest.raises(ValueError, match="also scored by another part"):
        import_scores_hpnet(folder, "smarthome-cv1")
    name.write_text("\n".join([*lines[:-1], "Walk_p02_r77_v01_c02.mp4"]))
    with pytest.raises(ValueError, match=r"1 scored clips are in no list of .*Walk_p02_r77"):
        import_scores_hpnet(folder, "smarthome-cv1")
    name.unlink()
    with pytest.raises(FileNotFoundError, match=r"1_best_name.txt is missing"):
        import_scores_hpnet(folder, "smarthome-cv1")
    (folder / "test_CV1.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"no test_\*.txt"):
        import_scores_hpnet(folder, "smarthome-cv1")


def test_nan_scores_are_refused_by_name(folder: Path) -> None:
    rows = dict(zip(TEST, scores_of(TEST, 1), strict=True))
    rows[TEST[3]][5] = np.nan
    (folder / "B_epoch1_test_score.pkl").write_bytes(pickle.dumps(rows))
    with pytest.raises(ValueError, match=f"{TEST[3][:-4]}.*not finite"):
        import_scores_hpnet(folder, "smarthome-cv1")


def test_import_command(folder: Path, tmp_path: Path) -> None:
    from hpnet.stages.import_ import command

    arguments = ["scores-hpnet", str(folder), "--out", str(tmp_path / "out")]
    assert "needs --protocol" in CliRunner().invoke(command, arguments).output
    result = CliRunner().invoke(command, [*arguments, "--protocol", "smarthome-cv1"], catch_exceptions=False)
    assert result.exit_code == 0
    assert f"multimodal: {len(TEST)} clips, 19 classes" in result.output
    csv = tmp_path / "xclip.csv"
    pd.DataFrame(scores_of(TEST, 3), columns=CLASSES).assign(clip_id=TEST).to_csv(csv, index=False)
    more = ["scores-csv", str(csv), "--protocol", "smarthome-cv1", "--out", str(tmp_path / "out")]
    assert CliRunner().invoke(command, more, catch_exceptions=False).exit_code == 0
    assert (tmp_path / "out" / "xclip" / "scores.parquet").is_file()
    assert (tmp_path / "out" / "frequencies.csv").is_file()


# --- CSV and npz ----------------------------------------------------------------------------------------------------


def test_csv_with_class_names_in_any_order(tmp_path: Path) -> None:
    values = scores_of(TEST, 3)
    table = pd.DataFrame(values, columns=CLASSES)[CLASSES[::-1]].assign(clip_id=TEST)
    table.to_csv(tmp_path / "s.csv", index=False)
    scores = import_scores_csv(tmp_path / "s.csv", "llm", "smarthome-cv1").streams["llm"]
    np.testing.assert_allclose(scores.logits, values, rtol=1e-6)
    assert set(scores.splits) == {"test"}


def test_csv_with_numbers_labels_and_splits_needs_no_protocol(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("name,label,split,0,1\na,0,val,0.5,1\nb,1,test,2,3\n")
    imported = import_scores_csv(tmp_path / "s.csv", "x")
    scores = imported.streams["x"]
    assert scores.clip_ids == ("a", "b")
    assert scores.splits == ("val", "test")
    assert scores.logits.tolist() == [[0.5, 1.0], [2.0, 3.0]]
    assert list(imported.classes.label) == [0, 1]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("clip,0,1\na,1,2\n", {}, "no column clip_id"),
        ("clip_id,0,1\na,1,2\n", {}, "no labels"),
        ("clip_id,label,0,2\na,0,1,2\n", {}, "0 to K-1 without gaps"),
        ("clip_id,label\na,0\n", {}, "no score columns"),
        ("clip_id,label,0,1\na,0,1,x\n", {}, "score .x. for class 1; expected a number"),
        ("clip_id,label,0,1\na,0,1,2\na,0,1,2\n", {}, "listed twice"),
        ("clip_id,label,0,1\na,0,1,nan\n", {}, "score .nan. for class 1; expected a number"),
        ("clip_id,label,0,1\na,0,3,-2\n", {"kind": "probabilities"}, "should be probabilities"),
        ("clip_id,jump,run\na01_s01_e00_v03,1,2\n", {"protocol": "nw-ucla"}, "'jump' is no class"),
        ("clip_id,0,1\na01_s01_e00_v03,1,2\n", {"protocol": "nw-ucla"}, "2 scores, the class list has 10"),
        ("clip_id,label,0,1\na02_s01_e00_v03,0,1,2\n", {"protocol": "nw-ucla"}, "has label 0, nw-ucla says 1"),
    ],
)
def test_bad_csv(tmp_path: Path, text: str, options: dict[str, str], message: str) -> None:
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        import_scores_csv(tmp_path / "s.csv", "x", **options)


def test_npz(tmp_path: Path) -> None:
    values = scores_of(TEST, 4)
    np.savez(tmp_path / "s.npz", clip_id=np.array(TEST), scores=values)
    scores = import_scores_npz(tmp_path / "s.npz", "x", "smarthome-cv1").streams["x"]
    np.testing.assert_array_equal(scores.logits, values)
    np.savez(tmp_path / "bad.npz", names=np.array(TEST))
    with pytest.raises(ValueError, match=r"expected clip_id \(N,\) and scores \(N, K\)"):
        import_scores_npz(tmp_path / "bad.npz", "x", "smarthome-cv1")
    np.savez(tmp_path / "objects.npz", clip_id=np.array([{}], dtype=object), scores=values[:1])
    with pytest.raises(ValueError, match="objects.npz cannot be read as arrays of numbers"):
        import_scores_npz(tmp_path / "objects.npz", "x", "smarthome-cv1")


@pytest.mark.parametrize("damage", [lambda b: b[:-40], lambda b: b[: len(b) // 2], lambda b: b"junk", lambda b: b""])
def test_a_damaged_npz_is_named(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    np.savez(tmp_path / "s.npz", clip_id=np.array(TEST), scores=scores_of(TEST, 4))
    (tmp_path / "s.npz").write_bytes(damage((tmp_path / "s.npz").read_bytes()))
    with pytest.raises(ValueError, match=r"s\.npz cannot be read as arrays of numbers: (?!.*unsafely)"):
        import_scores_npz(tmp_path / "s.npz", "x", "smarthome-cv1")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"scores": np.array([["a", "b"]] * 2)}, r"s\.npz: scores are <U1; expected numbers"),
        ({"labels": np.array(["c", "d"])}, r"s\.npz: clip p has label 'c'; expected 0 to 1, or a class's name"),
        ({"labels": np.array([0.5, 1])}, "clip p has label '0.5'"),
        ({"labels": np.array([0, 2])}, "clip q has label '2'; expected 0 to 1"),
        ({"splits": np.array(["test", "tset"])}, "split 'tset' is not train, val, test"),
    ],
)
def test_bad_npz(tmp_path: Path, arrays: dict[str, NDArray[Any]], message: str) -> None:
    good = {"clip_id": np.array(["p", "q"]), "scores": np.eye(2), "labels": np.array([0, -1])}
    np.savez(tmp_path / "s.npz", **{**good, **arrays})
    with pytest.raises(ValueError, match=message):
        import_scores_npz(tmp_path / "s.npz", "x")
    np.savez(tmp_path / "s.npz", **good)
    assert import_scores_npz(tmp_path / "s.npz", "x").streams["x"].labels.tolist() == [0, -1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"s\.csv cannot be read as CSV"),
        (b"\xff\x00", r"s\.csv cannot be read as CSV"),
        (b"clip_id,label,0,1\n", r"s\.csv has no clip"),
        (b"clip_id,label,0,1\na,0,1,2,3\nb,0,1,2,3\n", "lines have more fields"),
        (b"clip_id,label,0,1\na,,1,2\n", "clip a has label ''; expected 0 to 1"),
        (b"clip_id,label,0,1\na,1,1,\n", "clip a has score '' for class 1; expected a number"),
        (b"clip_id,label,split,0,1\na,1,training,1,2\n", "split 'training' is not"),
    ],
)
def test_damaged_csv(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "s.csv").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        import_scores_csv(tmp_path / "s.csv", "x")


def test_labels_may_be_class_names_and_floats(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_bytes("\ufeffclip_id,label,wave,clap\r\na,clap,1,2\r\nb,0.0,1,2\r\n".encode())
    imported = import_scores_csv(tmp_path / "s.csv", "x")
    assert imported.streams["x"].labels.tolist() == [1, 0]
    assert imported.streams["x"].clip_ids == ("a", "b")


def test_scores_of_no_clip(tmp_path: Path) -> None:
    Scores((), (), np.zeros(0, np.int64), np.zeros((0, 3), np.float32)).save(tmp_path / "x" / "scores.parquet")
    with pytest.raises(ValueError, match=r"scores\.parquet has no clip"):
        Scores.load(tmp_path / "x" / "scores.parquet")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label,count\n0,3\n2,4\n", "0 to K-1"),
        ("label,count\n0,3\n1,many\n", r"f\.csv: every count must be a whole number"),
        ("label,count\n0,3\n1,-1\n", "from 0 on"),
        ("", r"f\.csv cannot be read as CSV"),
    ],
)
def test_bad_frequencies(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "f.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        load_frequencies(tmp_path / "f.csv")


# --- pickles --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_of_plain_things_are_read(tmp_path: Path, protocol: int) -> None:
    content: dict[str, Any] = {
        "array": np.arange(6, dtype=np.float32).reshape(2, 3),
        "fortran": np.asfortranarray(np.ones((2, 2))),
        "scalar": np.float64(2.5),
        "list": [1, 2.0, "three", None, True, b"four", (5,), {6}],
        "ordered": OrderedDict(a=1),
    }
    if protocol < 4:
        content["list"] = content["list"][:-1]  # sets need a constructor there
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(content, protocol=protocol))
    again = load_pickle(tmp_path / "x.pkl")
    np.testing.assert_array_equal(again["array"], content["array"])
    np.testing.assert_array_equal(again["fortran"], content["fortran"])
    assert again["scalar"] == 2.5
    assert again["list"] == content["list"]
    assert again["ordered"] == content["ordered"]


class Hostile:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


def test_a_hostile_pickle_runs_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "was_here"
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"clip": Hostile(f"touch {mark}")}))
    with pytest.raises(ValueError, match=r"x.pkl cannot be read .*system; only arrays"):
        load_pickle(tmp_path / "x.pkl")
    assert not mark.exists()


@pytest.mark.parametrize(
    "call", [b"cbuiltins\neval\n(V1+1\ntR.", b"cnumpy\nload\n(Vx\ntR.", b"c_codecs\nencode\n(Vx\nVrot13\ntR."]
)
def test_other_callables_are_refused(tmp_path: Path, call: bytes) -> None:
    (tmp_path / "x.pkl").write_bytes(call)
    with pytest.raises(ValueError, match="cannot be read as a pickle of arrays"):
        load_pickle(tmp_path / "x.pkl")


@pytest.mark.parametrize("content", [b"", b"not a pickle", pickle.dumps(np.arange(100))[:-20]])
def test_broken_pickles(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.pkl").write_bytes(content)
    with pytest.raises(ValueError, match=r"x.pkl cannot be read"):
        load_pickle(tmp_path / "x.pkl")


def test_a_pickle_of_another_shape(folder: Path) -> None:
    (folder / "J_epoch1_test_score.pkl").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(ValueError, match="holds a list; expected a dict"):
        import_scores_hpnet(folder, "smarthome-cv1")
    for value in ("words", [[1.0], [1.0, 2.0]], {"a": 1}):
        (folder / "J_epoch1_test_score.pkl").write_bytes(pickle.dumps({TEST[0]: value}))
        with pytest.raises(ValueError, match=r"J_epoch1_test_score\.pkl: clip .* expected K numbers"):
            import_scores_hpnet(folder, "smarthome-cv1")
