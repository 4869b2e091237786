"""Reads a pickle as data: an own interpreter for arrays, containers, text and numbers, which calls nothing.

A pickle is a program for a stack machine, and its names may be any function. Python's own machine is not used here.
Numpy's functions that rebuild arrays are not used either, because a forged dtype turns bytes into any object. The
standard library's :func:`pickletools.genops` splits the file into its steps without running them. The steps for
numbers, text, containers and arrays are done here, and every other step is refused by its name. The names that numpy's
arrays need are mapped to the classes below, which check their arguments and build the array from its bytes.

Memory, time, and the size of the result with shared parts counted each time, are limited by the file's size. Arrays are
read-only views of the file's bytes.
"""

from __future__ import annotations

import collections
import math
import pickletools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

READ = "only arrays, dicts, lists, text and numbers are read"
DEEPEST = 32
"""Maximum depth of containers; files of poses and scores have five."""
MOST_SHARED = 10
"""Maximum size of the content relative to the file, with shared parts counted each time."""
LONGEST_EMPTY = 2**20
"""Maximum lengths of an array without elements, which has no bytes in the file."""
CHUNK_BYTES = 256
"""Text, bytes and arrays count one for each piece of this size."""

_DTYPE = re.compile(r"[<>=|]?(b1|[iu][1248]|f[248]|[US][1-9]\d{0,6})")
_NUMPY_CORES = ("numpy.core", "numpy._core")  # of numpy 1 and 2
_NAMES: dict[tuple[str, str], str] = {
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    ("collections", "OrderedDict"): "OrderedDict",
    ("_codecs", "encode"): "encode",
    ("builtins", "bytes"): "bytes",
    ("__builtin__", "bytes"): "bytes",
    **{(f"{core}.multiarray", name): name for core in _NUMPY_CORES for name in ("_reconstruct", "scalar")},
    **{(f"{core}.numeric", "_frombuffer"): "_frombuffer" for core in _NUMPY_CORES},
}
_PUSHED = frozenset(
    ("NONE", "NEWTRUE", "NEWFALSE", "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT",
     "BINFLOAT", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
     "BYTEARRAY8")
)  # fmt: skip
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_LEAVES = frozenset((str, bytes, bytearray, int, float, bool, type(None), np.ndarray))
_CONTAINERS = (dict, list, tuple, set, frozenset)


class RefusedPickle(ValueError):
    """The file needs more than plain data, or is not a pickle."""


@dataclass(frozen=True)
class _Name:
    """A name that a file may use; its arguments decide."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass
class _Dtype:
    """A dtype under construction: REDUCE gives its name and BUILD its byte order."""

    code: str
    dtype: np.dtype[Any] | None = None

    def build(self, state: Any, room: Callable[[int], None]) -> None:
        """Read the byte order from numpy's state, if the rest of it is that of a plain dtype."""
        plain = np.dtype(self.code)
        text = plain.kind in "US"
        sizes = (plain.itemsize, 4 if plain.kind == "U" else 1) if text else (-1, -1)
        orders = "|" if plain.itemsize == 1 or plain.kind == "S" else "<>="
        if (
            self.dtype is not None
            or not isinstance(state, tuple)
            or len(state) != 8
            or not all(isinstance(part, int) for part in (state[0], *state[5:]))
            or state[0] != 3
            or not isinstance(state[1], str)
            or len(state[1]) != 1
            or state[1] not in orders
            or any(part is not None for part in state[2:5])
            or state[5:7] != sizes
            or state[7] not in ((0, 8) if plain.kind == "U" else (0,))
        ):
            raise RefusedPickle(f"the dtype {self.code!r} has a state that numpy's own files do not have")
        self.dtype = np.dtype(f"{state[1]}{plain.str[1:]}")

    def finished(self) -> np.dtype[Any]:
        return np.dtype(self.code) if self.dtype is None else self.dtype


