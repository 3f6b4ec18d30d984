"""Frozen dataclasses from TOML, with errors that name file, section and key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from isdu_bids.errors import UsageError

Kind = TypeVar("Kind")

_TYPES: Mapping[str, tuple[type, ...]] = {
    "int": (int,), "float": (int, float), "bool": (bool,), "str": (str,),
}  # fmt: skip


def build(kind: type[Kind], values: Mapping[str, Any], origin: str) -> Kind:
    """Build a dataclass from a section of TOML; ``origin`` is named in errors.

    Raises
    ------
    UsageError
        For an unknown key, or a value of the wrong kind.
    """
    if not isinstance(values, Mapping):
        raise UsageError(f"{origin}: {values!r} is no section")
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    for key, value in values.items():
        if key not in known:
            raise UsageError(f"{origin}: unknown key {key!r}; known keys: {', '.join(known)}")
        wanted = str(known[key].type).removesuffix(" | None")  # a string, by the __future__ import
        if wanted in _TYPES and not _is_a(value, wanted):
            raise UsageError(f"{origin}: {key} = {value!r} is no {wanted}")
        default = known[key].default
        length = len(default) if isinstance(default, tuple) else 0
        if length and not _is_list(value, None if wanted.endswith("...]") else length):
            raise UsageError(f"{origin}: {key} = {value!r} is no list of {length} numbers")
    try:
        return kind(**{key: tuple(v) if isinstance(v, list) else v for key, v in values.items()})
    except UsageError as error:
        raise UsageError(f"{origin}: {error}") from error


def pop_choice(content: dict[str, Any], key: str, known: Mapping[str, Any], origin: str) -> Any:
    """Take a key out of a section and return what it stands for, by default the first known.

    Raises
    ------
    UsageError
        For an unknown name.
    """
    name = content.pop(key, next(iter(known)))
    if name not in known:
        raise UsageError(f"{origin}: {key} = {name!r} is unknown; known are {', '.join(known)}")
    return known[name]


def _is_a(value: Any, wanted: str) -> bool:
    """Whether a TOML value has the type of a field; to Python a bool is an int, to us it is not."""
    return isinstance(value, _TYPES[wanted]) and (wanted == "bool") == isinstance(value, bool)


def _is_list(value: Any, length: int | None) -> bool:
    return isinstance(value, list | tuple) and length in (None, len(value))
