"""Damaged files of every kind: refused in words, never a traceback, a hang, or somebody else's code.

A hundred inputs; ``python -m tests.damaged 2000`` tries more.
"""

import json
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from hpnet.artifacts.clips import Clips
from hpnet.artifacts.features import Features
from hpnet.artifacts.files import read_json, read_json_as
from hpnet.artifacts.frames import PersonFrames, jpeg_size_px
from hpnet.artifacts.parquet import TEXT, read_table
from hpnet.artifacts.parquet_footer import read_groups
from hpnet.artifacts.poses import PoseStore
from hpnet.artifacts.scores import Scores
from hpnet.artifacts.yaml_text import read_yaml
from hpnet.core.csv_text import read_csv_text, write_csv
from hpnet.core.reading import Damaged, decoding, read_bytes
from hpnet.core.video import write_video
from hpnet.data.importers import import_scores_csv, import_scores_npz
from hpnet.data.kinect import read_skeleton
from hpnet.data.pickles import load_array, load_arrays
from hpnet.data.table import read_table as read_video_table
from hpnet.data.table import split_table
from hpnet.detect.person_frames import encode_jpeg
from hpnet.params import load_params
from hpnet.stages.cli import main
from hpnet.train.multimodal import decode_jpeg
from hpnet.work.console import note, printable
from tests import damaged

SLOW = ("report", "rtdetr", "xclip", "yolo")
"""Formats whose reading takes a second; the hundred inputs have few of them."""
INPUTS = {name: 1 if name in SLOW else 4 for name in damaged.FORMATS}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", damaged.FORMATS)
def test_a_hundred_damaged_files(name: str, tmp_path: Path) -> None:
    given = damaged.FORMATS[name](tmp_path)
    if name not in SLOW:
        given.read(given.files[0])
    for seed in range(INPUTS[name]):
        damaged.attempt(given, seed)


def test_they_are_a_hundred() -> None:
    assert sum(INPUTS.values()) >= 100


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [*a]",
        "data: !!python/object/apply:os.system ['true']",
        "- 1",
        "data: 3",
        "pool: {region: [1]}",
        "{",
        "\0",
    ],
)
def test_params_that_are_valid_yaml_and_nonsense(tmp_path: Path, text: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"params\.yaml"):
        load_params(tmp_path / "params.yaml")


@pytest.mark.parametrize("column", ["clip_id", "split", "label", "logits"])
def test_score_files_with_wrong_columns(tmp_path: Path, column: str) -> None:
    table = pd.DataFrame({"clip_id": ["a", "b"], "split": ["val", "val"], "label": [0, 1], "logits": [[0.1, 2.0]] * 2})
    for wrong in ([None, None], [{"x": 1}, {"x": 2}], [b"\xff", b"1"]):
        table.assign(**{column: wrong}).to_parquet(tmp_path / "s.parquet")
        with pytest.raises(ValueError, match=r"s\.parquet"):
            Scores.load(tmp_path / "s.parquet")


def test_what_is_missing_says_how_it_is_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="run `hpnet pool` first"):
        Features.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="run `hpnet data` first"):
        Clips.load(tmp_path)


def status_and_words(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str]:
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    return stopped.value.code, capsys.readouterr().err


def test_a_full_disk_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "names").write_text("S001C001P001R001A001\n" * 1)
    status, words = status_and_words(capsys, "protocol", "ntu60-xsub", "--names", str(tmp_path / "names"),
                                     "--out", "/dev/full")  # fmt: skip
    assert status == 1
    assert "No space left on device" in words
    assert "make room" in words
    assert "Traceback" not in words


def test_a_place_that_cannot_be_written_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / "a.mp4", np.zeros((2, 16, 16, 3), np.uint8), fps=5)
    monkeypatch.chdir(tmp_path)
    status, words = status_and_words(capsys, "data", "--videos", "videos", "--out", "file/out", "--workers", "1")
    assert status == 1
    assert "file" in words
    assert len(words.strip().splitlines()) <= 3
    assert "Traceback" not in words


def test_params_of_the_repository_are_plain_yaml() -> None:
    text = (Path(__file__).parents[1] / "params.yaml").read_text()
    assert isinstance(yaml.safe_load(text), dict)