@dataclass
class _Array:
    """An array under construction: ``_reconstruct`` starts it, BUILD gives shape, dtype and bytes."""

    array: NDArray[Any] | None = None

    def build(self, state: Any, room: Callable[[int], None]) -> None:
        if self.array is not None or not isinstance(state, tuple) or len(state) != 5 or not _is_int(state[0], 1):
            raise RefusedPickle("an array has a state that numpy's own files do not have")
        _, shape, dtype, fortran, content = state
        self.array = _array(content, dtype, shape, "F" if fortran is True or _is_int(fortran, 1) else "C", room)

    def finished(self) -> NDArray[Any]:
        if self.array is None:
            raise RefusedPickle("it uses an array before its contents are given")
        return self.array


_BOXES = (_Array, _Dtype)


def _is_int(value: Any, wanted: int) -> bool:
    return isinstance(value, int) and value == wanted


def _is_one_of(value: Any, *wanted: str | bytes) -> bool:
    return isinstance(value, str | bytes) and value in wanted


def _array(content: Any, dtype: Any, shape: Any, order: str, room: Callable[[int], None]) -> NDArray[Any]:
    """The array whose elements are these bytes, in this machine's byte order; read-only."""
    if not isinstance(dtype, np.dtype):
        raise RefusedPickle("an array has no dtype")
    if isinstance(content, str):
        content = content.encode("latin1")  # a byte string of Python 2
    if not isinstance(content, bytes | bytearray):
        raise RefusedPickle(f"an array of {dtype} holds a {type(content).__name__}; expected its bytes")
    if not isinstance(shape, tuple) or len(shape) > 32 or not all(type(n) is int and n >= 0 for n in shape):
        raise RefusedPickle("an array's shape is not a tuple of at most 32 lengths")
    if math.prod(shape) * dtype.itemsize != len(content):
        raise RefusedPickle(f"an array of {dtype}, shape {_short(str(shape))}, has {len(content)} bytes")
    if not content and max(shape) > LONGEST_EMPTY:
        raise RefusedPickle(f"an array without elements has shape {_short(str(shape))}")
    room(len(content))
    flat = np.frombuffer(content, dtype) if content else np.zeros(0, dtype)
    if dtype.kind == "U" and flat.size and int(flat.view(f"{dtype.byteorder}u4").max()) > 0x10FFFF:
        raise RefusedPickle("an array of text has numbers that are not characters")
    flat = flat.astype(dtype.newbyteorder("="), copy=False)
    flat.flags.writeable = False
    return flat.reshape(shape, order="F" if order == "F" else "C")


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}..."


def _check_key(key: Any) -> None:
    """Check that a key is text, bytes or a number, because the hash of a nested tuple can take very long."""
    if not isinstance(key, str | bytes | int | float | np.generic | None):
        raise RefusedPickle(f"a {type(key).__name__} is a key of a dict or in a set; only text and numbers are read")


