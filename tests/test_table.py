"""Tables of any text come back as they were, and run nothing in a spreadsheet."""

import csv
import io

import pytest

from roadseg.media.table import FORMULA, csv_text, plain_text

TEXTS = [
    "plain.png", "=1+1", "+1", "-1", "@x", "\tx", "\rx", "\nx", "＝1",
    "'", "''x", "'=1", 'a "b", c', "a\r\nb", "ü 道 🚗", "",
]  # fmt: skip


def read(text: str) -> list[list[str]]:
    assert text.startswith("\ufeff")
    return list(csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True))


def test_every_text_comes_back() -> None:
    head, *rows = read(csv_text(["=text", "n"], ([text, i] for i, text in enumerate(TEXTS))))
    assert head == ["'=text", "n"]
    assert [plain_text(row[0]) for row in rows] == TEXTS
    assert len({row[0] for row in rows}) == len(TEXTS)  # no two texts look the same
    assert not [row[0] for row in rows if row[0].startswith(FORMULA)]


def test_numbers_stay_numbers_and_lines_are_those_of_the_rfc() -> None:
    assert csv_text(["a", "b"], [[-1.5, None], [-2, "x,y"]]) == '\ufeffa,b\r\n-1.5,\r\n-2,"x,y"\r\n'
    # half of the world's spreadsheets begin a new cell at a semicolon
    assert csv_text(["a"], [["x;=1+1"], ["x\ty"]]) == '\ufeffa\r\n"x;=1+1"\r\n"x\ty"\r\n'


@pytest.mark.parametrize("cell", ["plain", "=1", "'x"])
def test_the_apostrophe_is_taken_off_once(cell: str) -> None:
    ((head,),) = read(csv_text([cell], []))
    assert plain_text(head) == cell
