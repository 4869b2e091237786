"""Reading torch's files (.pt, .pth, .bin) without running any code that they name.

The pickle inside is read by an interpreter for plain values only. A global name becomes a :class:`Named`, and an object
that the file would create becomes a :class:`Made`: records without behaviour. A tensor becomes a :class:`StoredTensor`,
a place in the file. The place is checked against the file's bytes before any memory is allocated.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import pickle
import pickletools
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

MOST_PICKLE_BYTES = 64 << 20
MOST_DIRECTORY_BYTES = 16 << 20
"""Of a zip's list of contents."""
MOST_STEPS = 2_000_000
"""Of the pickle; the largest published detector has a tenth of that."""
MOST_DIMENSIONS = 8
MOST_EMPTY = 1 << 20
"""Product of a tensor's other sizes where one is zero."""
MOST_NAMES = 5000
MOST_INTEGER_BITS = 256
MOST_KEY_BITS = 64
MOST_SHARING = 4
"""Maximum total size of tensors relative to the file (shared weights count each time)."""

KNOWN_PACKAGES = frozenset(
    {"torch", "torchvision", "numpy", "collections", "_codecs", "pathlib", "argparse", "datetime", "mmengine", "mmcv",
     "mmpose", "ultralytics", "models", "utils"}
)  # fmt: skip
"""Whose names stand in checkpoints that trainers wrote; models and utils are those of the first YOLOv5."""
KNOWN_BUILTINS = frozenset({"set", "frozenset", "getattr", "slice", "complex", "bytearray", "object"})

_ZIP, _LEGACY_MAGIC, _LEGACY_PROTOCOL = b"PK\x03\x04", 0x1950A86A20F9469CFC6C, 1001
_BLOCK = 1 << 20
_SCALARS = (str, int, float, bool, bytes, type(None))
_DTYPES = {
    "FloatStorage": torch.float32, "DoubleStorage": torch.float64, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
}  # fmt: skip


class TorchFileError(ValueError):
    """A file that is not a torch file, is damaged, or is refused."""


class Refused(ValueError):
    """Why a file is not read although it may be complete."""


_BROKEN = (
    ValueError, OSError, EOFError, IndexError, KeyError, TypeError, AttributeError, OverflowError, MemoryError,
    RuntimeError, NotImplementedError, struct.error, zlib.error, zipfile.BadZipFile, pickle.UnpicklingError,
)  # fmt: skip
"""Exceptions of the standard library on damaged archives and pickles."""


# --- what a file holds ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, slots=True)
class Named:
    """A global name of a pickle: recorded, never looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"[:200]


@dataclass(eq=False, slots=True, repr=False)
class Made:
    """An object that a pickle would create by a call; nothing is called.

    Attributes:
        what: the thing that was to be called, a :class:`Named` in every file that is not contrived.
        arguments: those of the call.
        state: the object's attributes, as written.
        items, members: what was put into it, where it is a mapping or a list of some kind.
    """

    what: Any
    arguments: tuple[Any, ...] = ()
    state: Any = None
    items: dict[Any, Any] = field(default_factory=dict)
    members: list[Any] = field(default_factory=list)

    @property
    def kind(self) -> str:
        """The full name of its class or function."""
        return str(self.what) if isinstance(self.what, Named) else "something without a name"

    def attribute(self, name: str) -> Any:
        """An attribute as in the file; None if there is none."""
        return self.state.get(name) if isinstance(self.state, dict) else None


@dataclass(frozen=True, eq=False, slots=True)
class Storage:
    """A run of numbers in the file."""

    key: str
    dtype: torch.dtype
    numel: int


@dataclass(frozen=True, eq=False, slots=True)
class StoredTensor:
    """A tensor in the file: each element has its own place in the storage."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Of its elements."""
        return math.prod(self.size) * self.storage.dtype.itemsize


# --- the pickle -------------------------------------------------------------------------------------------------------


