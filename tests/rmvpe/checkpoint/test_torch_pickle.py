"""The interpreter of torch's pickles: what torch writes is data; every attack ends at once, with an error of ours."""

import collections
import contextlib
import pickle
import random
import tracemalloc
from typing import Any

import pytest

from rmvpe.checkpoint import torch_pickle
from rmvpe.checkpoint.torch_pickle import MAX_OPERATIONS, PickleError, RefusedName, load_pickle

HEAD = b"\x80\x02"
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
OBJECTS: list[Any] = [
    None,
    True,
    -1,
    255,
    65_535,
    -(2**31),
    2**60,
    1.5,
    "text é",
    b"bytes",
    [1, [2, (3, 4, 5, 6)]],
    {"a": {"b": [1.0, None]}, 3: ()},
    list(range(3000)),
    {str(k): k for k in range(3000)},
]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_data_come_back_as_pythons_own_unpickler_reads_them(protocol: int) -> None:
    for value in OBJECTS:
        if isinstance(value, bytes) and protocol == 2:
            continue  # protocol 2 has no bytes, and calls a function to make them
        assert load_pickle(pickle.dumps(value, protocol)) == value
    table = collections.OrderedDict(a=1, b=[2])
    assert load_pickle(pickle.dumps(table, protocol)) == table


def test_the_metadata_of_a_state_dict_are_left_out() -> None:
    table = collections.OrderedDict(a=1)
    table._metadata = {"version": 1}  # type: ignore[attr-defined]
    found = load_pickle(pickle.dumps(table, 2))
    assert found == table
    assert not hasattr(found, "_metadata")


def test_a_shared_value_stays_shared_and_a_circle_is_no_trap() -> None:
    shared = [1]
    one, two = load_pickle(pickle.dumps([shared, shared], 2))
    assert one is two
    circle: list[Any] = []
    circle.append(circle)
    found = load_pickle(pickle.dumps(circle, 2))
    assert found[0] is found


ATTACKS = {
    "BUILD on a function": HEAD + REBUILD + b"(N}X\x0c\x00\x00\x00__defaults__K\x01\x85stb.",
    "BUILD on a list": HEAD + b"]}b.",
    "BUILD on a dict": HEAD + b"}}b.",
    "BUILD with slots": HEAD + REBUILD + b"}X\x01\x00\x00\x00ahs}\x86b.",
    "memo without value": HEAD + b"j\xff\xff\xff\xff.",
    "LONG1 of 255 bytes": HEAD + b"\x8a\xff" + b"\x7f" * 255 + b".",
    "LONG4": HEAD + b"\x8b\xff\xff\xff\x7f" + b"\x7f" * 100 + b".",
    "text of 4 GB": HEAD + b"X\xff\xff\xff\xffa.",
    "text that is none": HEAD + b"X\x01\x00\x00\x00\xff.",
    "bytes of 2^63": b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",
    "endless": HEAD + b"N0" * (MAX_OPERATIONS // 2 + 1) + b".",
    "tuple as key": HEAD + b"})Ns.",
    "list as key": HEAD + b"}]Ns.",
    "key without value": HEAD + b"}(Nu.",
    "call of a text": HEAD + b"X\x01\x00\x00\x00a)R.",
    "call without tuple": HEAD + b"ccollections\nOrderedDict\n]R.",
    "OrderedDict of pairs": HEAD + b"ccollections\nOrderedDict\n]\x85R.",
    "long size": HEAD + b"ctorch\nSize\n](" + b"N" * 40 + b"e\x85R.",
    "NEWOBJ": HEAD + b"ccollections\nOrderedDict\n)\x81.",
    "INST": HEAD + b"(icollections\nOrderedDict\n.",
    "extension": HEAD + b"\x82\x01.",
    "old protocol": b"\x80\x01N.",
    "no STOP": HEAD + b"N",
    "empty stack": HEAD + b".",
    "mark as value": HEAD + b"(.",
    "pop of a mark": HEAD + b"(0.",
    "no mark": HEAD + b"Nt.",
    "storage of a name": HEAD + b"(X\x07\x00\x00\x00storagectorch\nSize\nX\x01\x00\x00\x000NK\x01tQ.",
    "parameter of nothing": HEAD + b"ctorch._utils\n_rebuild_parameter\nN\x85R.",
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused_at_once_and_changes_nothing(name: str) -> None:
    before = {key: getattr(value, "__defaults__", None) for key, value in vars(torch_pickle).items()}
    tracemalloc.start()
    try:
        with pytest.raises((PickleError, UnicodeDecodeError)):
            load_pickle(ATTACKS[name])
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()
    assert before == {key: getattr(value, "__defaults__", None) for key, value in vars(torch_pickle).items()}


def test_a_large_memo_index_reserves_nothing() -> None:
    tracemalloc.start()
    try:
        assert load_pickle(HEAD + b"}r\xff\xff\xff\xff.") == {}
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_deep_nesting_does_not_use_the_c_stack() -> None:
    value = load_pickle(HEAD + b"]" * 300_000 + b"a" * 299_999 + b".")
    depth = 1
    while value:
        (value,) = value
        depth += 1
    assert depth == 300_000


@pytest.mark.parametrize(
    "name", ["os system", "builtins exec", "torch load", "torch.nn Module", "torch UntypedStorage"]
)
def test_a_name_is_never_looked_up(name: str) -> None:
    module, attribute = name.split()
    with pytest.raises(RefusedName, match=f"{module}.{attribute}"):
        load_pickle(HEAD + f"c{module}\n{attribute}\n.".encode())


def test_random_programs_end_with_an_error_of_ours_or_with_data() -> None:
    rng = random.Random(12)
    opcodes = list(torch_pickle.OPERATIONS)
    for _ in range(5000):
        program = bytearray(HEAD)
        for _ in range(rng.randint(1, 30)):
            program.append(rng.choice(opcodes) if rng.random() < 0.8 else rng.randrange(256))
        program += b"."
        with contextlib.suppress(PickleError, RefusedName, UnicodeDecodeError):  # any other error fails the test
            load_pickle(bytes(program))
