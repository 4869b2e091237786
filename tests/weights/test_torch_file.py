"""Torch files as data: what is read, and what is refused before memory or time is taken."""

from __future__ import annotations

import io
import os
import pickle
import time
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from hpnet.weights import checkpoint as weights
from hpnet.weights import torch_file
from hpnet.weights.torch_file import TorchFile, TorchFileError

SHARED = Path(__file__).resolve().parents[3] / "shared"


def archive(file: Path, content: bytes, storages: dict[str, bytes] | None = None, method: int = 0) -> Path:
    """A torch file whose pickle is ``content``."""
    with zipfile.ZipFile(file, "w", method) as out:
        out.writestr("a/data.pkl", content)
        out.writestr("a/version", "3\n")
        for key, data in (storages or {}).items():
            out.writestr(f"a/data/{key}", data)
    return file


def text(value: str) -> bytes:
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


def number(value: int) -> bytes:
    return b"\x8a\x09" + value.to_bytes(9, "little", signed=True)


def tensor(size: tuple[int, ...], stride: tuple[int, ...], numel: int, offset: int = 0) -> bytes:
    """Steps that leave a dict of one float32 tensor of storage "0"."""
    sides = b"(" + b"".join(number(v) for v in size) + b"t(" + b"".join(number(v) for v in stride) + b"t"
    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + number(numel) + b"tQ"
    rebuilt = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + number(offset) + sides + b"\x89}tR"
    return b"\x80\x02}" + text("w") + rebuilt + b"s."


class Point:
    """Something with a state."""

    def __init__(self) -> None:
        self.x = 1


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
def test_tensors_of_every_kind_are_what_torch_reads(tmp_path: Path, zipped: bool) -> None:
    torch.manual_seed(0)
    kinds = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16,
             torch.int8, torch.uint8, torch.bool)  # fmt: skip
    state: dict[str, Any] = {str(kind): torch.randn(3, 4).mul(9).to(kind) for kind in kinds}
    whole = torch.randn(6, 8)
    state |= {
        "view": whole[1:4, ::2],
        "transposed": whole.t(),
        "scalar": torch.tensor(3.0),
        "empty": torch.empty(0, 5),
        "channels_last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "parameter": nn.Parameter(torch.randn(2)),
        "same": whole,
    }
    torch.save(OrderedDict(state), tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    read = weights.load_state(tmp_path / "w.pth")
    theirs = torch.load(tmp_path / "w.pth", weights_only=True)
    assert read.keys() == theirs.keys()
    for name, value in theirs.items():
        assert read[name].dtype == value.dtype
        assert read[name].stride() == value.stride()
        assert torch.equal(read[name], value.detach())


def test_what_a_file_names_becomes_a_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_file, "KNOWN_PACKAGES", torch_file.KNOWN_PACKAGES | {"tests"})
    torch.save({"point": Point(), "kind": torch.float16, "members": {1, 2}, "nested": [(1, "a", None)]}, tmp_path / "w")
    content = TorchFile(tmp_path / "w").content
    assert content["point"].kind.endswith("test_torch_file.Point")
    assert content["point"].attribute("x") == 1
    assert not isinstance(content["point"], Point)
    assert str(content["kind"]) == "torch.float16"
    assert (content["members"], content["nested"]) == ([1, 2], [(1, "a", None)])


@pytest.mark.parametrize("protocol", range(1, 6))
def test_every_protocol_of_pickle_is_walked(tmp_path: Path, protocol: int) -> None:
    state = {"a": torch.arange(3.0)}
    state["state_dict"] = {"a.b": torch.ones(2, 2), "é": torch.zeros(1)}  # type: ignore[assignment]
    torch.save(state | {"epoch": 3, "lr": 0.5, "big": 1 << 40, "bytes": b"x", "flag": True}, tmp_path / "w.pth",
               pickle_protocol=protocol)  # fmt: skip
    assert weights.load_state(tmp_path / "w.pth")["a.b"].sum() == 4


def nested_pair(depth: int) -> bytes:
    """Steps that leave t = ((.., ..), (.., ..)), two of each: 2 ** depth leaves from a few bytes."""
    return b")" + b"2\x86" * depth