def _stored_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> StoredTensor:
    if not isinstance(storage, Storage):
        raise Refused("it holds a tensor without numbers")
    if not (isinstance(size, tuple) and isinstance(stride, tuple) and len(size) == len(stride) <= MOST_DIMENSIONS):
        raise Refused(f"it holds a tensor whose shape is no list of at most {MOST_DIMENSIONS} sizes and strides")
    if not all(type(v) is int and 0 <= v < 1 << 48 for v in (offset, *size, *stride)):
        raise Refused("it holds a tensor whose offset, sizes or strides are no counts")
    elements = math.prod(size)
    if math.prod(max(n, 1) for n in size) > max(storage.numel, MOST_EMPTY):
        raise Refused(f"it holds a tensor {size} of {storage.numel} numbers")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if elements > storage.numel or (elements and last >= storage.numel):
        raise Refused(f"it holds a tensor {size} (strides {stride}) of {storage.numel} numbers")
    # of a tensor whose elements each have their place, a longer stride steps over all that the shorter ones reach
    reached = 0
    for step, n in sorted((step, n) for n, step in zip(size, stride, strict=True) if n > 1 and elements):
        if step <= reached:
            raise Refused(f"it holds a tensor {size} whose strides {stride} read numbers twice")
        reached += (n - 1) * step
    return StoredTensor(storage, offset, size, stride)


def _parameter(data: Any, *_: Any) -> StoredTensor:
    if not isinstance(data, StoredTensor):
        raise Refused("it holds a parameter that is no tensor")
    return data


def _with_attributes(function: Any, _kind: Any, arguments: Any, _state: Any) -> StoredTensor:
    if not isinstance(function, Named) or not isinstance(arguments, tuple):
        raise Refused("it holds a tensor of an unknown kind")
    if (function.module, function.name) == ("torch._utils", "_rebuild_tensor_v2"):
        return _stored_tensor(*arguments)
    if (function.module, function.name) == ("torch._utils", "_rebuild_parameter"):
        return _parameter(*arguments)
    raise Refused(f"it holds a tensor of an unknown kind ({function})")


def _members(values: Any = ()) -> Any:
    """A set as a list of its members, without hashes."""
    return values


