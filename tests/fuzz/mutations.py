"""Ways to damage a file. All randomness comes from the generator that is passed in, so that a case can be repeated."""

import io
import json
import re
import struct
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np

INTEGERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)
TOKENS = (
    "", "0", "-1", "1e308", "-1e308", "1e-320", "nan", "inf", "-inf", "9" * 30, "9" * 5000, "0x10", "1,5",
    "1.5.5", "true", "null", "None", "[]", "{}", "[" * 2000, '{"a":' * 2000, "\x00", "\ufeff", "\u2028", "é",
    "あ", "🎤", "\\", '"', "'", "\n", "\r", "\t", ";", "#", "440", "-440", "60.5", "1e9", "100000000000",
)  # fmt: skip
JSON_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, 10**9, 10**30, 0.0, -1.5, 1e308, float("nan"),
    float("inf"), "", "x", "0", "nan", [], {}, [[]], [0] * 1000, {"a": {}}, "あ", "\x00", [1e9, 1e9],
    [-1, 2, 3, 4],
)  # fmt: skip


def mutate_bytes(rng: np.random.Generator, data: bytes, others: Sequence[bytes] = ()) -> bytes:
    """`data` after one to four random changes; `others` are files to splice with."""
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        out = _CHANGES[int(rng.integers(len(_CHANGES)))](rng, out)
    if others and rng.random() < 0.1:
        other = others[int(rng.integers(len(others)))]
        out = out[: _place(rng, out)] + bytearray(other[int(rng.integers(len(other) + 1)) :])
    return bytes(out)


def mutate_text(rng: np.random.Generator, data: bytes) -> bytes:
    """A text file with words, separators, lines or its encoding changed; now and then its bytes."""
    if rng.random() < 0.2:
        return mutate_bytes(rng, data)
    text = data.decode("utf-8")
    for _ in range(int(rng.integers(1, 4))):
        words = list(re.finditer(r"[^\s,;:{}\[\]]+", text))
        kind = int(rng.integers(6))
        if kind <= 2 and words:
            word = words[int(rng.integers(len(words)))]
            text = text[: word.start()] + str(rng.choice(TOKENS)) + text[word.end() :]
        elif kind == 3:
            place = int(rng.integers(len(text) + 1))
            text = text[:place] + str(rng.choice(TOKENS)) + text[place:]
        elif kind == 4:
            lines = text.splitlines(keepends=True)
            rng.shuffle(lines)
            text = "".join(lines[: int(rng.integers(len(lines) + 1))])
        else:
            text = text.replace(str(rng.choice(list(",.\n:0"))), str(rng.choice([";", "\t", ",", " ", "\r\n", "."])))
    encoding = str(rng.choice(["utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1", "cp1252", "utf-32"]))
    return text.encode(encoding, "replace")


def mutate_json(rng: np.random.Generator, data: bytes) -> bytes:
    """A JSON file in which a value or a key is another one; now and then its text is changed instead."""
    if rng.random() < 0.3:
        return mutate_text(rng, data)
    value = json.loads(data)
    for _ in range(int(rng.integers(1, 3))):
        value = _changed(rng, value)
    return json.dumps(value).encode()


def mutate_zip(rng: np.random.Generator, data: bytes) -> bytes:
    """A zip file of which one member is changed, left out, doubled, renamed or deflated; or its own bytes are."""
    if rng.random() < 0.2:
        return mutate_bytes(rng, data)
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        names = old.namelist()
        # The pickle and the JSON are small, and most of what can go wrong is in them
        small = [name for name in names if name.endswith((".pkl", ".json", "byteorder", "version"))]
        chosen = str(rng.choice(small if small and rng.random() < 0.7 else names))
        for name in names:
            content = old.read(name)
            if name != chosen:
                new.writestr(name, content)
                continue
            kind = int(rng.integers(6))
            if kind == 0:
                continue
            if kind == 1:
                new.writestr(name + str(rng.choice(["", "x", "/", "\\..", "/../x"])), content)
            elif kind == 2:
                new.writestr(name, content, compress_type=zipfile.ZIP_DEFLATED)
            elif name.endswith(".pkl") and rng.random() < 0.5:
                new.writestr(name, mutate_pickle(rng, content))
            else:
                new.writestr(name, mutate_bytes(rng, content))
    return out.getvalue()


