"""The pickle in a file that `torch.save` wrote, read by an interpreter of our own that can build data and nothing else.

A pickle is a program for a stack machine (https://peps.python.org/pep-0307/, https://peps.python.org/pep-3154/; every
opcode is described in Python's `pickletools`). Python's own machine can call any function, set attributes of what it
called, reserve memory by a number in the file, and overflows the C stack on deep nesting. `torch.save` needs about
thirty of its opcodes: containers, numbers, texts, the memo, and calls of four functions. They are done here without
recursion and with a limit on their number, so that reading always ends and needs little memory.
"""

import struct
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# Torch's storage classes -> the type of their items
STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}

MAX_OPERATIONS = 2_000_000  # a state of the largest network has 150,000
MAX_INTEGER_BYTES = 16  # of the opcode LONG1: seeds of random generators have 8
MAX_KEY = 1 << 60  # of a table, if it is a number: those of optimizers are small
MAX_AXES = 32  # of a tensor, as in numpy 1
MAX_ITEMS = 1 << 62  # of a storage


class PickleError(ValueError):
    """A pickle is damaged, or needs more than data."""


class RefusedName(ValueError):
    """A pickle names a Python object that is no part of a state_dict; the message is its name."""


@dataclass(frozen=True)
class Storage:
    """One record of the zip: `n_items` values of `dtype`."""

    key: str
    dtype: str
    n_items: int