_BUILDERS: dict[tuple[str, str], Callable[..., Any]] = {
    ("torch._utils", "_rebuild_tensor"): _stored_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _stored_tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    ("torch._tensor", "_rebuild_from_type_v2"): _with_attributes,
    ("torch", "Size"): _members,
    **{(place, kind): _members for place in ("builtins", "__builtin__") for kind in ("set", "frozenset")},
}
_PUSHED = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES",
    "BINBYTES8", "BYTEARRAY8",
}  # fmt: skip
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _Machine:
    """Interprets a pickle's steps and keeps plain values; time and memory are proportional to the number of steps."""

    def __init__(self) -> None:
        self.named: dict[str, None] = {}
        self.storages: list[Storage] = []
        self._steps = 0
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def read(self, stream: Any) -> Any:
        """The value of the next pickle of a stream."""
        self._stack, self._marks, self._memo = [], [], {}
        for opcode, argument, _ in pickletools.genops(stream):
            self._spend(1)
            name = opcode.name
            if name == "STOP":
                break
            if name in _PUSHED:
                self._push_value(argument)
            elif name in _CONSTANTS:
                self._stack.append(_CONSTANTS[name])
            elif name in _TUPLES:
                self._stack[-_TUPLES[name] :] = [tuple(self._last(_TUPLES[name]))]
            elif name not in ("PROTO", "FRAME"):
                step = getattr(self, f"_{name.lower()}", None)
                if step is None:
                    raise Refused(f"its pickle uses {name}")
                step(argument)
        return self._stack.pop()

    def _spend(self, steps: int) -> None:
        self._steps += steps
        if self._steps > MOST_STEPS:
            raise Refused(f"its pickle has more than {MOST_STEPS:,} steps")

    def _push_value(self, value: Any) -> None:
        if isinstance(value, int) and value.bit_length() > MOST_INTEGER_BITS:
            raise Refused(f"it holds a whole number of {value.bit_length()} bits")
        self._stack.append(value)

    def _last(self, count: int) -> list[Any]:
        if len(self._stack) < count:
            raise pickle.UnpicklingError("its stack is empty")
        return self._stack[-count:]

    def _since_mark(self) -> list[Any]:
        start = self._marks.pop()
        values = self._stack[start:]
        del self._stack[start:]
        return values

    # stack and memo

    def _mark(self, _: Any) -> None:
        self._marks.append(len(self._stack))

    def _pop(self, _: Any) -> None:
        self._stack.pop()

    def _pop_mark(self, _: Any) -> None:
        self._since_mark()

    def _dup(self, _: Any) -> None:
        self._stack.append(self._stack[-1])

    def _put(self, index: Any) -> None:
        self._memo[int(index)] = self._stack[-1]

    _binput = _long_binput = _put

    def _memoize(self, _: Any) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _get(self, index: Any) -> None:
        self._stack.append(self._memo[int(index)])

    _binget = _long_binget = _get

    # containers

    def _empty_list(self, _: Any) -> None:
        self._stack.append([])

    _empty_set = _empty_list

    def _empty_dict(self, _: Any) -> None:
        self._stack.append({})

    def _empty_tuple(self, _: Any) -> None:
        self._stack.append(())

    def _list(self, _: Any) -> None:
        self._stack.append(self._since_mark())

    _frozenset = _list

    def _tuple(self, _: Any) -> None:
        self._stack.append(tuple(self._since_mark()))

    def _dict(self, _: Any) -> None:
        values = self._since_mark()
        made: dict[Any, Any] = {}
        self._fill(made, zip(values[::2], values[1::2], strict=True))
        self._stack.append(made)

    def _append(self, _: Any) -> None:
        self._extend([self._stack.pop()])

    def _appends(self, _: Any) -> None:
        self._extend(self._since_mark())

    _additems = _appends

    def _extend(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, Made):
            target = target.members
        if not isinstance(target, list):
            raise pickle.UnpicklingError("it adds to something that is no list")
        target.extend(values)

    def _setitem(self, _: Any) -> None:
        key, value = self._last(2)
        del self._stack[-2:]
        self._fill(self._stack[-1], [(key, value)])

    def _setitems(self, _: Any) -> None:
        values = self._since_mark()
        self._fill(self._stack[-1], zip(values[::2], values[1::2], strict=True))

    def _fill(self, target: Any, pairs: Iterable[tuple[Any, Any]]) -> None:
        if isinstance(target, Made):
            target = target.items
        if not isinstance(target, dict):
            raise pickle.UnpicklingError("it fills something that is no dict")
        for key, value in pairs:
            # hashes of nested tuples may take very long, and long numbers can collide; records hash by identity
            if not isinstance(key, (*_SCALARS, Named, Made)) or (type(key) is int and key.bit_length() > MOST_KEY_BITS):
                raise Refused(f"it holds a dict with a key that is no plain value ({type(key).__name__})")
            target[key] = value

    # names and calls

    def _global(self, both: Any) -> None:
        module, _, name = str(both).partition(" ")
        self._name(module, name)

    def _stack_global(self, _: Any) -> None:
        module, name = self._last(2)
        del self._stack[-2:]
        self._name(module, name)

    def _name(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str) or len(module) + len(name) > 400:
            raise Refused("it names something that is no name")
        found = Named(module, name)
        self.named[str(found)] = None
        if len(self.named) > MOST_NAMES:
            raise Refused(f"it names more than {MOST_NAMES:,} things")
        self._stack.append(found)

    def _inst(self, both: Any) -> None:
        arguments = tuple(self._since_mark())
        self._global(both)
        self._stack[-1] = self._made(self._stack[-1], arguments)

    def _obj(self, _: Any) -> None:
        what, *arguments = self._since_mark()
        self._stack.append(self._made(what, tuple(arguments)))

    def _reduce(self, _: Any) -> None:
        what, arguments = self._last(2)
        self._stack[-2:] = [self._made(what, arguments)]

    _newobj = _reduce

    def _newobj_ex(self, _: Any) -> None:
        what, arguments, _named = self._last(3)
        self._stack[-3:] = [self._made(what, arguments)]

    def _made(self, what: Any, arguments: Any) -> Any:
        if not isinstance(arguments, tuple):
            raise pickle.UnpicklingError("it calls something with arguments that are no tuple")
        if isinstance(what, Named):
            if (what.module, what.name) == ("collections", "OrderedDict"):
                return self._ordered(*arguments)
            builder = _BUILDERS.get((what.module, what.name))
            if builder is not None:
                return builder(*arguments)
        return Made(what, arguments)

    def _ordered(self, pairs: Any = ()) -> dict[Any, Any]:
        self._spend(len(pairs))
        made: dict[Any, Any] = {}
        self._fill(made, ((key, value) for key, value in pairs))
        return made

    def _build(self, _: Any) -> None:
        state = self._stack.pop()
        if isinstance(self._stack[-1], Made):
            self._stack[-1].state = state

    # storages

    def _binpersid(self, _: Any) -> None:
        identity = self._stack.pop()
        if not isinstance(identity, tuple) or not identity:
            raise Refused("it refers to something outside the file")
        if identity[0] == "module" and len(identity) == 4:  # a class with its source text, in files before 2019
            self._stack.append(identity[1])
            return
        if identity[0] != "storage" or len(identity) not in (5, 6) or identity[5:] not in ((), (None,)):
            raise Refused("it refers to something outside the file")
        kind, key, _location, numel = identity[1:5]
        if not isinstance(kind, Named) or kind.name not in _DTYPES or kind.module not in ("torch", "torch.storage"):
            raise Refused(f"it holds numbers of a kind that is not read ({kind if isinstance(kind, Named) else '?'})")
        if not isinstance(key, str) or type(numel) is not int or not 0 <= numel < 1 << 48:
            raise Refused("it holds numbers without a key or a count")
        self.storages.append(Storage(key, _DTYPES[kind.name], numel))
        self._stack.append(self.storages[-1])


