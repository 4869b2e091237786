"""Pickles as data: what numpy and Python write is read as they do; a forged file runs nothing and ends soon."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hpnet.data.pickles import load_pickle
from hpnet.data.unpickle import DEEPEST, unpickle
from tests.damaged import mutated, within

SHARED = Path(__file__).resolve().parents[3] / "shared"
PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def equal(a: Any, b: Any) -> bool:
    """The same types, dtypes (in whatever byte order), shapes and values; arrays and containers by what they hold."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray | np.generic):
        b = b.astype(b.dtype.newbyteorder("="))
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return list(a) == list(b) and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    return bool(a == b)


def is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(is_plain(v) for v in (*value.keys(), *value.values()))
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(is_plain, value))
    if isinstance(value, np.ndarray | np.generic):
        return value.dtype.kind in "biufUS"
    return value is None or type(value) in (str, bytes, bytearray, int, float, bool)


# --- what is read -----------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(PROTOCOLS),
    st.sampled_from(["?", "i1", "<i2", ">i4", "u8", "f2", "<f4", ">f8", "U3", ">U2", "S4"]).flatmap(
        lambda code: arrays.arrays(code, arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
    ),
    st.sampled_from(["C", "F", "turned"]),
)
def test_arrays_are_read_as_numpy_reads_them(protocol: int, array: np.ndarray[Any, Any], order: str) -> None:
    given_array = {
        "C": array,
        "F": np.asfortranarray(array),
        "turned": np.moveaxis(array, 0, -1) if array.ndim else array,
    }
    content = pickle.dumps({"x": given_array[order], "again": [given_array[order]]}, protocol)
    assert equal(unpickle(content), pickle.loads(content))


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(PROTOCOLS),
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**64 - 1)
        | st.floats(allow_nan=False)
        | st.text()
        | st.binary(),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.tuples(inner)
            | st.tuples(inner, inner, inner)
            | st.tuples(inner, inner, inner, inner)
            | st.dictionaries(st.text() | st.integers(0, 300) | st.binary(), inner, max_size=4)
            | st.dictionaries(st.text(), inner, max_size=3).map(OrderedDict)
        ),
        max_leaves=12,
    ),
)
def test_plain_values_are_read_as_python_reads_them(protocol: int, value: Any) -> None:
    assert equal(unpickle(pickle.dumps(value, protocol)), value)


def test_sets_shared_values_and_numpy_scalars() -> None:
    row = np.arange(3.0)
    value = {"set": {1, "a"}, "frozen": frozenset({b"x"}), "rows": [row, row], "scalars": (np.int64(3), np.str_("ä"))}
    again = unpickle(pickle.dumps({**value, "bool": np.True_}, 4))
    assert again["set"] == {1, "a"}
    assert again["frozen"] == frozenset({b"x"})
    assert again["rows"][0] is again["rows"][1]
    assert equal(again["scalars"], value["scalars"])
    assert equal(again["bool"], np.True_)


def test_a_pickle_of_python_2() -> None:
    raw = np.array([1.5, -2.0], "<f4").tobytes()
    content = (
        b"\x80\x02}U\x01xcnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x02\x85cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89U\x08" + raw + b"tbs."
    )
    assert equal(unpickle(content), {"x": np.array([1.5, -2.0], "<f4")})


def test_arrays_are_views_that_cannot_be_written_to() -> None:
    for protocol in PROTOCOLS:
        array = unpickle(pickle.dumps(np.zeros(3), protocol))
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


@pytest.mark.skipif(not (SHARED / "data/scores/smarthome_cs").is_dir(), reason="the authors' scores are not here")
@pytest.mark.parametrize("name", ["J", "B", "JM", "BM"])
def test_the_authors_scores_are_read_as_numpy_reads_them(name: str) -> None:
    file = SHARED / "data/scores/smarthome_cs" / f"{name}_epoch1_test_score.pkl"
    assert equal(load_pickle(file), pickle.loads(file.read_bytes()))


# --- what is refused --------------------------------------------------------------------------------------------------

SYSTEM = b"cos\nsystem\n"
COMMAND = b"X\x0d\x00\x00\x00touch ../HERE"
DTYPE = b"cnumpy\ndtype\n"
RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n"
SCALAR = b"cnumpy._core.multiarray\nscalar\n"
BUFFER = b"cnumpy._core.numeric\n_frombuffer\n"
EMPTY = RECONSTRUCT + b"cnumpy\nndarray\nK\x00\x85C\x01b\x87R"
MINUS = b"J\xff\xff\xff\xff"


