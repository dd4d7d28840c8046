"""What people see in a terminal stays in its line, whatever a file is called."""

import os

import pytest

from roadseg.cli import render

ROGUE = "a\nb\x1b[31m\r\u202egnp.\udce9"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb", r"a\nb"),
        ("\x1b[2Jx", r"\x1b[2Jx"),
        ("x\x9b2J\x7f", r"x\x9b2J\x7f"),
        ("evil\u202egnp.exe", r"evil\u202egnp.exe"),
        ("\u2028\u2029", r"\u2028\u2029"),
        (os.fsdecode(b"latin-\xe9"), r"latin-\udce9"),
        ("Straße 街道\u3000[b] 👩\u200d💻 \\n", "Straße 街道\u3000[b] 👩\u200d💻 \\n"),
    ],
)
def test_what_is_shown(text: str, shown: str) -> None:
    assert render.shown(text) == shown


def test_a_name_stays_in_its_row(capsys: pytest.CaptureFixture[str]) -> None:
    render.table("title", ["picture", ROGUE], [[ROGUE, "1.00"], ["plain", "2.00"]])
    render.say(ROGUE)
    render.note(ROGUE)
    render.error(ROGUE)
    out, err = capsys.readouterr()
    # title, heads, two rows, and the line that was said
    lines = out.splitlines()
    assert len(lines) == 5
    assert lines[2].split()[-1] == "1.00"
    assert r"a\nb\x1b[31m\r" in lines[2]
    assert len(err.splitlines()) == 2
    assert not {"\x1b", "\r", "\u202e"} & set(out + err)


def test_a_table_that_is_piped_is_not_cut(capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"an-experiment-with-a-long-name-{i}" for i in range(6)]
    render.table("title", ["", *names], [["row", *"123456"]])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == names
    assert lines[2].split() == ["row", *"123456"]
