"""Settings as plain types, as JSON has them, and back: values of another type are refused."""

import dataclasses
import difflib
import types
from typing import Any, Final, Literal, Self, Union, get_args, get_origin, get_type_hints

from roadseg.errors import ConfigError

_WORDS: Final[dict[Any, str]] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    types.NoneType: "null",
}


class Plain:
    """A dataclass to and from plain types; keys that this version does not know are an error, not dropped."""

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain types (tuples become lists, as JSON has them)."""
        settings = dataclasses.asdict(self)  # type: ignore[call-overload]
        return {k: list(v) if isinstance(v, tuple) else v for k, v in settings.items()}

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> Self:
        """Rebuild from `to_dict`; raises ConfigError as `typed` does, and for a value that cannot work."""
        return cls(**cls.typed(settings))

    @classmethod
    def typed(cls, settings: dict[str, Any]) -> dict[str, Any]:
        """Return some of the settings as they are here (lists become tuples).

        Raises ConfigError for one that does not exist here, or is of another type.
        """
        known = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
        unknown = sorted(set(settings) - known)
        if unknown:
            near = difflib.get_close_matches(unknown[0], known, 1)
            raise ConfigError(
                f"There is no setting {', '.join(unknown)}"
                f"{f' (did you mean {near[0]}?)' if near else ''}: another version has it, or none."
            )
        kinds = get_type_hints(cls)
        given = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
        for name, value in given.items():
            if not _fits(value, kinds[name]):
                raise ConfigError(f"{name} is {settings[name]!r}, but must be {_words(kinds[name])}.")
        return given


def _fits(value: object, kind: Any) -> bool:
    """Whether a value is of a type; which of a Literal's values it is, the dataclass itself looks at."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is tuple and isinstance(value, tuple):
        each = parts[:1] * len(value) if parts[-1] is Ellipsis else parts
        return len(value) == len(each) and all(map(_fits, value, each))
    if origin in (Union, types.UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is Literal:
        return type(value) in map(type, parts)
    return type(value) in ((int, float) if kind is float else (kind,))  # a bool is no int


def _words(kind: Any) -> str:
    """A type, for people."""
    if kind in _WORDS:
        return _WORDS[kind]
    parts = [type(part) if get_origin(kind) is Literal else part for part in get_args(kind)]
    words = " or ".join(dict.fromkeys(_words(part) for part in parts if part is not Ellipsis))
    return f"a list (each {words})" if get_origin(kind) is tuple else words
