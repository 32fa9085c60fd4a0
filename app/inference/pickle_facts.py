"""What a pickle says of itself: the classes and functions that it names and the scikit-learn that wrote it.

The opcodes are read and never executed: nothing is imported, and no object of the file is made.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import math
import pickletools  # nosec B403 - reads opcodes, executes none
import re
import zlib
from collections.abc import Mapping
from typing import IO, Any

import msgspec

# A forest of 500 trees has about 20,000 opcodes; a file with more is read up to here, which takes seconds.
_MOST_OPCODES = 3_000_000
_WRAPPER = ("joblib.numpy_pickle", "NumpyArrayWrapper")
_RECONSTRUCTORS = (("copy_reg", "_reconstructor"), ("copyreg", "_reconstructor"))
_STRINGS = ("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8")
_SIZE = re.compile(r"\D*(\d+)$")
# Each begins a compressed joblib file of that kind. The first two bytes of zlib's depend on its level.
_OPENERS: tuple[tuple[bytes, Any], ...] = (
    (b"\x1f\x8b", gzip.open),
    (b"BZ", bz2.open),
    (b"\xfd7zXZ", lzma.open),
    (b"\x5d\x00", lzma.open),
)


class PickleFacts(msgspec.Struct, frozen=True):
    """The names in a pickle, as (module, name), and the versions of scikit-learn that its estimators recorded.

    `complete` is false where the opcodes could not be read to the end.
    """

    names: tuple[tuple[str, str], ...] = ()
    sklearn_versions: tuple[str, ...] = ()
    complete: bool = False

    @property
    def packages(self) -> tuple[str, ...]:
        """The top-level modules that the names are in, sorted."""
        return tuple(sorted({module.partition(".")[0] for module, _ in self.names}))


def pickle_facts(data: bytes) -> PickleFacts:
    """What the pickle in `data` (joblib's, compressed or not, or plain) says; nothing of a file that is none."""
    reader = _Reader(_unpacked(data))
    complete = False
    try:
        complete = reader.read()
    except Exception:  # noqa: BLE001 - the file may be anything, and what was read up to here is still true
        complete = False
    return PickleFacts(tuple(sorted(reader.names)), tuple(sorted(reader.versions)), complete)


def _unpacked(data: bytes) -> IO[bytes]:
    for magic, opener in _OPENERS:
        if data.startswith(magic):
            return opener(io.BytesIO(data))  # type: ignore[no-any-return]
    if data[:1] == b"\x78":
        return io.BytesIO(_inflated(data))
    return io.BytesIO(data)


def _inflated(data: bytes) -> bytes:
    try:
        # Bounded, because a small file can unpack to any size.
        return zlib.decompressobj().decompress(data, 1024**3)
    except zlib.error:
        return data


class _Object:
    """An object as the opcodes describe it: what is called to make it, and its state."""

    def __init__(self, kind: Any = None, arguments: Any = None) -> None:
        self.kind = kind
        self.arguments = arguments
        self.state: Any = None


_MARK = object()


class _Reader:
    """The pickle machine without its effects: calls become descriptions, names stay names."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self.names: set[tuple[str, str]] = set()
        self.versions: set[str] = set()

    def read(self) -> bool:
        """Follow the opcodes; whether the end was reached. Raises whatever a damaged file makes of them."""
        for count, (opcode, argument, _) in enumerate(pickletools.genops(self._file)):
            if count >= _MOST_OPCODES:
                return False
            self._follow(opcode, argument)
        return True

    def _follow(self, opcode: Any, argument: Any) -> None:
        known = _KNOWN.get(opcode.name)
        if known is not None:
            known(self, argument)
        elif opcode.name in _STRINGS or (not opcode.stack_before and opcode.arg is not None):
            if opcode.stack_after:
                self._stack.append(argument)
        else:
            self._by_description(opcode)

    def _by_description(self, opcode: Any) -> None:
        """Any other opcode changes only the stack, and `pickletools` says how."""
        before = [each.name for each in opcode.stack_before]
        if "mark" in before:
            self._to_mark()
            before = before[: before.index("mark")]
        kept = self._stack.pop() if before else None
        for _ in before[1:]:
            self._stack.pop()
        for after in opcode.stack_after:
            self._stack.append(_MARK if after.name == "mark" else kept if before else _Object())

    def _to_mark(self) -> list[Any]:
        items: list[Any] = []
        while (top := self._stack.pop()) is not _MARK:
            items.append(top)
        return items[::-1]

    def _named(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._push_name(module, name)

    def _named_by_stack(self, _: Any) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self._push_name(str(module), str(name))

    def _push_name(self, module: str, name: str) -> None:
        self.names.add((module, name))
        self._stack.append((module, name))

    def _call(self, _: Any) -> None:
        arguments, kind = self._stack.pop(), self._stack.pop()
        if kind in _RECONSTRUCTORS and isinstance(arguments, tuple) and arguments:
            kind = arguments[0]  # how protocols 0 and 1 make an object without arguments
        self._stack.append(_Object(kind, arguments))

    def _call_with_keywords(self, _: Any) -> None:
        self._stack.pop()
        self._call(None)

    def _memoise(self, _: Any) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _put(self, place: int) -> None:
        self._memo[int(place)] = self._stack[-1]

    def _get(self, place: int) -> None:
        self._stack.append(self._memo[int(place)])

    def _tuple(self, count: int) -> None:
        items = tuple(self._stack[len(self._stack) - count :])
        del self._stack[len(self._stack) - count :]
        self._stack.append(items)

    def _tuple_to_mark(self, _: Any) -> None:
        self._stack.append(tuple(self._to_mark()))

    def _set_items(self, pairs: list[Any]) -> None:
        for key, value in zip(pairs[::2], pairs[1::2], strict=False):
            if key == "_sklearn_version" and isinstance(value, str):
                self.versions.add(value)
            if isinstance(self._stack[-1], dict) and isinstance(key, str):
                self._stack[-1][key] = value

    def _set_one(self, _: Any) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._set_items([key, value])

    def _dict_to_mark(self, _: Any) -> None:
        pairs = self._to_mark()
        self._stack.append({})
        self._set_items(pairs)

    def _build(self, _: Any) -> None:
        state = self._stack.pop()
        made = self._stack[-1]
        if not isinstance(made, _Object):
            return
        made.state = state
        if made.kind == _WRAPPER and isinstance(state, dict):
            self._skip_array(state)

    def _skip_array(self, state: Mapping[str, Any]) -> None:
        """joblib writes the bytes of an array into the pickle, behind its description."""
        dtype = state["dtype"]
        code = str(dtype.arguments[0])
        if code.startswith("O"):
            inner = _Reader(self._file)  # an array of objects is a pickle of its own
            inner.names, inner.versions = self.names, self.versions
            if not inner.read():
                raise EOFError
            return
        size = _itemsize(dtype)
        if state.get("numpy_array_alignment_bytes") is not None:
            self._file.read(self._file.read(1)[0])
        self._skip(size * math.prod(state["shape"]))

    def _skip(self, count: int) -> None:
        while count > 0:
            read = len(self._file.read(min(count, 1 << 20)))
            if not read:
                raise EOFError
            count -= read


def _itemsize(dtype: _Object) -> int:
    """The bytes of an element: in the name of a plain type (`f8`), in the state of a compound one."""
    state = dtype.state
    if isinstance(state, tuple) and len(state) > 5 and isinstance(state[5], int) and state[5] > 0:
        return state[5]
    match = _SIZE.fullmatch(str(dtype.arguments[0]))
    if match is None:
        raise ValueError(f"a type of unknown size: {dtype.arguments[0]}")
    return int(match[1]) * (4 if str(dtype.arguments[0]).startswith("U") else 1)


_KNOWN: dict[str, Any] = {
    "MARK": lambda reader, _: reader._stack.append(_MARK),
    "GLOBAL": _Reader._named,
    "STACK_GLOBAL": _Reader._named_by_stack,
    "REDUCE": _Reader._call,
    "NEWOBJ": _Reader._call,
    "NEWOBJ_EX": _Reader._call_with_keywords,
    "BUILD": _Reader._build,
    "MEMOIZE": _Reader._memoise,
    "PUT": _Reader._put,
    "BINPUT": _Reader._put,
    "LONG_BINPUT": _Reader._put,
    "GET": _Reader._get,
    "BINGET": _Reader._get,
    "LONG_BINGET": _Reader._get,
    "EMPTY_TUPLE": lambda reader, _: reader._stack.append(()),
    "TUPLE1": lambda reader, _: reader._tuple(1),
    "TUPLE2": lambda reader, _: reader._tuple(2),
    "TUPLE3": lambda reader, _: reader._tuple(3),
    "TUPLE": _Reader._tuple_to_mark,
    "EMPTY_DICT": lambda reader, _: reader._stack.append({}),
    "DICT": _Reader._dict_to_mark,
    "SETITEM": _Reader._set_one,
    "SETITEMS": lambda reader, _: reader._set_items(reader._to_mark()),
    "STOP": lambda *_: None,
    "PROTO": lambda *_: None,
    "FRAME": lambda *_: None,
    "NONE": lambda reader, _: reader._stack.append(None),
    "NEWTRUE": lambda reader, _: reader._stack.append(True),
    "NEWFALSE": lambda reader, _: reader._stack.append(False),
}
