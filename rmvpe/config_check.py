"""Settings checked and stored: types and ranges, and strict JSON in both directions."""

import dataclasses
import json
import numbers
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from rmvpe.errors import UserError
from rmvpe.json_text import NotJson, parse_json

T = TypeVar("T")

MAX_TEXT = 4096  # characters of a setting that is a text
MAX_WHOLE_FLOAT = 2**53  # whole numbers up to here are floats without loss


class ConfigError(UserError):
    """A setting is unknown, of the wrong type or out of range."""


def check_ranges(config: Any, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Raise ConfigError unless every setting has its type, and the numbers lie in `ranges` (both ends are allowed).

    NaN lies in no range, and True is no number. A file could otherwise ask for terabytes or for years of computing.
    """
    hints = typing.get_type_hints(type(config))
    for name, value in vars(config).items():
        kind = hints[name]
        if kind in (int, float) and name in ranges:
            _check_number(name, value, kind, ranges[name])
        elif kind in (bool, str) and (not isinstance(value, kind) or len(str(value)) > MAX_TEXT):
            raise ConfigError(f"{name} must be {'a text' if kind is str else 'True or False'}, not {shown(value)}")
        elif typing.get_origin(kind) is tuple and name in ranges:
            if not isinstance(value, tuple) or len(value) != len(typing.get_args(kind)):
                raise ConfigError(f"{name} must be {len(typing.get_args(kind))} numbers, not {shown(value)}")
            for part in value:
                _check_number(name, part, float, ranges[name])
        elif dataclasses.is_dataclass(kind) and not isinstance(value, typing.cast(type, kind)):
            raise ConfigError(f"{name} must be a {typing.cast(type, kind).__name__}, not {shown(value)}")


def _check_number(name: str, value: Any, kind: type, bounds: tuple[float, float]) -> None:
    wanted: type = numbers.Integral if kind is int else numbers.Real
    if isinstance(value, bool) or not isinstance(value, wanted):
        raise ConfigError(f"{name} must be a {'whole number' if kind is int else 'number'}, not {shown(value)}")
    low, high = bounds
    if not low <= typing.cast(float, value) <= high:
        raise ConfigError(f"{name} must be from {low:.10g} to {high:.10g}, not {shown(value)}")


def shown(value: Any) -> str:
    """A wrong value for a message: short, whatever it is."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of more digits than Python converts; endless nesting
        text = type(value).__name__
    return text if len(text) <= 40 else f"{text[:37]}..."


def to_dict(config: Any) -> dict[str, Any]:
    """The config as nested dicts and lists, for JSON."""
    return dataclasses.asdict(config)


def to_json(config: Any) -> str:
    """The config as JSON text."""
    return json.dumps(to_dict(config), indent=1)


def from_dict(cls: type[T], data: Any, where: str = "") -> T:
    """A config of class `cls` from the dicts of `to_dict`. Raises ConfigError for unknown keys or a wrong type.

    `where` is the name of the table in messages, by default that of the class.
    """
    where = where or cls.__name__
    if not isinstance(data, dict):
        raise ConfigError(f"{where} must be a table of settings, not {type(data).__name__}")
    hints = typing.get_type_hints(cls)
    unknown = sorted(str(name) for name in set(data) - set(hints))
    if unknown:
        raise ConfigError(
            f"{where}: unknown setting {', '.join(name[:40] for name in unknown[:6])}; known are {', '.join(hints)}"
        )
    return cls(**{key: _coerce(hints[key], value, f"{where}.{key}") for key, value in data.items()})


def from_json(cls: type[T], text: str | bytes) -> T:
    """A config of class `cls` from the text of `to_json`. Raises ConfigError as `from_dict`, or if it is no JSON."""
    try:
        data = parse_json(text)
    except NotJson as error:
        raise ConfigError(f"{cls.__name__}: {error}") from error
    return from_dict(cls, data)


def _coerce(hint: Any, value: Any, where: str) -> Any:
    if isinstance(hint, types.UnionType) and types.NoneType in typing.get_args(hint):
        if value is None:
            return None
        (hint,) = (kind for kind in typing.get_args(hint) if kind is not types.NoneType)
    if dataclasses.is_dataclass(hint):
        return from_dict(typing.cast(type, hint), value, where)
    if typing.get_origin(hint) is tuple:
        kinds = typing.get_args(hint)
        if not isinstance(value, (list, tuple)) or len(value) != len(kinds):
            raise ConfigError(f"{where} must hold {len(kinds)} values, not {shown(value)}")
        return tuple(_coerce(kind, item, where) for kind, item in zip(kinds, value, strict=True))
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        if abs(value) > MAX_WHOLE_FLOAT:
            raise ConfigError(f"{where} must be a smaller number, not {shown(value)}")
        return float(value)
    wanted = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
        raise ConfigError(f"{where} must be {hint}, not {shown(value)}")
    return value
