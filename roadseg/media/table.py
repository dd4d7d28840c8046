"""Tables that open in a spreadsheet: CSV as RFC 4180 has it, in UTF-8."""

from collections.abc import Iterable, Sequence
from typing import Final

# What makes a spreadsheet take a text for a formula. Source: OWASP, "CSV Injection".
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_QUOTED: Final = (",", ";", "\t", '"', "\r", "\n")
# Spreadsheets take a file without it for one in the letters of their country.
BYTE_ORDER_MARK: Final = "\ufeff"


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A header row and rows; None is an empty cell. To be written as UTF-8, its first mark included.

    Text that a spreadsheet would run as a formula gets a leading apostrophe; so does text that begins with
    one, so that `plain_text` gives every text back as it was. Numbers stay numbers.
    """
    lines = [",".join(map(_cell, row)) for row in (header, *rows)]
    return BYTE_ORDER_MARK + "".join(f"{line}\r\n" for line in lines)


def plain_text(cell: str) -> str:
    """The text that `csv_text` made this cell of."""
    return cell.removeprefix("'")


def _cell(value: object) -> str:
    if not isinstance(value, str):
        return "" if value is None else str(value)
    text = f"'{value}" if value.startswith((*FORMULA, "'")) else value
    # Python's csv would leave a semicolon bare, at which half of the world's spreadsheets begin a new cell
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in _QUOTED) else text