@dataclass(frozen=True)
class TorchTensor:
    """A tensor that has not been read: a view of a storage. `offset` and `stride` count items, as in torch."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def dtype(self) -> str:
        """The type as stored, such as "float16" or "bfloat16"."""
        return self.storage.dtype


@dataclass(frozen=True)
class _Name:
    """A global of the pickle. It stands for a function and is never one."""

    name: str


class _Mark:
    """Where on the stack the items of a container begin."""


MARK = _Mark()


def load_pickle(data: bytes) -> Any:
    """The object that a pickle describes: dicts, lists, tuples, numbers, texts, None and `TorchTensor`.

    Raises PickleError if it is damaged or too large, RefusedName if it holds anything else; nothing is run.
    """
    return _Machine(data).run()


class _Machine:
    """The state of the machine: what is left of the program, the stack, the memo."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """Do all operations up to STOP."""
        for _ in range(MAX_OPERATIONS):
            opcode = self.take(1)[0]
            if opcode == STOP:
                return self.pop()
            operation = OPERATIONS.get(opcode)
            if operation is None:
                raise PickleError(
                    f"byte {self.at - 1} of its pickle is opcode {opcode:#04x}, which no state_dict needs"
                )
            operation(self)
        raise PickleError(f"its pickle has more than {MAX_OPERATIONS:,} operations")

    def take(self, count: int) -> bytes:
        """The next bytes."""
        self.at += count
        if self.at > len(self.data):
            raise PickleError("its pickle is cut off")
        return self.data[self.at - count : self.at]

    def number(self, layout: str) -> int:
        """The next number, by the codes of `struct`."""
        value: int = struct.unpack("<" + layout, self.take(struct.calcsize("<" + layout)))[0]
        return value

    def text(self, n_bytes: int) -> str:
        """The next text."""
        return str(self.take(n_bytes), "utf-8", "surrogatepass")

    def line(self) -> str:
        """The text up to the next line feed."""
        end = self.data.find(b"\n", self.at)
        if end < 0:
            raise PickleError("its pickle is cut off")
        text = self.text(end - self.at)
        self.at += 1
        return text

    def push(self, value: Any) -> None:
        """Put a value on the stack."""
        self.stack.append(value)

    def pop(self) -> Any:
        """Take the value on top of the stack."""
        if not self.stack or self.stack[-1] is MARK:
            raise PickleError("its pickle takes a value that is not there")
        return self.stack.pop()

    def pop_to_mark(self) -> list[Any]:
        """Take all values above the last mark, and the mark."""
        for place in range(len(self.stack) - 1, -1, -1):
            if self.stack[place] is MARK:
                values = self.stack[place + 1 :]
                del self.stack[place:]
                return values
        raise PickleError("its pickle closes a container that it did not open")

    def pop_tuple(self, count: int) -> None:
        """Put the `count` values on top of the stack into a tuple."""
        values = [self.pop() for _ in range(count)]
        self.push(tuple(reversed(values)))

    def top(self, kind: type, what: str) -> Any:
        """The value on top of the stack, which stays there."""
        if not self.stack or not isinstance(self.stack[-1], kind):
            raise PickleError(f"its pickle {what} something that is none")
        return self.stack[-1]

    def remember(self, index: int) -> None:
        """Store the value on top of the stack in the memo."""
        self.memo[index] = self.top(object, "remembers")

    def recall(self, index: int) -> None:
        """Put a value of the memo on the stack."""
        if index not in self.memo:
            raise PickleError(f"its pickle has no value {index} in its memo")
        self.push(self.memo[index])

    def frame(self) -> None:
        """FRAME: the length of the next part of the program, for readers of a stream."""
        self.take(8)

    def drop(self) -> None:
        """POP."""
        self.pop()

    def long(self) -> None:
        """LONG1: an integer of any length up to `MAX_INTEGER_BYTES`."""
        n_bytes = self.number("B")
        if n_bytes > MAX_INTEGER_BYTES:
            raise PickleError(f"its pickle has an integer of {n_bytes} bytes")
        self.push(int.from_bytes(self.take(n_bytes), "little", signed=True))

    def float(self) -> None:
        """BINFLOAT."""
        self.push(struct.unpack(">d", self.take(8))[0])

    def extend(self, values: list[Any]) -> None:
        """APPEND, APPENDS."""
        self.top(list, "appends to").extend(values)

    def set_items(self, values: list[Any]) -> None:
        """SETITEM, SETITEMS."""
        table = self.top(dict, "fills")
        if len(values) % 2:
            raise PickleError("its pickle has a key without a value")
        for key, value in zip(values[::2], values[1::2], strict=True):
            table[_checked_key(key)] = value

    def append(self) -> None:
        """APPEND: the value on top of the stack to the list below."""
        self.extend([self.pop()])

    def set_item(self) -> None:
        """SETITEM: the two values on top of the stack to the table below."""
        value, key = self.pop(), self.pop()
        self.set_items([key, value])

    def find_global(self, module: str, name: str) -> None:
        """GLOBAL, STACK_GLOBAL."""
        full = f"{module}.{name}"
        if full not in CALLABLE and not (module == "torch" and name in STORAGES):
            raise RefusedName(full[:100])
        self.push(_Name(full))

    def stack_global(self) -> None:
        """STACK_GLOBAL: the name and its module are on the stack."""
        name, module = self.pop(), self.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise PickleError("its pickle names something by what is no text")
        self.find_global(module, name)

    def reduce(self) -> None:
        """REDUCE: what one of the known functions would return."""
        arguments, function = self.pop(), self.pop()
        build = CALLABLE.get(function.name) if isinstance(function, _Name) else None
        if build is None or not isinstance(arguments, tuple):
            raise PickleError("its pickle calls something that is no function")
        self.push(build(*_fitting(arguments, function.name)))

    def build(self) -> None:
        """BUILD: `state_dict` gives its OrderedDict an attribute, `_metadata`, which nothing here needs."""
        state = self.pop()
        if not isinstance(self.top(object, "changes"), OrderedDict) or not isinstance(state, (dict, tuple)):
            raise PickleError("its pickle sets attributes of something that has none")

    def storage(self) -> None:
        """BINPERSID: the storage that a tensor is a view of."""
        reference = self.pop()
        if not isinstance(reference, tuple) or len(reference) != 5 or reference[0] != "storage":
            raise PickleError("its pickle refers to something that is no storage")
        _, kind, key, _device, n_items = reference
        dtype = STORAGES.get(kind.name.removeprefix("torch.")) if isinstance(kind, _Name) else None
        if dtype is None or not isinstance(key, str) or not _is_count(n_items, MAX_ITEMS):
            raise PickleError("its pickle describes a storage in an unknown way")
        self.push(Storage(key, dtype, n_items))


def _is_count(value: Any, limit: int) -> bool:
    return type(value) is int and 0 <= value <= limit


def _checked_key(key: Any) -> Any:
    # Other keys can be made so that their hash takes for ever, or is the same for all
    if type(key) is not str and not (type(key) is int and abs(key) < MAX_KEY):
        raise PickleError("its pickle has a table whose keys are no texts or whole numbers")
    return key


def _fitting(arguments: tuple[Any, ...], function: str) -> tuple[Any, ...]:
    least, most = ARGUMENTS[function]
    if not least <= len(arguments) <= most:
        raise PickleError(f"its pickle calls {function} with {len(arguments)} arguments")
    return arguments


def _rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> TorchTensor:
    """What torch._utils._rebuild_tensor_v2 does; the arguments after the strides are for autograd.

    A view must lie inside its storage and repeat none of its items, so that it needs no more memory than is stored.
    """
    known = isinstance(storage, Storage) and isinstance(size, tuple) and isinstance(stride, tuple)
    if not known or len(size) != len(stride) or len(size) > MAX_AXES:
        raise PickleError("a tensor is described in an unknown way")
    if not all(_is_count(number, MAX_ITEMS) for number in (offset, *size, *stride)):
        raise PickleError(f"a tensor of shape {list(size)} reaches outside its storage")
    count = last = 1
    for length, step in zip(size, stride, strict=True):
        count *= length
        last += (length - 1) * step
    # The size is compared too, because a stride of 0 could repeat one item into terabytes
    if count and max(offset + last, count) > storage.n_items:
        raise PickleError(f"a tensor of shape {list(size)} reaches outside its storage")
    return TorchTensor(storage, offset, size, stride)


def _rebuild_parameter(data: Any, *_: Any) -> TorchTensor:
    """What torch._utils._rebuild_parameter does; a parameter is its tensor."""
    if not isinstance(data, TorchTensor):
        raise PickleError("a parameter is described in an unknown way")
    return data


def _size(lengths: Any = ()) -> tuple[Any, ...]:
    """What torch.Size does."""
    if not isinstance(lengths, (list, tuple)) or len(lengths) > MAX_AXES:
        raise PickleError("a size is described in an unknown way")
    return tuple(lengths)


CALLABLE: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": OrderedDict,
    "torch.Size": _size,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
}
# How many arguments they take
ARGUMENTS = {
    "collections.OrderedDict": (0, 0),
    "torch.Size": (0, 1),
    "torch._utils._rebuild_tensor_v2": (4, 7),
    "torch._utils._rebuild_parameter": (1, 3),
}

STOP = ord(".")
OPERATIONS: dict[int, Callable[[_Machine], None]] = {
    0x80: lambda m: _check_protocol(m.number("B")),  # PROTO
    0x95: _Machine.frame,
    ord("("): lambda m: m.push(MARK),
    ord("0"): _Machine.drop,
    ord("N"): lambda m: m.push(None),
    0x88: lambda m: m.push(True),
    0x89: lambda m: m.push(False),
    ord("K"): lambda m: m.push(m.number("B")),  # BININT1
    ord("M"): lambda m: m.push(m.number("H")),  # BININT2
    ord("J"): lambda m: m.push(m.number("i")),  # BININT
    0x8A: _Machine.long,
    ord("G"): _Machine.float,
    ord("X"): lambda m: m.push(m.text(m.number("I"))),  # BINUNICODE
    0x8C: lambda m: m.push(m.text(m.number("B"))),  # SHORT_BINUNICODE
    ord("U"): lambda m: m.push(m.text(m.number("B"))),  # SHORT_BINSTRING, of Python 2
    ord("T"): lambda m: m.push(m.text(m.number("I"))),  # BINSTRING
    ord("C"): lambda m: m.push(m.take(m.number("B"))),  # SHORT_BINBYTES
    ord("B"): lambda m: m.push(m.take(m.number("I"))),  # BINBYTES
    ord("]"): lambda m: m.push([]),
    ord("}"): lambda m: m.push({}),
    ord(")"): lambda m: m.push(()),
    ord("t"): lambda m: m.push(tuple(m.pop_to_mark())),
    ord("l"): lambda m: m.push(m.pop_to_mark()),  # LIST
    0x85: lambda m: m.pop_tuple(1),
    0x86: lambda m: m.pop_tuple(2),
    0x87: lambda m: m.pop_tuple(3),
    ord("a"): _Machine.append,
    ord("e"): lambda m: m.extend(m.pop_to_mark()),
    ord("s"): _Machine.set_item,
    ord("u"): lambda m: m.set_items(m.pop_to_mark()),
    ord("q"): lambda m: m.remember(m.number("B")),
    ord("r"): lambda m: m.remember(m.number("I")),
    0x94: lambda m: m.remember(len(m.memo)),  # MEMOIZE
    ord("h"): lambda m: m.recall(m.number("B")),
    ord("j"): lambda m: m.recall(m.number("I")),
    ord("c"): lambda m: m.find_global(m.line(), m.line()),
    0x93: _Machine.stack_global,
    ord("R"): _Machine.reduce,
    ord("b"): _Machine.build,
    ord("Q"): _Machine.storage,
}


def _check_protocol(protocol: int) -> None:
    if not 2 <= protocol <= 5:
        raise PickleError(f"its pickle has protocol {protocol}")