def text(value: str) -> bytes:
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


def data(value: bytes) -> bytes:
    return b"B" + len(value).to_bytes(4, "little") + value


def state(order: str = "<", flags: bytes = b"K\x00", fields: bytes = b"NNN", sizes: bytes = MINUS + MINUS) -> bytes:
    return b"(K\x03" + text(order) + fields + sizes + flags + b"t"


def dtype(code: str = "f8", state: bytes = state()) -> bytes:
    return DTYPE + text(code) + b"\x89\x88\x87R" + state + b"b"


def array(shape: bytes, kind: bytes, content: bytes) -> bytes:
    return EMPTY + b"(K\x01" + shape + kind + b"\x89" + content + b"tb"


def doubled(kind: bytes, times: int = 60) -> bytes:
    """Containers of two of the container before: 2^60 leaves."""
    pair = {b"t": b"\x86", b"l": b"l"}[kind]
    steps = b")q\x00" if kind == b"t" else b"]q\x00"
    for n in range(times):
        before = b"h" + bytes([n])
        steps += (b"" if kind == b"t" else b"(") + before + before + pair + b"q" + bytes([n + 1]) + b"0"
    return steps + b"h" + bytes([times])


VALUE = b"C\x08AAAAAAAA"
FORGED: dict[str, bytes] = {
    # names and calls
    "global": SYSTEM + COMMAND + b"\x85R.",
    "stack_global": b"\x8c\x02os\x8c\x06system\x93" + COMMAND + b"\x85R.",
    "inst": b"(" + COMMAND + b"ios\nsystem\n.",
    "obj": b"(" + SYSTEM + COMMAND + b"o.",
    "newobj": SYSTEM + COMMAND + b"\x85\x81.",
    "newobj_ex": SYSTEM + COMMAND + b"\x85}\x92.",
    "ext": b"\x82\x01.",
    "ext4": b"\x84\x01\x00\x00\x00.",
    "persistent": b"Pclip\n.",
    "persistent_on_stack": b"K\x01Q.",
    "buffer_outside": b"\x97.",
    "buffer_outside_readonly": b"C\x01a\x98.",
    "eval": b"cbuiltins\neval\n" + COMMAND + b"\x85R.",
    "numpy_load": b"cnumpy\nload\n" + COMMAND + b"\x85R.",
    "attribute": b"cnumpy.core.multiarray\n_reconstruct.__globals__\n.",
    "call_of_a_value": b"K\x01K\x02\x85R.",
    "call_of_an_array_type": b"cnumpy\nndarray\n" + b"K\x08\x85\x85R.",
    "a_name_is_no_value": b"]" + RECONSTRUCT + b"a.",
    "encode_rot13": b"c_codecs\nencode\n" + text("x") + text("rot13") + b"\x86R.",
    "bytes_of_a_number": b"cbuiltins\nbytes\nJ\xff\xff\xff\x7f\x85R.",
    # dtypes
    "object_scalar": SCALAR + b"(" + dtype("O8", state("|")) + VALUE + b"tR.",
    "object_array": array(b"K\x01\x85", dtype("O8"), b"]K\x01a") + b".",
    "structured": array(b"K\x01\x85", dtype("V8"), VALUE) + b".",
    "dates": array(b"K\x01\x85", dtype("M8"), VALUE) + b".",
    "code_with_fields": SCALAR + DTYPE + text("O,O") + b"\x85R" + VALUE + b"\x86R.",
    "code_of_many": SCALAR + DTYPE + text("(2,2)f4") + b"\x85R" + VALUE + b"\x86R.",
    "dtype_of_a_list": DTYPE + b"]" + text("O") + b"a\x85R.",
    "object_flags": array(b"K\x01\x85", dtype("f8", state(flags=b"K?")), VALUE) + b".",
    "forged_fields": dtype("f8", state(fields=b"N" + text("a") + b"\x85}")) + b".",
    "forged_subarray": dtype("f8", state(fields=b"K\x01NN")) + b".",
    "forged_size": dtype("f8", state(sizes=b"J\x00\x00\x01\x00K\x01")) + b".",
    "forged_text_size": dtype("U2", state(flags=b"K\x08", sizes=b"K\x40K\x04")) + b".",
    "forged_version": dtype("f8", b"(K\x04" + text("<") + b"NNN" + MINUS + MINUS + b"K\x00t") + b".",
    "forged_metadata": dtype("f8", b"(K\x04" + text("<") + b"NNN" + MINUS + MINUS + b"K\x00}t") + b".",
    "forged_order": dtype("f8", state("O")) + b".",
    "state_is_no_tuple": dtype("f8", b"}") + b".",
    "dtype_twice": dtype() + state() + b"b.",
    "no_characters": array(b")", dtype("U2", state(flags=b"K\x08", sizes=b"K\x08K\x04")), data(b"\xff" * 8)) + b".",
    # arrays
    "another_class": RECONSTRUCT + b"ccollections\nOrderedDict\nK\x00\x85C\x01b\x87R.",
    "another_shape": RECONSTRUCT + b"cnumpy\nndarray\nJ\xff\xff\xff\x7f\x85C\x01b\x87R.",
    "too_few_bytes": array(b"K\x02\x85", dtype(), VALUE) + b".",
    "too_many_bytes": array(b")", dtype(), data(b"A" * 16)) + b".",
    "negative": array(MINUS + MINUS + b"\x86", dtype(), VALUE) + b".",
    "overflow": array(b"J\x00\x00\x00\x40" * 2 + b"J\x00\x00\x00\x40\x87", dtype(), VALUE) + b".",
    "endless_and_empty": array(b"\x8a\x08" + b"\xff" * 7 + b"\x00K\x00\x86", dtype(), b"C\x00") + b".",
    "dtype_missing": array(b"K\x01\x85", b"N", VALUE) + b".",
    "state_too_short": EMPTY + b"(K\x01tb.",
    "unfinished": b"]" + EMPTY + b"a.",
    "unfinished_in_itself": EMPTY + b"q\x00" + b"(K\x01K\x01\x85" + dtype() + b"\x89h\x00tb.",
    "built_twice": array(b"K\x01\x85", dtype(), VALUE) + b"(K\x01K\x01\x85" + dtype() + b"\x89" + VALUE + b"tb.",
    "scalar_of_no_bytes": SCALAR + dtype() + b"C\x00\x86R.",
    "scalar_of_text": SCALAR + dtype() + b"K\x08\x86R.",
    "buffer_order": BUFFER + b"(" + VALUE + dtype() + b"K\x01\x85" + text("Z") + b"tR.",
    "buffer_axes": BUFFER + b"(" + VALUE + dtype() + b"K\x01\x85" + text("K") + b"K\x05\x85tR.",
    "buffer_no_bytes": BUFFER + b"(" + b"K\x08" + dtype() + b"K\x01\x85" + text("C") + b"tR.",
    "many_of_the_same_bytes": b"]q\x01(" + data(b"A" * 8000) + b"q\x000"
    + (array(b"M\xe8\x03\x85", dtype(), b"h\x00") * 300) + b"e.",
    # states and items of other things
    "state_of_a_dict": b"}}" + text("a") + b"K\x01sb.",
    "state_of_an_ordered_dict": b"ccollections\nOrderedDict\n)R}" + text("update") + b"K\x01sb.",
    "state_of_a_name": RECONSTRUCT + b"N}" + text("__call__") + b"K\x01s\x86b.",
    "items_of_a_name": b"cnumpy\nndarray\n" + text("a") + b"K\x01s.",
    "items_of_an_array": array(b"K\x01\x85", dtype(), VALUE) + b"K\x00K\x01s.",
    "append_to_bytes": b"\x96\x01\x00\x00\x00\x00\x00\x00\x00aK\x01a.",
    "additems_of_a_list": b"](K\x01\x90.",
    "odd_items": b"}(K\x01u.",
    # size and time
    "huge_memo": b"Nr\xff\xff\xff\x7fj\xff\xff\xff\x6f.",
    "huge_number": b"\x8b" + (100_000).to_bytes(4, "little") + b"\x7f" * 100_000 + b".",
    "huge_number_in_text": b"L" + b"9" * 4000 + b"L\n.",
    "huge_text": b"\x8d" + (2**62).to_bytes(8, "little") + b"a.",
    "huge_bytearray": b"\x96" + (2**40).to_bytes(8, "little") + b"a.",
    "deep_key": b"}" + doubled(b"t") + b"K\x01s.",
    "deep_key_in_a_set": b"\x8f(" + doubled(b"t") + b"\x90.",
    "deep_key_in_a_frozenset": b"(" + doubled(b"t") + b"\x91.",
    "deep_key_in_pairs": b"ccollections\nOrderedDict\n](" + doubled(b"t") + b"K\x01\x86e\x85R.",
    "exponential_tuples": doubled(b"t") + b".",
    "exponential_lists": doubled(b"l", 30) + b".",
    "exponential_value": b"}" + text("frame_dir") + doubled(b"l", 25) + b"s.",
    "wide_and_shared": b"](" + b"](" + b"N" * 200 + b"eq\x00" + b"h\x00" * 20_000 + b"e.",
    "one_large_text_many_times": b"](" + text("a" * 60_000) + b"q\x00" + b"h\x00" * 20_000 + b"e.",
    "holds_itself": b"]q\x00h\x00a.",
    "dict_holds_itself": b"}q\x00" + text("a") + b"h\x00s.",
    "holds_itself_in_a_tuple": b"]q\x00h\x00\x85a.",
    "nested": b"(" * 100_000 + b"t" * 100_000 + b".",
    "nested_through_the_memo": b"](]q\x00" + b"".join(b"]h\x00aq\x00" for _ in range(1000)) + b"e.",
    "deep": b"]" * 100_000 + b"a" * 99_999 + b".",
    # broken
    "no_stop": b"N",
    "nothing": b"",
    "only_stop": b".",
    "left_over": b"NN.",
    "open_mark": b"(N.",
    "no_mark": b"Nt.",
    "no_memo": b"h\x07.",
    "no_value": b"0.",
    "protocol_9": b"\x80\x09N.",
}  # fmt: skip

