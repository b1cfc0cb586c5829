"""Curves as inline SVG, from lines of steps, values and intervals."""

import dataclasses
import html
import math
from collections.abc import Sequence

# Sized so that 13 units are about 12 px on a phone 390 px wide.
WIDTH, HEIGHT = 400, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 14, 40
_ROW = 19  # height of a legend row
# Okabe and Ito's palette, dark enough on white; blue and vermilion first.
COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#aa4499",
    "#7a6a00",
    "#444444",
    "#4aa3df",
    "#8c564b",
)
# Most characters of a name in the legend that leave room for "at the end 12.3 %", and
# for the number alone, which takes so many pixels.
BESIDE_MUCH, BESIDE_VALUE, VALUE_PX = 27, 38, 52
_DASHES = ("6 4", "2 3", "9 3 2 3", "1 5")


@dataclasses.dataclass(frozen=True)
class Line:
    """One curve.

    Attributes:
      name: what the legend says.
      steps: x values, ascending.
      values: y values; not finite ones leave a gap.
      low: lower ends of the 95 % intervals, or empty.
      high: upper ends, or empty.
      row: the row whose colour it has; empty: the name says it.
      is_dashed: drawn dashed and without its band, as the other of a pair.
    """

    name: str
    steps: tuple[int, ...]
    values: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    row: str = ""
    is_dashed: bool = False


@dataclasses.dataclass(frozen=True)
class Level:
    """A horizontal line: a floor, drawn dashed."""

    name: str
    value: float


@dataclasses.dataclass(frozen=True)
class Panel:
    """One set of axes.

    Attributes:
      title: plain words.
      note: what a reader should see, below the title.
      lines: curves.
      levels: floors.
      is_share: values are shares and are written as percent.
      group: heading that it stands under, with its neighbours.
    """

    title: str
    note: str
    lines: tuple[Line, ...]
    levels: tuple[Level, ...] = ()
    is_share: bool = False
    group: str = ""


def colour_of(name: str, names: Sequence[str]) -> str:
    """A row's colour: its place among all rows decides, on every panel."""
    return COLOURS[list(names).index(name) % len(COLOURS)]


def draw(panel: Panel, names: Sequence[str]) -> str:
    """The panel as an `<svg>` element that scales to the width it is given.

    Args:
      panel: what to draw.
      names: all rows of the report, in order, for the colours.
    """
    low, high = _range(panel)
    y_ticks = ticks(low, high)
    low, high = min(low, y_ticks[0]), max(high, y_ticks[-1])
    last = max((s for line in panel.lines for s in line.steps), default=1) or 1
    axes = _Axes(float(last), low, high, panel.is_share)
    parts = [axes.grid(y_ticks), axes.x_axis(ticks(0, last))]
    for i, level in enumerate(panel.levels):
        parts.append(axes.level(level.value, _DASHES[i % len(_DASHES)]))
    for line in panel.lines:
        colour = colour_of(line.row or line.name, names)
        parts += [axes.band(line, colour), axes.curve(line, colour)]
    rows = len(panel.lines) + len(panel.levels)
    parts.append(_legend(panel, names, axes))
    height = HEIGHT + _ROW * rows + 8
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img"'
        f' aria-label="{html.escape(panel.title)}">{"".join(parts)}</svg>'
    )


def ticks(low: float | int, high: float | int, count: int = 5) -> list[float]:
    """About `count` round numbers that reach around [low, high].

    >>> ticks(0, 0.42)
    [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    """
    span = max(high - low, 1e-9)
    power = 10.0 ** math.floor(math.log10(span / count))
    step = next(m * power for m in (1, 2, 5, 10) if m * power * count >= span * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 10) for i in range(first, last + 1)]


def number(value: float, is_share: bool) -> str:
    """A value as the page writes it: `12.3 %`, `0.41 %`, or `5.27`.

    The space before the sign does not break.
    """
    if not math.isfinite(value):
        return "not measured"
    if not is_share:
        return f"{value:.2f}"
    percent = 100 * value
    digits = 2 if 0 < percent < 1 else 1
    return f"{percent:.{digits}f}\N{NO-BREAK SPACE}%"


def _range(panel: Panel) -> tuple[float, float]:
    values = [level.value for level in panel.levels]
    for line in panel.lines:
        values += [*line.values, *line.low, *line.high]
    values = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low = 0.0 if panel.is_share else min(values)
    return low, max(max(values), low + 1e-3)