# --- more than there is ----------------------------------------------------------------------------------------------


@pytest.fixture
def little_memory() -> Iterator[None]:
    """What Python and numpy allocate in the test stays below 200 MB."""
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200e6, f"{peak / 1e6:.0f} MB"


def equal(count: int, value: object = 1.0) -> pa.Array:
    """A column of equal values, which takes next to nothing in a file."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), pa.array([value]))


def test_scores_of_too_many_classes(tmp_path: Path, little_memory: None) -> None:
    """Fixed lists of equal numbers: 1 kB for each million."""
    width = 1_000_000
    flat = pa.array(np.zeros(3 * width, np.float32))
    logits = pa.ListArray.from_arrays(pa.array([0, width, 2 * width, 3 * width], pa.int32()), flat)
    table = pa.table({"clip_id": ["a", "b", "c"], "split": ["val"] * 3, "label": [0, 1, 2], "logits": logits})
    pq.write_table(table, tmp_path / "scores.parquet")
    assert (tmp_path / "scores.parquet").stat().st_size < 1e6
    with pytest.raises(Damaged, match=r"scores\.parquet has 1,000,000 values in a row of column 'logits', more than"):
        Scores.load(tmp_path / "scores.parquet")


@pytest.mark.parametrize(
    ("rows", "text", "words"),
    [(21_000_000, "a", "21,000,000 rows"), (3, "a" * 20_000, "20,000 bytes in a cell"),
     (300_000, "a" * 9_000, "bytes of text in column 'clip_id'")],
)  # fmt: skip
def test_a_table_of_too_many_rows_or_too_much_text(rows: int, text: str, words: str, tmp_path: Path) -> None:
    pq.write_table(pa.table({"clip_id": equal(rows, text), "frame": equal(rows, 3)}), tmp_path / "boxes.parquet")
    assert (tmp_path / "boxes.parquet").stat().st_size < 1e6
    with pytest.raises(Damaged, match=rf"boxes\.parquet has .*{words}.*, more than"):
        read_table(tmp_path / "boxes.parquet", {"clip_id": TEXT})


def test_columns_that_nobody_asks_for_are_not_read(tmp_path: Path) -> None:
    table = pa.table({"clip_id": ["a", "b"], "other": pa.array([[[1.0]] * 3, []]), "more": [{"x": 1}] * 2})
    pq.write_table(table, tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet", {"clip_id": TEXT}).columns.tolist() == ["clip_id"]
    with pytest.raises(Damaged, match="column 'other' cannot be read as text"):
        read_table(tmp_path / "t.parquet", {"other": TEXT})


def test_the_list_of_contents_is_what_pyarrow_reads(tmp_path: Path) -> None:
    table = pa.table({"a": range(10), "b": [[1.0, 2.0]] * 9 + [[]]})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=4)
    ours, theirs = read_groups(tmp_path / "t.parquet"), pq.read_metadata(tmp_path / "t.parquet")
    assert [group.rows for group in ours] == [4, 4, 2]
    for number, group in enumerate(ours):
        for place, part in enumerate(group.columns):
            column = theirs.row_group(number).column(place)
            assert part.name == column.path_in_schema.split(".")[0]
            assert (part.values, part.nbytes) == (column.num_values, column.total_uncompressed_size)


def test_person_frames_that_are_one_picture_again_and_again(tmp_path: Path) -> None:
    count = 2000
    pictures = equal(count, b"x" * (1 << 20))
    table = pa.table({"clip_id": equal(count, "a"), "frame": np.arange(count, dtype=np.int32), "jpeg": pictures})
    pq.write_table(table, tmp_path / "frames-00000.parquet")
    assert (tmp_path / "frames-00000.parquet").stat().st_size < 3e6
    with pytest.raises(Damaged, match="bytes of frames of clip 'a', more than"):
        PersonFrames(tmp_path).load("a")


def test_a_picture_that_says_it_is_huge_is_not_decoded(little_memory: None) -> None:
    small = encode_jpeg(np.zeros((30, 40, 3), np.uint8))
    assert jpeg_size_px(small) == (40, 30)
    assert decode_jpeg(small, 30, "c").shape == (30, 30, 3)
    place = small.index(b"\xff\xc0")
    huge = small[: place + 5] + b"\xff\xff\xff\xff" + small[place + 9 :]
    assert jpeg_size_px(huge) == (65535, 65535)
    for data in (huge, small[:20], b"\x89PNG\r\n\x1a\n" + bytes(99), b""):
        with pytest.raises(ValueError, match="person frame of clip c cannot be decoded"):
            decode_jpeg(data, 30, "c")


def test_a_full_disk_names_the_table(tmp_path: Path) -> None:
    (tmp_path / "clips.csv").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"No space left on device.*clips\.csv"):
        write_csv(pd.DataFrame({"a": range(9999)}), tmp_path / "clips.csv")


def test_arrays_that_nobody_asks_for_are_not_read(tmp_path: Path, little_memory: None) -> None:
    with zipfile.ZipFile(tmp_path / "s.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in {"clip_id": np.array(["a"]), "scores": np.ones((1, 2)), "labels": np.array([1])}.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.save(member, array)
        with archive.open("more.npy", "w", force_zip64=True) as member:
            np.lib.format.write_array_header_1_0(
                member, {"descr": "<f4", "fortran_order": False, "shape": (300 << 20,)}
            )
            for _ in range(300):
                member.write(bytes(1 << 20))
    assert import_scores_npz(tmp_path / "s.npz", "x").streams["x"].labels.tolist() == [1]
    assert load_arrays(tmp_path / "s.npz", ["none"]) == ({}, ("clip_id", "scores", "labels", "more"))


@pytest.mark.parametrize(
    ("shape", "words"),
    [((1 << 40,), "needs 4,398,046,511,104 bytes, there are"), ((0, 1 << 40), "has no numbers"), ((-1,), "lengths")],
)
def test_an_array_that_says_it_is_larger_than_its_file(
    shape: tuple[int, ...], words: str, tmp_path: Path, little_memory: None
) -> None:
    with (tmp_path / "a.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
    with pytest.raises(Damaged, match=rf"a\.npy cannot be read as arrays of numbers: .*{words}"):
        load_array(tmp_path / "a.npy")


@pytest.mark.parametrize("text", ["a" + "," * 20_000 + "\n" * 20_000, "\n\n" + '"\n"' + "," * 20_000 + "\nx" * 20_000])
def test_a_csv_of_few_bytes_and_many_cells(text: str, tmp_path: Path, little_memory: None) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(Damaged, match=r"t\.csv has .* cells \(lines times columns\), more than"):
        read_csv_text(tmp_path / "t.csv", str(tmp_path / "t.csv"))


def test_a_skeleton_of_frames_without_bodies(tmp_path: Path, little_memory: None) -> None:
    (tmp_path / "s.skeleton").write_text("1000000 " + "0 " * 1_000_000)
    with pytest.raises(ValueError, match=r"it says 1,000,000 frames, expected at most"):
        read_skeleton(tmp_path / "s.skeleton")


@pytest.mark.parametrize(
    ("text", "words"),
    [("[" * 100_000, "nested too deep"), ("1" * 10_000, "digits"), ('{"a": "x"}', "valid number"), ("[1]", "object"),
     ('{"a": NaN}', "compliant"), ('{"a": 1e999}', "compliant")],
)  # fmt: skip
def test_json_that_is_deep_long_or_of_another_type(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(Damaged, match=rf"(?s)x\.json .*({words})") as caught:
        read_json_as(tmp_path / "x.json", dict[str, float], "make it again")
    assert len(str(caught.value)) < 600


def test_files_that_never_end_are_not_read(tmp_path: Path) -> None:
    for read in (read_json, read_yaml, load_params):
        with pytest.raises((ValueError, FileNotFoundError), match="/dev/zero"):
            read(Path("/dev/zero"))
    (tmp_path / "x").write_text("abc")
    with pytest.raises(Damaged, match="has 3 bytes, more than the 2"):
        read_bytes(tmp_path / "x", 2)


def test_odd_tags_of_yaml_are_errors_in_words(tmp_path: Path) -> None:
    for text in ("a: !!bool x", "a: !!int ''", "a: !!timestamp x", "a: !!float x", "? [a]\n: 1", "a: !!binary é"):
        (tmp_path / "x.yaml").write_text(text)
        with pytest.raises(Damaged, match=r"x\.yaml is not valid YAML: "):
            read_yaml(tmp_path / "x.yaml")
    (tmp_path / "x.yaml").write_text("".join(f"{n * (2**61 - 1)}: 1\n" for n in range(1, 90)))
    with pytest.raises(Damaged, match="a key of 21 characters that is no text"):
        read_yaml(tmp_path / "x.yaml")


# --- long lists ------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(60)
def test_very_many_actions_and_unknown_names(tmp_path: Path) -> None:
    """Each of these once took the square of its length, half a minute and more."""
    count = 50_000
    lines = (f"v{n}.mp4,a{n},p{n % 50},\n" for n in range(count))
    (tmp_path / "t.csv").write_text("video,action,source,mirror\n" + "".join(lines))
    table = split_table(read_video_table(tmp_path / "t.csv"), test_fraction=0)
    assert table.label.tolist() == pd.Series(table.class_name).rank().astype(int).sub(1).tolist()
    names = [f"c{n}" for n in range(3000)]
    rows = "".join(f"{name},{name},0.5{',0' * 2999}\n" for name in names[:3])
    (tmp_path / "s.csv").write_text(f"clip_id,label,{','.join(names)}\n{rows}")
    assert import_scores_csv(tmp_path / "s.csv", "x").streams["x"].labels.tolist() == [0, 1, 2]
    (tmp_path / "params.yaml").write_text("".join(f"unknown{n}: 1\n" for n in range(4000)))
    with pytest.raises(ValueError, match=r"3,980 more problems") as caught:
        load_params(tmp_path / "params.yaml")
    assert len(str(caught.value).splitlines()) == 21


# --- words -----------------------------------------------------------------------------------------------------------


def test_our_own_mistakes_keep_their_traceback(tmp_path: Path) -> None:
    with pytest.raises(NameError), decoding(tmp_path / "x"):
        nothing_has_this_name  # type: ignore[name-defined]  # noqa: B018, F821
    with pytest.raises(AssertionError), decoding(tmp_path / "x"):
        raise AssertionError
    with (
        pytest.raises(Damaged, match=r"x cannot be read: 'a' is missing\ndo that") as caught,
        decoding(tmp_path / "x", "do that"),
    ):
        json.loads("{}")["a"]
    assert isinstance(caught.value.__cause__, KeyError)
    with pytest.raises(PermissionError, match="/x"), decoding("/x"):
        raise PermissionError(13, "no")


def test_names_cannot_command_the_terminal(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    name = "a\x1b]0;title\x07\x1b[2J\u202eb\r.json"
    (tmp_path / name).write_text("{")
    note(f"{name}: reason\nmore")
    with pytest.raises(SystemExit):
        main(["fuse", "--params-file", str(tmp_path / name)])
    with pytest.raises(SystemExit):
        main([name])
    said = "".join(capsys.readouterr())
    assert said.count("\\x1b") >= 4
    assert all(c.isprintable() or c == "\n" for c in said)
    assert printable("x" * 9000).endswith("x...")
    classes = pd.DataFrame({"label": [0], "name": ["\x1b[2J"], "prompt": ["x"]})
    with pytest.raises(ValueError, match=r"name '\\x1b\[2J' holds a control character"):
        Clips(pd.DataFrame(columns=["clip_id", "label", "subject", "source", "camera", "setup", "repetition", "split"]),
              classes)  # fmt: skip


def test_a_shard_of_another_folder_is_not_opened(tmp_path: Path) -> None:
    given = damaged.FORMATS["poses"](tmp_path)
    index = pd.read_parquet(tmp_path / "index.parquet")
    index.assign(shard="../x.safetensors").to_parquet(tmp_path / "index.parquet")
    with pytest.raises(ValueError, match=r"'\.\./x\.safetensors' is no name of a shard"):
        given.read(given.files[0])
    index.assign(start=10**9).to_parquet(tmp_path / "index.parquet")
    with pytest.raises(Damaged, match=r"shard-00000\.safetensors cannot be read: .*\n.*hpnet estimate"):
        list(PoseStore(tmp_path))