# --- the file ---------------------------------------------------------------------------------------------------------


class _Bounded(io.BufferedReader):
    """A file with a limit of ``most`` bytes for each read, so that a length in the file is checked first."""

    most = MOST_PICKLE_BYTES

    def read(self, size: int | None = -1, /) -> bytes:
        """Refuses a size over ``most``."""
        if size is not None and size > self.most:
            raise Refused(f"it asks for {size:,} bytes at once, more than {self.most:,}")
        return super().read(self.most if size is None or size < 0 else size)

    def readline(self, size: int | None = -1, /) -> bytes:
        """Up to ``most`` bytes."""
        return super().readline(self.most)


@dataclass(frozen=True)
class _Place:
    """Place of a storage's bytes: in a member of a zip, or from a position on."""

    nbytes: int
    member: str = ""
    start: int = 0


class TorchFile:
    """A torch file whose pickle was read, and whose tensors are read when asked for.

    Attributes:
        content: plain values, :class:`Named`, :class:`Made` and :class:`StoredTensor`; may hold itself.
        named: every global name in the pickle.
    """

    def __init__(self, path: str | Path) -> None:
        """Read all but the tensors.

        Raises:
            FileNotFoundError: no such file.
            PermissionError: it may not be read.
            TorchFileError: it is no torch file, damaged, or over a bound.
        """
        self.path = Path(path)
        self._machine = _Machine()
        self._places: dict[str, _Place] = {}
        with self.path.open("rb", buffering=0) as raw, _reasons(self.path), _Bounded(raw) as file:
            self._bytes = os.fstat(raw.fileno()).st_size
            self._is_zip = file.peek(4)[:4] == _ZIP
            self.content = self._read_zip(file) if self._is_zip else self._read_legacy(file)
            for name in self._machine.named:
                package, _, rest = name.partition(".")
                if package not in KNOWN_PACKAGES and not (
                    package in ("builtins", "__builtin__") and rest in KNOWN_BUILTINS
                ):
                    raise Refused(f"it holds objects besides tensors and plain values: it names {name}")
        self.named = tuple(self._machine.named)

    def tensors(self, stored: Mapping[str, StoredTensor]) -> dict[str, Tensor]:
        """The tensors, on the CPU; views of one storage share its memory.

        Raises:
            TorchFileError: they are many times what the file holds, or the file is damaged.
        """
        with self.path.open("rb") as file, _reasons(self.path):
            asked = sum(one.nbytes for one in stored.values())
            held = sum(place.nbytes for place in self._places.values())
            if asked > MOST_SHARING * held:
                raise Refused(f"its tensors have {asked:,} bytes, the file {held:,}")
            archive = zipfile.ZipFile(file) if self._is_zip else None
            read: dict[str, bytearray] = {}
            for one in stored.values():
                key = one.storage.key
                if key not in read:
                    read[key] = self._raw(key, file, archive)
            return {name: _view(one, read[one.storage.key]) for name, one in stored.items()}

    def check(self) -> None:
        """Read every tensor's numbers once, and compare their checksums.

        Raises:
            TorchFileError: the file is damaged.
        """
        with self.path.open("rb") as file, _reasons(self.path):
            archive = zipfile.ZipFile(file) if self._is_zip else None
            for key in self._places:
                self._raw(key, file, archive)

    def _read_zip(self, file: _Bounded) -> Any:
        file.most = MOST_DIRECTORY_BYTES
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            if any(m.filename.endswith("/constants.pkl") for m in members):
                raise Refused("it is a TorchScript program; save its state_dict() instead")
            # deflated members, and members that share their bytes, hold more than the file does
            if any(m.compress_type != zipfile.ZIP_STORED or m.file_size != m.compress_size for m in members):
                raise Refused("it is a compressed archive; torch writes none")
            if sum(m.file_size for m in members) > self._bytes:
                raise Refused("its parts are larger than the file")
            sizes = {m.filename: m.file_size for m in members}
            roots = [
                name.removesuffix("data.pkl") for name in sizes if name.count("/") == 1 and name[-9:] == "/data.pkl"
            ]
            if len(roots) != 1:
                raise pickle.UnpicklingError("an archive without torch's data.pkl")
            root = roots[0]
            if sizes[f"{root}data.pkl"] > MOST_PICKLE_BYTES:
                raise Refused(f"its pickle is larger than {MOST_PICKLE_BYTES:,} bytes")
            if f"{root}byteorder" in sizes and archive.read(f"{root}byteorder") != b"little":
                raise Refused("its numbers are written in another byte order")
            file.most = MOST_PICKLE_BYTES
            content = self._machine.read(io.BytesIO(archive.read(f"{root}data.pkl")))
        for storage in self._machine.storages:
            member = f"{root}data/{storage.key}"
            if member not in sizes:
                raise pickle.UnpicklingError(f"{member[:100]} is missing")
            self._settle(storage, _Place(sizes[member], member))
        return content

    def _read_legacy(self, file: _Bounded) -> Any:
        """Torch's format before 1.6: pickles, then the storages one after the other."""
        if (self._machine.read(file), self._machine.read(file)) != (_LEGACY_MAGIC, _LEGACY_PROTOCOL):
            raise pickle.UnpicklingError("no torch file")
        system = self._machine.read(file)
        if not isinstance(system, dict) or system.get("little_endian") is not True:
            raise Refused("its numbers are written in another byte order")
        content = self._machine.read(file)
        keys = self._machine.read(file)
        known = {storage.key: storage for storage in self._machine.storages}
        for key in keys:
            (numel,) = struct.unpack("<q", file.read(8))
            nbytes = numel * known[key].dtype.itemsize
            start = file.tell()
            if not 0 <= nbytes <= self._bytes - start:
                raise EOFError("its numbers are cut off")
            self._places[key] = _Place(nbytes, start=start)
            file.seek(start + nbytes)
        for storage in self._machine.storages:
            self._settle(storage, self._places[storage.key])
        return content

    def _settle(self, storage: Storage, place: _Place) -> None:
        if storage.numel * storage.dtype.itemsize > place.nbytes:
            raise Refused(f"it promises {storage.numel:,} numbers in {place.nbytes:,} bytes")
        self._places[storage.key] = place

    def _raw(self, key: str, file: io.BufferedReader, archive: zipfile.ZipFile | None) -> bytearray:
        place = self._places[key]
        if archive is not None:
            with archive.open(place.member) as member:  # compares the checksum at the end
                data = bytearray(place.nbytes)
                got = 0
                while block := member.read(_BLOCK):
                    data[got : got + len(block)] = block
                    got += len(block)
        else:
            file.seek(place.start)
            data = bytearray(file.read(place.nbytes))
        if len(data) != place.nbytes:
            raise EOFError("its numbers are cut off")
        return data


@contextlib.contextmanager
def _reasons(path: Path) -> Iterator[None]:
    """Turns what the standard library says about damaged files into one sentence that names the file."""
    try:
        yield
    except Refused as error:
        raise TorchFileError(f"weights {path} are not loaded: {error}") from None
    except _BROKEN as error:
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise TorchFileError(
            f"weights {path} are no checkpoint, or half-downloaded ({why}): fetch them again"
        ) from None


def _view(one: StoredTensor, data: bytearray) -> Tensor:
    dtype = one.storage.dtype
    if not math.prod(one.size):
        return torch.empty(one.size, dtype=dtype)
    # a byte that is neither 0 nor 1 is no truth value
    kind = torch.uint8 if dtype is torch.bool else dtype
    numbers = torch.frombuffer(data, dtype=kind, count=one.storage.numel)
    tensor = numbers.as_strided(one.size, one.stride, one.offset)
    return tensor.ne(0) if dtype is torch.bool else tensor