WATCHED = """
import faulthandler, json, os, sys, time
from pathlib import Path
faulthandler.enable()
from hpnet.data.pickles import load_pickle
load_pickle(sys.argv[2])
events = []
QUIET = {"open", "builtins.id", "object.__getattr__", "os.listdir", "os.scandir", "sys._getframe", "array.__new__"}
sys.addaudithook(lambda event, arguments: None if event in QUIET else events.append(event))
told = {}
for file in sorted(Path(sys.argv[1]).iterdir()):
    before, start = len(events), time.process_time()
    try:
        load_pickle(file)
        words = "READ"
    except ValueError as error:
        words = str(error)
    told[file.name] = [words, time.process_time() - start, events[before:]]
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, float, list[str]]]:
    """What a process of its own says of every forged file: words, seconds of its processor, what Python's audit saw."""
    root = tmp_path_factory.mktemp("forged")
    for folder in ("files", "home"):
        (root / folder).mkdir()
    for name, content in FORGED.items():
        (root / "files" / name).write_bytes(content)
    (root / "good").write_bytes(pickle.dumps([np.zeros(2), np.array("a"), {"a": b"b"}], 2))
    (root / "home").chmod(0o500)
    ran = subprocess.run(
        [sys.executable, "-c", WATCHED, str(root / "files"), str(root / "good")],
        cwd=root / "home",
        env={"HOME": str(root / "home"), "PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert sorted(path.name for path in root.iterdir()) == ["files", "good", "home"]
    assert not list((root / "home").iterdir())
    answers: dict[str, tuple[str, float, list[str]]] = json.loads(ran.stdout)
    return answers


@pytest.mark.parametrize("name", FORGED)
def test_forged_pickles_run_nothing_and_are_refused_soon(
    name: str, told: dict[str, tuple[str, float, list[str]]]
) -> None:
    words, seconds, events = told[name]
    assert f"{name} cannot be read as a pickle of arrays: " in words
    assert len(words) < 700
    assert seconds < 2
    assert events == []  # no name looked up, no module imported, no program, no file written


def test_what_is_nested_as_deep_as_allowed_is_read() -> None:
    value: Any = "x"
    for _ in range(DEEPEST):
        value = [value]
    assert unpickle(pickle.dumps(value)) == value
    with pytest.raises(ValueError, match=f"deeper than {DEEPEST}"):
        unpickle(pickle.dumps([value]))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_mutations_are_refused_or_give_plain_values(protocol: int) -> None:
    value = {
        "split": {"xsub_train": ["a", "b"]},
        "annotations": [
            {
                "frame_dir": "a",
                "img_shape": (4, 5),
                "label": np.int64(3),
                "keypoint": np.ones((1, 2, 17, 2), np.float16),
            },
            {"frame_dir": np.str_("b"), "label": 3, "keypoint": np.asfortranarray(np.ones((2, 2, 3))), "x": b"\xff"},
        ],
        "names": np.array(["ab", "c"]),
    }
    content = pickle.dumps(value, protocol)
    refused = 0
    for seed in range(500):
        with within(10):
            try:
                again = unpickle(mutated(content, seed))
            except (ValueError, OverflowError, MemoryError):
                refused += 1
            else:
                assert is_plain(again)
    assert refused > 100
