"""The drawings of a page: matplotlib's SVG, made to live inside HTML.

Text stays text, in the page's own fonts. Colours become the page's variables, so that light, dark and paper
each have theirs. matplotlib takes half a second to import: only `drawing` does, or `prepare` before it.
"""

import io
import re
import threading
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from roadseg.metrics.confusion import mean_defined

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# What is drawn with -> the page's variable for it. The numbers only need to be told apart.
_VARIABLES: Final = {
    "#000001": "--ink",
    "#000002": "--muted",
    "#000003": "--line",
    "#000004": "--c1",
    "#000005": "--c2",
    "#000006": "--c3",
    "#000007": "--c4",
    "#000008": "--bar",
    "#000009": "--paper",
}
INK, MUTED, LINE, *_SERIES, BAR, PAPER = _VARIABLES
SERIES: Final = tuple(_SERIES)
_MOST_POINTS: Final = 1500  # of a curve over time: as many as a wide screen has
_STYLES: Final = ("-", "--", ":", "-.")

Points = tuple[Sequence[float], Sequence[float]]


def prepare() -> None:
    """Import what `drawing` needs in a thread: at a run's end all cores but one would wait for it."""
    threading.Thread(target=import_module, args=("matplotlib.figure",), daemon=True).start()


def drawing(
    label: str,
    draw: Sequence[Callable[["Axes"], None]],
    width: float = 4.6,
    height: float = 2.9,
    name: str = "",
) -> str:
    """An <svg> element of what each of `draw` does to its axes, one above the other, over one x.

    label: what it shows, for those who cannot see it.

    name: unique in the page, since what an SVG defines is known in all of it; default: `label`.
    """
    import matplotlib
    from markupsafe import escape
    from matplotlib.figure import Figure

    settings: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": label,  # the same bytes each time
        "text.parse_math": False,  # a data set may be called a$b$
        "font.family": "DejaVu Sans",
        "font.size": 8.5,
        "text.color": INK,
        "axes.labelcolor": MUTED,
        "axes.edgecolor": MUTED,
        "axes.linewidth": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.formatter.useoffset": False,
        "grid.color": LINE,
        "grid.linewidth": 0.6,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "xtick.major.size": 0,
        "ytick.major.size": 0,
        "lines.linewidth": 1.5,
        "legend.frameon": False,
        "legend.fontsize": 8,
    }
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        # letters that matplotlib's font lacks: the browser has them; a name too long for the layout
        warnings.filterwarnings("ignore", "Glyph|constrained_layout", UserWarning)
        figure = Figure(figsize=(width, height), layout="constrained")
        for panel, axes in zip(
            draw, figure.subplots(len(draw), squeeze=False, sharex=True)[:, 0], strict=True
        ):
            panel(axes)
        image = io.StringIO()
        figure.savefig(image, format="svg", transparent=True, metadata={"Date": None})
    unique = re.sub(r"\W+", "-", name or label)
    svg = image.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{unique}-", svg)
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    svg = re.sub(r"\n\s*", " ", svg)
    for color, variable in _VARIABLES.items():
        svg = svg.replace(color, f"var({variable})")
    return re.sub(r"<svg ", f'<svg role="img" aria-label="{escape(label)}" ', svg, count=1)


def histogram(label: str, values: Sequence[float], xlabel: str, bins: int = 20) -> str:
    """How many pictures have which value (shares 0..1, drawn as %), with the median."""
    from statistics import median

    def draw(axes: "Axes") -> None:
        percent = [100 * value for value in values]
        low = 0 if min(percent) < 50 else min(90, 10 * int(min(percent) // 10))
        axes.hist(percent, bins=bins, range=(low, 100), color=BAR, edgecolor=SERIES[0], linewidth=0.8)
        middle = median(percent)
        axes.axvline(middle, color=SERIES[1], linewidth=1.2)
        axes.text(
            middle, 1.02, f"median {middle:.1f}", transform=axes.get_xaxis_transform(),
            color=SERIES[1], ha="right" if middle > 90 else "center",
        )  # fmt: skip
        axes.set(xlabel=xlabel, ylabel="pictures", xlim=(low, 100))
        axes.locator_params(axis="y", integer=True)
        axes.grid(axis="x", visible=False)

    return drawing(label, [draw])


def lines(
    label: str,
    series: Sequence[tuple[str, Points]],
    xlabel: str,
    ylabel: str,
    *,
    name: str = "",
    mark: tuple[float, float, str] | None = None,
    xlim: tuple[float, float] | None = None,
    ylim: tuple[float, float] | None = None,
    integer: bool = False,
    diagonal: bool = False,
) -> str:
    """Curves (name, (x, y)), and one point that is worth a remark (x, y, text).

    integer: x has no fractions; diagonal: a dashed line from 0 to 100.
    """

    def draw(axes: "Axes") -> None:
        for i, (title, (xs, ys)) in enumerate(series):
            few = len(xs) <= 40 and integer
            axes.plot(
                xs, ys, label=title, color=SERIES[i % len(SERIES)],
                linestyle=_STYLES[i // len(SERIES) % len(_STYLES)], marker="." if few else None,
            )  # fmt: skip
        if mark:
            x, y, text = mark
            axes.plot([x], [y], marker="o", markersize=5, color=INK, markerfacecolor=PAPER, linestyle="")
            right = x > sum(xlim or axes.get_xlim()) / 2
            axes.annotate(
                text, (x, y), xytext=(-6 if right else 6, -18), textcoords="offset points",
                ha="right" if right else "left",
            )  # fmt: skip
        if diagonal:
            axes.plot([0, 100], [0, 100], color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
        axes.set(xlabel=xlabel, ylabel=ylabel, xlim=xlim, ylim=ylim)
        if integer:
            axes.locator_params(axis="x", integer=True)
        if xlim is None:
            axes.margins(x=0.02)
        if integer and len(places := {x for _, (xs, _) in series for x in xs}) == 1:
            axes.set_xlim(min(places) - 1, max(places) + 1)  # else its ticks have fractions
        if len(series) > 1:
            axes.legend(ncols=2 if len(series) < 9 else 3)

    return drawing(label, [draw], name=name)


def over_time(
    label: str, seconds: Sequence[float], panels: Sequence[tuple[str, str, Sequence[float], str | None]]
) -> str:
    """Panels above each other over one time; each is (title, unit, values, "zero" or None: where y starts).

    Of long videos each point is the mean of several frames.
    """
    every = -(-len(seconds) // _MOST_POINTS)
    seconds = _thinned(seconds, every)

    def panel(
        i: int, title: str, unit: str, values: Sequence[float], start: str | None
    ) -> Callable[["Axes"], None]:
        def draw(axes: "Axes") -> None:
            axes.plot(seconds, _thinned(values, every), color=SERIES[i % len(SERIES)], linewidth=1.2)
            axes.set_title(title, loc="left", color=INK, fontsize=8.5)
            axes.set(ylabel=unit, xlim=(min(seconds), max(max(seconds), min(seconds) + 0.1)))
            if start == "zero":
                axes.set_ylim(0, None)
            axes.locator_params(axis="y", nbins=4)
            if i == len(panels) - 1:
                axes.set_xlabel("seconds")

        return draw

    return drawing(label, [panel(i, *each) for i, each in enumerate(panels)], 9.6, 1.75 * len(panels))


def _thinned(values: Sequence[float], every: int) -> list[float]:
    groups = (values[i : i + every] for i in range(0, len(values), every))
    return [mean_defined(group) for group in groups]  # a gap where none is
