"""The machine-readable documents of roadseg: each says what it is, and in which version of its schema.

Every `--json` prints one document, and the JSON files of a run are such documents, too. `schemas/NAME.json`
describes them as JSON Schema. A version is raised when a field goes or changes its meaning; fields may be
added without, so readers pass over what they do not know.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any, Final, Literal, get_args

from roadseg import __version__
from roadseg.errors import OutputError

Kind = Literal[
    "download-check",
    "train",
    "release",
    "prune",
    "export",
    "eval",
    "scores",
    "segment",
    "video",
    "comparison",
    "error",
]
"""scores: of one data set, the file that `eval` leaves for each; comparison: of `report`."""

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
VERSIONS: Final[Mapping[Kind, int]] = dict.fromkeys(KINDS, 1)


def header(kind: Kind) -> dict[str, Any]:
    """The fields that every document begins with."""
    return {"schema": f"roadseg/{kind}", "version": VERSIONS[kind], "roadseg_version": __version__}


def kind_of(document: object) -> Kind:
    """What a document is. ValueError when it is none of ours, or of a version that we cannot read."""
    if not isinstance(document, dict) or "schema" not in document:
        raise ValueError('no document of roadseg: it has no "schema"')
    for kind in KINDS:
        if document["schema"] == f"roadseg/{kind}":
            if document.get("version") != VERSIONS[kind]:
                raise ValueError(
                    f"version {document.get('version')} of {document['schema']}, and roadseg {__version__} "
                    f"reads version {VERSIONS[kind]}"
                )
            return kind
    raise ValueError(f"no document of roadseg: its schema is {document['schema']!r}")


def parse_json(text: str | bytes) -> Any:
    """What a JSON text holds. ValueError where it is none, or is nested too deeply to be meant."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def read_document(path: Path) -> tuple[Kind, dict[str, Any]]:
    """What the JSON file at `path` is, and what it holds. OSError, or ValueError when it is not ours."""
    document = parse_json(path.read_text(encoding="utf-8"))
    return kind_of(document), document


@contextmanager
def reading(path: Path, remedy: str) -> Iterator[None]:
    """Turn what goes wrong with a document while it is read and used into OutputError."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path}: cannot be read ({error.strerror}); {remedy}") from error
    except KeyError as error:
        raise OutputError(f"{path}: is no report that can be read (no {error} in it); {remedy}") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise OutputError(f"{path}: is no report that can be read ({error}); {remedy}") from error


def to_json(document: Mapping[str, Any]) -> str:
    """The text of a document: short to read, and easy to search, with a line for each field and each row.

    ValueError for NaN, which JSON has not.
    """

    def dump(value: object) -> str:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)

    def field(value: object) -> str:
        if not (isinstance(value, list) and value and isinstance(value[0], dict)):
            return dump(value)
        return "[\n" + ",\n".join(f"    {dump(row)}" for row in value) + "\n  ]"

    lines = [f"  {dump(key)}: {field(value)}" for key, value in document.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def schema_of(kind: Kind) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) that documents of this kind keep to."""
    text = (resources.files("roadseg") / "schemas" / f"{kind}.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