class _Machine:
    """The stack, the memo and the steps."""

    def __init__(self, size: int) -> None:
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # what is under each mark
        self.memo: dict[int, Any] = {}
        self.left = {"arrays": size, "bytes": size}
        self.steps: dict[str, Callable[[Any], None]] = {
            "MARK": self.mark, "POP": self.drop, "POP_MARK": self.drop_to_mark, "DUP": self.again,
            "PROTO": self.protocol, "FRAME": self.nothing,
            "PUT": self.store, "BINPUT": self.store, "LONG_BINPUT": self.store, "MEMOIZE": self.store_next,
            "GET": self.fetch, "BINGET": self.fetch, "LONG_BINGET": self.fetch,
            "STRING": self.old_text, "BINSTRING": self.old_text, "SHORT_BINSTRING": self.old_text,
            "EMPTY_TUPLE": self.empty_tuple, "TUPLE1": self.tuple1, "TUPLE2": self.tuple2, "TUPLE3": self.tuple3,
            "TUPLE": self.tuple_to_mark,
            "EMPTY_LIST": self.empty_list, "LIST": self.list_to_mark, "APPEND": self.append, "APPENDS": self.extend,
            "EMPTY_DICT": self.empty_dict, "DICT": self.dict_to_mark, "SETITEM": self.set_item,
            "SETITEMS": self.set_items,
            "EMPTY_SET": self.empty_set, "FROZENSET": self.frozen_set, "ADDITEMS": self.add_items,
            "GLOBAL": self.name_in_file, "STACK_GLOBAL": self.name_on_stack,
            "REDUCE": self.call, "BUILD": self.build,
        }  # fmt: skip
        self.calls: dict[str, Callable[..., Any]] = {
            "dtype": self.make_dtype, "_reconstruct": self.make_array, "scalar": self.make_scalar,
            "_frombuffer": self.make_array_of, "encode": self.make_bytes, "bytes": self.make_no_bytes,
            "OrderedDict": self.make_ordered,
        }  # fmt: skip

    def run(self, content: bytes) -> Any:
        """The value on top at the step STOP."""
        count = 0
        for opcode, argument, _ in pickletools.genops(content):
            count += 1
            name = opcode.name
            if name in _PUSHED:
                if type(argument) is int and not -(2**63) <= argument < 2**64:
                    raise RefusedPickle("a whole number has more than 64 bits")
                self.stack.append(_CONSTANTS[name] if argument is None else argument)
            elif name in self.steps:
                self.steps[name](argument)
            elif name == "STOP":
                break
            else:
                raise RefusedPickle(f"it has the step {name}; {READ}")
        if self.below or len(self.stack) != 1:
            raise RefusedPickle("it leaves other values on its stack")
        result = self.take()
        _Weight(MOST_SHARED * (1000 + count + len(content) // CHUNK_BYTES)).of(result, 1)
        return result

    # --- stack ---

    def take(self) -> Any:
        """Pop the value on top; an array or dtype must be complete."""
        if not self.stack:
            raise RefusedPickle("it uses a value that is not there")
        value = self.stack.pop()
        return value.finished() if isinstance(value, _BOXES) else value

    def take_to_mark(self) -> list[Any]:
        values = self.stack
        if not self.below:
            raise RefusedPickle("it uses a mark that is not there")
        self.stack = self.below.pop()
        return [value.finished() if isinstance(value, _BOXES) else value for value in values]

    def top(self, kind: type[Any], what: str) -> Any:
        """The container on top, which stays on the stack."""
        if not self.stack or not isinstance(self.stack[-1], kind):
            raise RefusedPickle(f"it adds to {what}, but there is none")
        return self.stack[-1]

    def mark(self, _: Any) -> None:
        self.below.append(self.stack)
        self.stack = []

    def drop(self, _: Any) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.take_to_mark()

    def drop_to_mark(self, _: Any) -> None:
        self.take_to_mark()

    def again(self, _: Any) -> None:
        value = self.take()
        self.stack += [value, value]

    def protocol(self, version: int) -> None:
        if version > 5:
            raise RefusedPickle(f"it is of protocol {version}; 0 to 5 are read")

    def nothing(self, _: Any) -> None:
        pass

    # --- memo ---

    def store(self, place: int) -> None:
        if not self.stack:
            raise RefusedPickle("it stores a value that is not there")
        self.memo[place] = self.stack[-1]

    def store_next(self, _: Any) -> None:
        self.store(len(self.memo))

    def fetch(self, place: int) -> None:
        if place not in self.memo:
            raise RefusedPickle("it uses a stored value that is not there")
        self.stack.append(self.memo[place])

    # --- values ---

    def old_text(self, text: str) -> None:
        """A string of Python 2: text if it is ASCII, else bytes."""
        self.stack.append(text if text.isascii() else text.encode("latin1"))

    def empty_tuple(self, _: Any) -> None:
        self.stack.append(())

    def tuple1(self, _: Any) -> None:
        self.stack.append((self.take(),))

    def tuple2(self, _: Any) -> None:
        second = self.take()
        self.stack.append((self.take(), second))

    def tuple3(self, _: Any) -> None:
        third, second = self.take(), self.take()
        self.stack.append((self.take(), second, third))

    def tuple_to_mark(self, _: Any) -> None:
        values = self.take_to_mark()
        self.stack.append(tuple(values))

    def empty_list(self, _: Any) -> None:
        self.stack.append([])

    def list_to_mark(self, _: Any) -> None:
        values = self.take_to_mark()
        self.stack.append(values)

    def append(self, _: Any) -> None:
        value = self.take()
        self.top(list, "a list").append(value)

    def extend(self, _: Any) -> None:
        values = self.take_to_mark()
        self.top(list, "a list").extend(values)

    def empty_dict(self, _: Any) -> None:
        self.stack.append({})

    def dict_to_mark(self, _: Any) -> None:
        values = self.take_to_mark()
        self.stack.append({})
        self._fill(values)

    def set_item(self, _: Any) -> None:
        value, key = self.take(), self.take()
        self._fill([key, value])

    def set_items(self, _: Any) -> None:
        self._fill(self.take_to_mark())

    def _fill(self, values: list[Any]) -> None:
        target = self.top(dict, "a dict")
        if len(values) % 2:
            raise RefusedPickle("a key of a dict has no value")
        for key, value in zip(values[::2], values[1::2], strict=True):
            _check_key(key)
            target[key] = value

    def empty_set(self, _: Any) -> None:
        self.stack.append(set())

    def frozen_set(self, _: Any) -> None:
        values = self.take_to_mark()
        for value in values:
            _check_key(value)
        self.stack.append(frozenset(values))

    def add_items(self, _: Any) -> None:
        values = self.take_to_mark()
        for value in values:
            _check_key(value)
        self.top(set, "a set").update(values)

    # --- names, and what they stand for ---

    def name_in_file(self, both: str) -> None:
        module, _, name = both.partition(" ")
        self._name(module, name)

    def name_on_stack(self, _: Any) -> None:
        name, module = self.take(), self.take()
        if not isinstance(name, str) or not isinstance(module, str):
            raise RefusedPickle("it uses a name that is not text")
        self._name(module, name)

    def _name(self, module: str, name: str) -> None:
        if (module, name) not in _NAMES:
            raise RefusedPickle(f"it uses {_short(f'{module}.{name}')}; {READ}")
        self.stack.append(_Name(module, name))

    def call(self, _: Any) -> None:
        arguments, name = self.take(), self.take()
        if not isinstance(name, _Name) or not isinstance(arguments, tuple):
            raise RefusedPickle(f"it calls a {type(name).__name__}; {READ}")
        make = self.calls.get(_NAMES[name.module, name.name])
        if make is None:
            raise RefusedPickle(f"it calls {name}; {READ}")
        self.stack.append(make(name, *arguments) if len(arguments) <= 5 else _refuse_arguments(name))

    def build(self, _: Any) -> None:
        state = self.take()
        if not self.stack or not isinstance(self.stack[-1], _BOXES):
            raise RefusedPickle(f"it sets the state of an object that is not an array; {READ}")
        self.stack[-1].build(state, self.array_bytes)

    def array_bytes(self, count: int) -> None:
        """Count bytes of arrays; all arrays together cannot have more bytes than the file."""
        self._spend("arrays", count)

    def _spend(self, what: str, count: int) -> None:
        self.left[what] -= count
        if self.left[what] < 0:
            raise RefusedPickle(f"its {what} are larger than the whole file")

    def make_dtype(self, name: _Name, code: Any = None, *flags: Any) -> _Dtype:
        if not isinstance(code, str) or len(flags) > 2 or not all(_is_int(f, 0) or _is_int(f, 1) for f in flags):
            _refuse_arguments(name)
        if not _DTYPE.fullmatch(code):
            raise RefusedPickle(f"it holds an array of {_short(code)!r}; only numbers, booleans and text are read")
        return _Dtype(code)

    def make_array(self, name: _Name, kind: Any = None, shape: Any = None, code: Any = None, *rest: Any) -> _Array:
        named = isinstance(kind, _Name) and _NAMES[kind.module, kind.name] == "ndarray"
        empty = isinstance(shape, tuple) and len(shape) == 1 and _is_int(shape[0], 0)
        if not named or not empty or not _is_one_of(code, "b", b"b") or rest:
            _refuse_arguments(name)
        return _Array()

    def make_scalar(self, name: _Name, dtype: Any = None, content: Any = None, *rest: Any) -> Any:
        if rest:
            _refuse_arguments(name)
        return _array(content, dtype, (), "C", self.array_bytes)[()]

    def make_array_of(self, name: _Name, *arguments: Any) -> NDArray[Any]:
        """An array of protocol 5: bytes, dtype, shape, order, and for order K the memory order of its axes."""
        if len(arguments) not in (4, 5) or not _is_one_of(arguments[3], "C", "F", "K"):
            _refuse_arguments(name)
        content, dtype, shape, order = arguments[:4]
        array = _array(content, dtype, shape, order, self.array_bytes)
        if order != "K":
            return array
        axes = arguments[4] if len(arguments) == 5 else None
        if not isinstance(axes, tuple) or not all(type(axis) is int for axis in axes):
            _refuse_arguments(name)
        if sorted(axes) != list(range(array.ndim)):
            _refuse_arguments(name)
        return array.transpose(axes)

    def make_bytes(self, name: _Name, text: Any = None, encoding: Any = None, *rest: Any) -> bytes:
        """Bytes of protocols 0 to 2, which have no step for them."""
        if not isinstance(text, str) or not _is_one_of(encoding, "latin1", "latin-1") or rest:
            _refuse_arguments(name)
        self._spend("bytes", len(text))
        return text.encode("latin1")

    def make_no_bytes(self, name: _Name, *rest: Any) -> bytes:
        if rest:
            _refuse_arguments(name)
        return b""

    def make_ordered(self, name: _Name, pairs: Any = (), *rest: Any) -> collections.OrderedDict[Any, Any]:
        if rest or not isinstance(pairs, list | tuple):
            _refuse_arguments(name)
        made: collections.OrderedDict[Any, Any] = collections.OrderedDict()
        self._spend("bytes", len(pairs))
        for pair in pairs:
            if not isinstance(pair, list | tuple) or len(pair) != 2:
                _refuse_arguments(name)
            _check_key(pair[0])
            made[pair[0]] = pair[1]
        return made


def _refuse_arguments(name: _Name) -> NoReturn:
    raise RefusedPickle(f"it calls {name} with other arguments than numpy's own files")


class _Weight:
    """Size of a value with shared parts counted each time; refuses values that are too large, too deep or endless."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.known: dict[int, tuple[int, int]] = {}  # container -> weight and height; (0, 0) while it is being weighed

    def of(self, value: Any, depth: int) -> tuple[int, int]:
        """Weight and height."""
        if type(value) in _LEAVES or isinstance(value, np.generic):
            if isinstance(value, str | bytes | bytearray):
                return 1 + len(value) // CHUNK_BYTES, 0
            return 1 + (value.nbytes // CHUNK_BYTES if isinstance(value, np.ndarray) else 0), 0
        if not isinstance(value, _CONTAINERS):
            raise RefusedPickle(f"it holds {_short(str(value))}, which is not a value; {READ}")
        weight, height = self.known.get(id(value), (1, -1))
        if not weight:
            raise RefusedPickle(f"a {type(value).__name__} contains itself")
        if height < 0:
            if depth > DEEPEST:
                raise RefusedPickle(f"it is nested deeper than {DEEPEST} containers")
            self.known[id(value)] = (0, 0)
            weight, height = self._inside(value.values() if isinstance(value, dict) else value, depth)
            self.known[id(value)] = (weight, height)
        if depth + height > DEEPEST + 1:
            raise RefusedPickle(f"it is nested deeper than {DEEPEST} containers")
        return weight, height

    def _inside(self, members: Iterable[Any], depth: int) -> tuple[int, int]:
        weight, height = 1, 0
        for member in members:
            inner, levels = self.of(member, depth + 1)
            weight, height = weight + inner, max(height, levels)
            if weight > self.most:
                raise RefusedPickle(
                    f"with shared values counted each time, it has more than {MOST_SHARED} times the file's size"
                )
        return weight, height + 1


def unpickle(content: bytes) -> Any:
    """The value of a pickle: dicts, lists, tuples, sets, text, bytes, numbers, booleans, None and arrays of these.

    Raises:
        ValueError: the pickle is damaged, or needs anything else; names it.
    """
    return _Machine(len(content)).run(content)
