"""What a page consists of, and how it becomes one HTML file: every text in it is escaped by jinja2.

jinja2 is imported where it is used: a command that writes no page has no need of it.
"""

import base64
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import ClassVar, Final
from urllib.parse import quote

from roadseg import __version__
from roadseg.errors import OutputError
from roadseg.media.output import write_text

# In the head of every page: says that the file is ours to replace.
MARK: Final = '<meta name="generator" content="roadseg'


@dataclass(frozen=True, slots=True)
class Headline:
    """A number that a run is judged by, as text; `interval` is what it may as well have been."""

    name: str
    value: str
    unit: str = ""
    interval: str | None = None


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture in a table or a gallery, as data URI or relative address."""

    name: str
    source: str
    caption: str = ""
    large: str = ""
    """Shown when it is enlarged; empty: what the gallery has of that name, or the same."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table: `text` is shown, `value` sorts it, `bar` 0..1 is drawn, `link` opens a file."""

    text: str = ""
    value: float | None = None
    bar: float | None = None
    low: float | None = None
    """Lower end of the interval of `bar`, with `high`."""
    high: float | None = None
    link: str | None = None
    picture: Picture | None = None
    swatch: str | None = None
    """A CSS colour shown before the text."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table that readers can sort; columns are (heading, whether it holds numbers)."""

    kind: ClassVar[str] = "table"
    title: str
    columns: Sequence[tuple[str, bool]]
    rows: Sequence[Sequence[Cell]]
    foot: Sequence[Cell] = ()
    note: str = ""
    folded: bool = False
    narrow: bool = False
    """No wider than it needs to be."""
    sorted_by: int | None = None
    """The column that `rows` come sorted by, upwards."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """A confusion matrix; each cell is (text, share of its row 0..1, number of pixels)."""

    kind: ClassVar[str] = "matrix"
    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    cells: Sequence[Sequence[tuple[str, float, str]]]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawing: `svg` comes from `plots`, and is trusted."""

    title: str
    svg: str
    caption: str = ""
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Figures:
    """Drawings beside each other."""

    kind: ClassVar[str] = "figures"
    title: str
    figures: Sequence[Figure]


@dataclass(frozen=True, slots=True)
class Gallery:
    """Pictures in named groups; `legend` has (CSS colour, meaning)."""

    kind: ClassVar[str] = "gallery"
    title: str
    groups: Sequence[tuple[str, Sequence[Picture]]]
    legend: Sequence[tuple[str, str]] = ()
    note: str = ""
    wide: bool = False
    """Each picture as wide as the page."""


Section = Table | Matrix | Figures | Gallery


@dataclass(slots=True, kw_only=True)
class Page:
    """One report. Facts are (name, value) pairs of what ran."""

    command: str
    title: str
    subtitle: str = ""
    warning: str = ""
    headlines: list[Headline] = field(default_factory=list)
    facts: list[tuple[str, str]] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)


def render(page: Page) -> str:
    """The page as HTML."""
    from markupsafe import Markup

    return fill(
        "roadseg.report.html",
        "report.html",
        ("sort.js", "enlarge.js", "style.css", "enlarge.css"),
        page=page,
        trusted=Markup,
    )


def fill(package: str, template: str, parts: Sequence[str], **values: object) -> str:
    """A template of `package`, every value escaped.

    `script` and `style` are what `parts`, from beside this page's template, have of .js and .css.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined  # only pages need it
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script, style = (
        "".join(_text(part) for part in parts if part.endswith(kind)) for kind in (".js", ".css")
    )
    return environment.get_template(template).render(
        version=__version__, script=Markup(script), style=Markup(style), policy=_policy(script), **values
    )


def _text(name: str) -> str:
    return (resources.files("roadseg.report.html") / "templates" / name).read_text(encoding="utf-8")


def _policy(script: str) -> str:
    """Even a hole in the escaping could run nothing, nor send anything: only this very script may run."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data: file: 'self'; "
        f"script-src 'sha256-{digest}'"
    )


def write_page(path: Path, page: Page) -> Path:
    """Write the page, over an older one of ours. Raises OutputError."""
    require_ours(path)
    write_text(path, render(page))
    return path


def require_ours(path: Path) -> None:
    """OutputError if a file lies at `path` that is no page of ours."""
    try:
        with path.open("rb") as file:
            ours = MARK.encode() in file.read(2000)
    except FileNotFoundError:
        return
    except NotADirectoryError as error:
        raise OutputError(
            f"{path.parent}: a file is in the place of the output folder; choose another one"
        ) from error
    except OSError as error:
        raise OutputError(
            f"{path}: is in the place of the report ({error.strerror}); move it away"
        ) from error
    if not ours:
        raise OutputError(
            f"{path}: is there already, and no report of roadseg's: it may be somebody's own; move it away, "
            "choose another output folder, or give --no-html"
        )


def address(relative: str) -> str:
    """A path below the page's folder as a link."""
    return quote(os.fsencode(relative))


def percent(value: float | None, digits: int = 2) -> str:
    """A share as a percentage; a dash where it is undefined."""
    return "–" if value is None or value != value else f"{100 * value:.{digits}f}"
