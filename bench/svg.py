"""Owns how plots are drawn: as SVG that needs nothing, on whatever is behind it, light or dark."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

WIDTH = 720
STYLE = """
text { font: 13px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328; }
.title { font-size: 15px; font-weight: 600; }
.soft { fill: #59636e; font-size: 12px; }
.strong { font-weight: 600; }
.grid { stroke: #d1d9e0; stroke-width: 1; }
.line { fill: none; stroke-width: 2.5; stroke-linejoin: round; stroke-linecap: round; }
.dashed { stroke: #59636e; stroke-dasharray: 4 4; }
.c0 { fill: #0b7285; } .s0 { stroke: #0b7285; }
.c1 { fill: #a6afb8; } .s1 { stroke: #a6afb8; }
.c2 { fill: #c2410c; } .s2 { stroke: #c2410c; }
.c3 { fill: #6941c6; } .s3 { stroke: #6941c6; }
.c4 { fill: #2b8a3e; } .s4 { stroke: #2b8a3e; }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc; }
  .soft { fill: #9198a1; }
  .grid { stroke: #3d444d; }
  .dashed { stroke: #9198a1; }
  .c0 { fill: #3bc9db; } .s0 { stroke: #3bc9db; }
  .c1 { fill: #656c76; } .s1 { stroke: #656c76; }
  .c2 { fill: #ff922b; } .s2 { stroke: #ff922b; }
  .c3 { fill: #b197fc; } .s3 { stroke: #b197fc; }
  .c4 { fill: #69db7c; } .s4 { stroke: #69db7c; }
}
"""


@dataclass(frozen=True, slots=True)
class Bar:
    """``ours`` stands out."""

    name: str
    value: float
    ours: bool = False


@dataclass(frozen=True, slots=True)
class Axis:
    """From data to places on the picture; ``log`` is for data above 0."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        low, high, here = (
            (math.log10(x) for x in (self.low, self.high, value))
            if self.log
            else (
                self.low,
                self.high,
                value,
            )
        )
        return self.start + (here - low) / (high - low) * (self.end - self.start)

    def ticks(self) -> Iterator[float]:
        if self.log:
            for power in range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1):
                yield from (x for x in (10.0**power, 2 * 10.0**power, 5 * 10.0**power) if self.low <= x <= self.high)
            return
        step = _round_step((self.high - self.low) / 5)
        count = math.floor((self.high - self.low) / step + 1e-9)
        yield from (self.low + step * index for index in range(count + 1))


def _round_step(least: float) -> float:
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= least * 0.999)


def _number(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value < 10 else f"{value:.0f}" if value == int(value) else f"{value:.1f}"


def _text(x: float, y: float, text: str, style: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{style}" text-anchor="{anchor}">{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{style}"/>'


def _picture(height: float, title: str, parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" role="img">'
    return "\n".join([head, f"<title>{escape(title)}</title>", f"<style>{STYLE}</style>", *parts, "</svg>", ""])


def bars(title: str, unit: str, data: Sequence[Bar], *, log: bool = False) -> str:
    """A bar each, from the top in the order given; with ``log`` dots on lines, because lengths would mislead."""
    left, top, row = 210.0, 62.0, 26.0
    bottom = top + row * len(data)
    most = max(bar.value for bar in data)
    low = min(bar.value for bar in data) * 0.8 if log else 0.0
    axis = Axis(low, most * (1.25 if log else 1.0), left, WIDTH - 70, log)
    parts = [_text(8, 22, title, "title"), _text(8, 42, unit, "soft")]
    for tick in axis.ticks():
        x = axis.at(tick)
        parts += [_line(x, top - 6, x, bottom, "grid"), _text(x, bottom + 18, _number(tick), "soft", "middle")]
    for index, bar in enumerate(data):
        parts += _bar(bar, axis, top + row * index, left, log=log)
    return _picture(bottom + 30, title, parts)


def _bar(bar: Bar, axis: Axis, y: float, left: float, *, log: bool) -> list[str]:
    x, colour, weight = axis.at(bar.value), 0 if bar.ours else 1, "strong" if bar.ours else ""
    name = _text(left - 10, y + 16, bar.name, weight, "end")
    value = _text(x + 10, y + 16, _number(bar.value), weight)
    if log:
        dot = f'<circle cx="{x:.1f}" cy="{y + 11:.1f}" r="6" class="c{colour}"/>'
        return [name, _line(left, y + 11, x, y + 11, "grid"), dot, value]
    shape = f'<rect x="{left}" y="{y + 3:.1f}" width="{max(1.0, x - left):.1f}" height="17" rx="2" class="c{colour}"/>'
    return [name, shape, value]


Points = Sequence[tuple[float, float]]


def lines(title: str, unit: str, x_title: str, series: Mapping[str, Points], *, level: float | None = None) -> str:
    """Lines over a logarithmic x axis, the first of them ours, each named at its end; ``level`` is drawn dashed."""
    left, right, top, bottom = 52.0, WIDTH - 190.0, 66.0, 300.0
    xs = [x for points in series.values() for x, _ in points]
    most = max([y for points in series.values() for _, y in points] + ([level] if level else []))
    across, up = Axis(min(xs), max(xs), left, right, log=True), Axis(0.0, most * 1.08, bottom, top)
    parts = [_text(8, 22, title, "title"), _text(8, 42, unit, "soft")]
    for tick in up.ticks():
        y = up.at(tick)
        parts += [_line(left, y, right, y, "grid"), _text(left - 8, y + 4, _number(tick), "soft", "end")]
    for x in sorted(set(xs)):
        parts.append(_text(across.at(x), bottom + 20, _number(x), "soft", "middle"))
    parts.append(_text((left + right) / 2, bottom + 42, x_title, "soft", "middle"))
    if level is not None:
        parts.append(_line(left, up.at(level), right, up.at(level), "dashed"))
    heights = _apart([up.at(points[-1][1]) for points in series.values()])
    for index, (name, points) in enumerate(series.items()):
        parts += _curve(_colour(index), points, across, up)
        parts.append(_text(right + 12, heights[index] + 4, name, f"c{_colour(index)} strong"))
    return _picture(bottom + 56, title, parts)


def _colour(index: int) -> int:
    """The first line is ours; 1 is the colour of what does not stand out."""
    return index + 1 if index else 0


def _curve(colour: int, points: Points, across: Axis, up: Axis) -> list[str]:
    places = [(across.at(x), up.at(y)) for x, y in points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dots = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" class="c{colour}"/>' for x, y in places]
    return [f'<polyline points="{path}" class="line s{colour}"/>', *dots]


def _apart(heights: Sequence[float], least: float = 17.0) -> list[float]:
    """The heights of labels, moved down where they would cover each other."""
    moved = list(heights)
    order = sorted(range(len(heights)), key=lambda index: heights[index])
    for above, below in pairwise(order):
        moved[below] = max(moved[below], moved[above] + least)
    return moved
