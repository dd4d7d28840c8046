"""What a run says of its progress: rate of late, time left, and plain lines where there is no terminal."""

import pytest

from roadseg.cli import render


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(render.time, "perf_counter", lambda: now[0])
    return now


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.83, "0.83 s"),
        (2.46, "2.5 s"),
        (3, "3 s"),
        (12.4, "12 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 05 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert render.duration(seconds) == text


def test_the_rate_is_that_of_late(clock: list[float]) -> None:
    pace = render.Pace("pictures")
    clock[0] = 20
    assert pace.text(10, 100) == "10/100  0.5 pictures/s  3 min 00 s left"
    clock[0] = 60  # the slow start is out of sight: 40 in the last 40 s
    assert pace.text(50, 100) == "50/100  1.0 pictures/s  50 s left"
    assert pace.text(100, 100).endswith("pictures/s")
    clock[0] = 61
    pace.text(1, 30)  # the next data set: it begins anew
    clock[0] = 63
    assert pace.text(7, 30) == "7/30  3.0 pictures/s  8 s left"
    assert render.Pace("frames").text(0, 0) == "0  0.0 frames/s"  # a camera: nobody knows the end


def test_plain_lines_now_and_then(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with render.progress("Scoring", "pictures") as update:
        for second in range(1, 26):
            clock[0] = second
            update(second, 25)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["Scoring: 10/25", "Scoring: 20/25", "Scoring: 25/25"]
    with render.progress("Scoring", "pictures") as update:  # a short job needs no line
        update(25, 25)
    with render.progress("Scoring", "pictures", quiet=True) as update:
        clock[0] = 100
        update(1, 25)
    assert capsys.readouterr().err == ""