def mutate_pickle(rng: np.random.Generator, data: bytes) -> bytes:
    """A pickle with opcodes put in that are valid somewhere, some of which would call what they like."""
    pieces = [
        b"}", b"]", b")", b"(", b"t", b"\x85", b"\x86", b"\x87", b"R", b"b", b"s", b"u", b"a", b"e", b"0",
        b"2", b"N", b".", b"\x88", b"\x89", b"Q", b"cos\nsystem\n", b"cbuiltins\nexec\n", b"cbuiltins\neval\n",
        b"ctorch._utils\n_rebuild_tensor_v2\n", b"ccollections\nOrderedDict\n", b"X\x09\x00\x00\x00touch pwn",
        b"X\x0c\x00\x00\x00__defaults__", b"K\x01", b"M\xff\xff", b"J\xff\xff\xff\x7f",
        b"\x8a\x08" + b"\xff" * 8, b"\x8b\xff\xff\xff\x7f", b"r\x00\x00\x00\x10", b"r\xff\xff\xff\xff",
        b"j\x00\x00\x00\x00", b"h\x00", b"q\x00", b"X\xff\xff\xff\x7f", b"T\xff\xff\xff\xff", b"I99999\n",
        b"F1e999\n", b"V\\ud800\n", b"\x80\x02", b"\x80\x05", b"\x81", b"\x92", b"\x93", b"P1\n", b"g0\n",
        b"p0\n", b"d", b"l", b"o", b"ios\nsystem\n", b"\x95" + b"\xff" * 8, b"(" * 50, b"]" * 50 + b"a" * 49,
        b"G\x7f\xf8\x00\x00\x00\x00\x00\x00",
    ]  # fmt: skip
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 6))):
        place = _place(rng, out)
        out[place : place + int(rng.integers(0, 4))] = pieces[int(rng.integers(len(pieces)))]
    return bytes(out)


def mutate_safetensors(rng: np.random.Generator, data: bytes) -> bytes:
    """A safetensors file whose header says something else; or its bytes are changed."""
    if rng.random() < 0.3:
        return mutate_bytes(rng, data)
    (length,) = struct.unpack("<Q", data[:8])
    header = mutate_json(rng, data[8 : 8 + length])
    said = len(header) if rng.random() < 0.9 else int(rng.choice(np.array(INTEGERS, dtype=np.uint64)))
    return struct.pack("<Q", said) + header + data[8 + length :]


def _changed(rng: np.random.Generator, value: Any) -> Any:
    """`value` with one part of it, at any depth, replaced."""
    if isinstance(value, str) and value.startswith("{") and rng.random() < 0.8:  # a config inside the metadata
        return json.dumps(_changed(rng, json.loads(value)))
    inside = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    if not inside or rng.random() < 0.1:
        return JSON_VALUES[int(rng.integers(len(JSON_VALUES)))]
    key = inside[int(rng.integers(len(inside)))]
    copy = value.copy()
    kind = rng.random()
    if kind < 0.1:
        del copy[key]
    elif kind < 0.2 and isinstance(copy, dict):
        copy[str(rng.choice(TOKENS))] = copy[key]
    else:
        copy[key] = _changed(rng, copy[key])
    return copy


def _place(rng: np.random.Generator, data: bytes | bytearray) -> int:
    """An offset; headers are at the start, so half of all places are there."""
    end = min(len(data), 256) if rng.random() < 0.5 else len(data)
    return int(rng.integers(end + 1))


def _flip(rng: np.random.Generator, data: bytearray) -> bytearray:
    for _ in range(int(rng.integers(1, 16))):
        if data:
            data[min(_place(rng, data), len(data) - 1)] ^= 1 << int(rng.integers(8))
    return data


def _integer(rng: np.random.Generator, data: bytearray) -> bytearray:
    size = int(rng.choice([1, 2, 4, 8]))
    value = INTEGERS[int(rng.integers(len(INTEGERS)))] & (2 ** (8 * size) - 1)
    place = _place(rng, data)
    data[place : place + size] = value.to_bytes(size, "little" if rng.random() < 0.5 else "big")
    return data


def _cut(rng: np.random.Generator, data: bytearray) -> bytearray:
    return data[: _place(rng, data)]


def _remove(rng: np.random.Generator, data: bytearray) -> bytearray:
    place = _place(rng, data)
    del data[place : place + int(rng.integers(1, 64))]
    return data


def _double(rng: np.random.Generator, data: bytearray) -> bytearray:
    start = _place(rng, data)
    part = data[start : start + int(rng.integers(1, 512))]
    place = _place(rng, data)
    return data[:place] + part * int(rng.integers(1, 4)) + data[place:]


def _insert(rng: np.random.Generator, data: bytearray) -> bytearray:
    place = _place(rng, data)
    part = bytes(rng.integers(0, 256, int(rng.integers(1, 64)), dtype=np.uint8)) if rng.random() < 0.5 else bytes(400)
    return data[:place] + part + data[place:]


_CHANGES = (_flip, _flip, _integer, _integer, _cut, _remove, _double, _insert)