@dataclasses.dataclass(frozen=True)
class _Axes:
    last: float
    low: float
    high: float
    is_share: bool

    def x(self, step: float | int) -> float:
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * step / self.last

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return _TOP + (HEIGHT - _TOP - _BOTTOM) * (1 - share)

    def grid(self, values: Sequence[float]) -> str:
        parts = []
        for value in values:
            y = self.y(value)
            text = f"{100 * value:g} %" if self.is_share else f"{value:g}"
            parts.append(
                f'<path class="grid" d="M{_LEFT} {y:.1f}H{WIDTH - _RIGHT}"/>'
                f'<text class="tick" x="{_LEFT - 6}" y="{y + 4:.1f}"'
                f' text-anchor="end">{text}</text>'
            )
        return "".join(parts)

    def x_axis(self, values: Sequence[float]) -> str:
        base = HEIGHT - _BOTTOM
        parts = [f'<path class="axis" d="M{_LEFT} {base}H{WIDTH - _RIGHT}"/>']
        middle = (_LEFT + WIDTH - _RIGHT) / 2
        marks = [(self.x(v), base + 16, f"{v:g}") for v in values if v <= self.last]
        for x, y, text in [*marks, (middle, HEIGHT - 6, "training steps")]:
            parts.append(
                f'<text class="tick" x="{x:.1f}" y="{y}" text-anchor="middle">'
                f"{text}</text>"
            )
        return "".join(parts)

    def level(self, value: float, dash: str) -> str:
        if not math.isfinite(value):
            return ""
        return (
            f'<path class="level" stroke-dasharray="{dash}"'
            f' d="M{_LEFT} {self.y(value):.1f}H{WIDTH - _RIGHT}"/>'
        )

    def band(self, line: Line, colour: str) -> str:
        if line.is_dashed:
            return ""
        ends = zip(line.steps, line.low, line.high, strict=False)
        ends = [e for e in ends if math.isfinite(e[1]) and math.isfinite(e[2])]
        if not ends:
            return ""
        upper = [f"{self.x(s):.1f},{self.y(high):.1f}" for s, _, high in ends]
        lower = [f"{self.x(s):.1f},{self.y(low):.1f}" for s, low, _ in reversed(ends)]
        points = " ".join(upper + lower)
        return f'<polygon fill="{colour}" opacity="0.15" points="{points}"/>'

    def curve(self, line: Line, colour: str) -> str:
        path, dots, is_open = [], [], False
        for step, value in zip(line.steps, line.values, strict=True):
            if not math.isfinite(value):
                is_open = False
                continue
            x, y = self.x(step), self.y(value)
            path.append(f"{'L' if is_open else 'M'}{x:.1f} {y:.1f}")
            dots.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" fill="{colour}"/>')
            is_open = True
        shown = "".join(dots) if len(dots) <= 40 else dots[-1]
        return (
            f'<path fill="none" stroke="{colour}" stroke-width="2.2"{_dash(line)}'
            f' stroke-linejoin="round" d="{"".join(path)}"/>{shown}'
        )


def _dash(line: Line) -> str:
    return ' stroke-dasharray="5 4"' if line.is_dashed else ""


def _legend(panel: Panel, names: Sequence[str], axes: _Axes) -> str:
    """A row per curve and floor, with the last value, below the axes."""
    parts, y = [], HEIGHT + 12
    for line in panel.lines:
        colour = colour_of(line.row or line.name, names)
        mark = (
            f'<path stroke="{colour}" stroke-width="3"{_dash(line)}'
            f' d="M{_LEFT} {y - 4}h26"/>'
        )
        known = [value for value in line.values if math.isfinite(value)]
        end = number(known[-1], axes.is_share) if known else "not measured"
        end = end if len(line.name) > BESIDE_MUCH else f"at the end {end}"
        parts.append(mark + _legend_text(line.name, end, y))
        y += _ROW
    for i, level in enumerate(panel.levels):
        dash = _DASHES[i % len(_DASHES)]
        mark = (
            f'<path class="level" stroke-dasharray="{dash}" d="M{_LEFT} {y - 4}h26"/>'
        )
        parts.append(
            mark + _legend_text(level.name, number(level.value, axes.is_share), y)
        )
        y += _ROW
    return "".join(parts)


def _legend_text(name: str, value: str, y: int) -> str:
    left = _LEFT + 34
    width = WIDTH - _RIGHT - left - VALUE_PX  # a longer name is drawn narrower
    fit = f' textLength="{width}" lengthAdjust="spacingAndGlyphs"'
    fit = fit if len(name) > BESIDE_VALUE else ""
    return (
        f'<text class="legend" x="{left}" y="{y}"{fit}>{html.escape(name)}</text>'
        f'<text class="legend" x="{WIDTH - _RIGHT}" y="{y}" text-anchor="end">'
        f"{html.escape(value)}</text>"
    )