REFUSED: dict[str, tuple[bytes, str]] = {
    "expanded": (tensor((1 << 40,), (0,), 4), "of 4 numbers"),
    "read twice": (tensor((2, 2), (0, 1), 4), "read numbers twice"),
    "overlapping": (tensor((2, 2), (1, 1), 4), "read numbers twice"),
    "beyond": (tensor((4,), (1,), 4, offset=1), "of 4 numbers"),
    "far": (tensor((2,), (1 << 40,), 4), "of 4 numbers"),
    "negative": (tensor((2,), (-1,), 4, offset=3), "are no counts"),
    "nothing of a huge shape": (tensor((0, 1 << 30, 1 << 30), (1, 1, 1), 4), "of 4 numbers"),
    "promises": (tensor((1 << 30,), (1,), 1 << 30), "promises 1,073,741,824 numbers in 16 bytes"),
    "ten dimensions": (tensor((1,) * 10, (1,) * 10, 4), "at most 8 sizes"),
    "a key of pairs": (b"\x80\x02}" + nested_pair(60) + b"Ns.", "key that is no plain value"),
    "a long number": (b"\x80\x02\x8b\x00\x00\x10\x00" + b"\x7f" * (1 << 20) + b".", "whole number of 83"),
    "persistent text": (b"\x80\x02Psomething\n.", "uses PERSID"),
    "outside": (b"\x80\x02" + text("elsewhere") + b"Q.", "outside the file"),
    "an extension": (b"\x80\x02\x82\x01.", "uses EXT1"),
    "a shell": (b"cos\nsystem\n(" + text("true") + b"tR.", "it names os.system"),
    "eval": (b"\x80\x02}" + text("a") + b"cbuiltins\neval\n(" + text("1") + b"tRs.", "it names builtins.eval"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_refused_in_words_and_at_once(tmp_path: Path, kind: str) -> None:
    content, words = REFUSED[kind]
    file = archive(tmp_path / "w.pth", content, {"0": bytes(16)})
    start = time.process_time()
    with pytest.raises(TorchFileError, match=words) as caught:
        weights.load_state(file)
    assert time.process_time() - start < 2
    assert str(file) in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_compressed_archive_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    bomb = archive(tmp_path / "w.pth", tensor((1 << 24,), (1,), 1 << 24), {"0": bytes(1 << 26)}, zipfile.ZIP_DEFLATED)
    assert bomb.stat().st_size < 1 << 17
    with pytest.raises(TorchFileError, match="compressed archive"):
        weights.load_state(bomb)


def test_members_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "w.pth"
    with zipfile.ZipFile(file, "w") as out:
        out.writestr("a/data.pkl", tensor((4,), (1,), 4))
        out.writestr("a/data/0", bytes(1 << 16))
        kernel = out.getinfo("a/data/0")
        for index in range(1, 60):
            again = zipfile.ZipInfo(f"a/data/{index}")
            for part in ("header_offset", "CRC", "compress_size", "file_size", "compress_type"):
                setattr(again, part, getattr(kernel, part))
            out.filelist.append(again)
            out.NameToInfo[again.filename] = again
        out._didModify = True  # type: ignore[attr-defined]
    with pytest.raises(TorchFileError, match="its parts are larger than the file"):
        weights.load_state(file)


def test_many_views_of_one_storage_are_no_way_to_fill_memory(tmp_path: Path) -> None:
    whole = torch.zeros(100_000)
    torch.save({f"w{i}": whole for i in range(50)}, tmp_path / "w.pth")
    with pytest.raises(TorchFileError, match="its tensors have 20,000,000 bytes, the file 400,000"):
        weights.load_state(tmp_path / "w.pth")


def test_steps_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_file, "MOST_STEPS", 1000)
    # one list of pairs, made into a dict again and again
    pairs = b"](" + b"".join(b"(" + text(str(i)) + b"Nt" for i in range(100)) + b"e"
    content = b"\x80\x02" + pairs + b"q\x000(" + b"ccollections\nOrderedDict\n(h\x00tR" * 20 + b"l."
    with pytest.raises(TorchFileError, match="more than 1,000 steps"):
        TorchFile(archive(tmp_path / "w.pth", content))


def test_a_dict_that_holds_itself(tmp_path: Path) -> None:
    state: dict[str, Any] = {}
    state["model"] = state
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="a dict that holds itself"):
        weights.load_state(tmp_path / "w.pth")
    other: dict[str, Any] = {"model": {"state_dict": {}}}
    other["model"]["state_dict"]["net"] = other["model"]
    torch.save(other, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="a dict that holds itself"):
        weights.load_state(tmp_path / "w.pth")


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared cases")
def test_the_self_referring_file_of_the_cases() -> None:
    with pytest.raises(ValueError, match="a dict that holds itself"):
        weights.load_state(SHARED / "data/cases/hostile/selfref.pth")


def test_names_that_are_all_prefix(tmp_path: Path) -> None:
    torch.save({"module." * 500_000: torch.ones(1)}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="a name of 3500000 letters"):
        weights.load_state(tmp_path / "w.pth")


def test_a_changed_number_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "w.pth"
    torch.save({"a": torch.zeros(1000)}, file)
    content = bytearray(file.read_bytes())
    content[content.index(bytes(2000)) + 100] = 1
    file.write_bytes(content)
    with pytest.raises(TorchFileError, match="Bad CRC-32"):
        weights.load_state(file)
    with pytest.raises(TorchFileError, match="Bad CRC-32"):
        TorchFile(file).check()


def test_programs_and_other_archives_say_what_they_are(tmp_path: Path) -> None:
    torch.jit.script(nn.Linear(2, 2)).save(str(tmp_path / "program.pt"))
    with pytest.raises(TorchFileError, match="TorchScript program"):
        TorchFile(tmp_path / "program.pt")
    with zipfile.ZipFile(tmp_path / "other.pt", "w") as out:
        out.writestr("readme.txt", "hello")
    with pytest.raises(TorchFileError, match="no checkpoint, or half-downloaded"):
        TorchFile(tmp_path / "other.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(TorchFileError, match="no checkpoint"):
        TorchFile(tmp_path / "plain.pt")


def test_a_length_is_believed_after_the_check(tmp_path: Path) -> None:
    """A pickle in the old format that announces a text of 2 ** 40 bytes."""
    (tmp_path / "w.pth").write_bytes(b"\x80\x04\x8d" + (1 << 40).to_bytes(8, "little") + b"abc")
    with pytest.raises(TorchFileError, match="bytes at once"):
        TorchFile(tmp_path / "w.pth")


def test_a_file_that_may_not_be_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = io.open

    def locked(file: Any, *arguments: Any, **options: Any) -> Any:
        if str(file).startswith(str(tmp_path)):
            raise PermissionError(13, "Permission denied", str(file))
        return real(file, *arguments, **options)

    torch.save({"a": torch.ones(1)}, tmp_path / "w.pth")
    (tmp_path / "w.safetensors").write_bytes(b"")
    monkeypatch.setattr(io, "open", locked)
    for name in ("w.pth", "w.safetensors"):
        with pytest.raises(PermissionError, match=name):
            weights.load_state(tmp_path / name)
    assert os.path.exists(tmp_path / "w.pth")
