"""Results as SVG: bars for the peers, curves for growth. Legible on light and on dark pages alike."""

import math
import statistics
from html import escape

# Gray of middle brightness: it stands out from white as from black, and from nothing else that is needed here.
INK = "#7d8590"
OURS = "#2f81f7"
THEIRS = "#7d859066"
WIDTH = 760
LABEL = 150
VALUE = 150
BAR, GAP = 18, 8
TITLE = 34


def bars(heading, panels):
    """Each panel is a title and its bars: a name, a value with its least and greatest, and whether it is ours."""
    drawn, top = [], TITLE + 10
    for title, rows in panels:
        drawn.append(text(0, top + 14, title, weight="600"))
        top += TITLE - 10
        drawn += panel_of_bars(rows, top)
        top += len(rows) * (BAR + GAP) + TITLE - 10
    return svg(heading, top, drawn)


def panel_of_bars(rows, top):
    longest = max(high for _, _, _, high, _ in rows)
    scale = (WIDTH - LABEL - VALUE) / longest
    for place, (name, value, low, high, ours) in enumerate(rows):
        y = top + place * (BAR + GAP)
        middle = y + BAR / 2
        yield text(LABEL - 10, middle + 5, name, anchor="end", weight="600" if ours else "400")
        yield (f'<rect x="{LABEL}" y="{y}" width="{value * scale:.1f}" height="{BAR}" rx="2" '
               f'fill="{OURS if ours else THEIRS}"/>')
        yield line(LABEL + low * scale, middle, LABEL + high * scale, middle)
        yield text(LABEL + max(value, high) * scale + 8, middle + 5, number(value))


def curves(heading, panels):
    """Each panel is a title, what is counted, and its points: how many, and a value with its least and greatest."""
    width, height, top, gap = 210, 180, TITLE + 44, 55
    drawn = []
    highest = nice(max(high for _, _, points in panels for _, _, _, high in points))
    for place, (title, axis, points) in enumerate(panels):
        left = 40 + place * (width + gap)
        drawn.append(text(left, top - 14, title, weight="600"))
        drawn += panel_of_curve(axis, points, highest, (left, top, width, height))
    return svg(heading, top + height + 56, drawn)


def panel_of_curve(axis, points, highest, frame):
    left, top, width, height = frame
    decades = max(1, math.log10(max(at for at, *_ in points)))

    def x(at):
        return left + math.log10(at) / decades * width

    def y(value):
        return top + height - value / highest * height

    for step in range(5):
        value = highest * step / 4
        yield line(left, y(value), left + width, y(value), opacity=0.25)
        yield text(left - 6, y(value) + 4, f"{value:g}", anchor="end", size=11)
    for at, _, low, high in points:
        yield text(x(at), top + height + 18, f"{at:,}", anchor="middle", size=11)
        yield line(x(at), y(low), x(at), y(high))
    yield text(left + width / 2, top + height + 38, axis, anchor="middle", size=12)
    path = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value, *_ in points)
    yield f'<polyline points="{path}" fill="none" stroke="{OURS}" stroke-width="2"/>'
    for at, value, *_ in points:
        yield f'<circle cx="{x(at):.1f}" cy="{y(value):.1f}" r="3.5" fill="{OURS}"/>'


def svg(heading, height, drawn):
    body = "\n".join([text(0, 18, heading, size=15, weight="600"), *drawn])
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-10 -4 {WIDTH + 60} {height:.0f}" '
            f'font-family="system-ui, sans-serif" role="img" aria-label="{escape(heading)}">\n{body}\n</svg>\n')


def text(x, y, words, anchor="start", size=13, weight="400"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" fill="{INK}" font-size="{size}" font-weight="{weight}" '
            f'text-anchor="{anchor}">{escape(words)}</text>')


def line(x1, y1, x2, y2, opacity=1.0):
    return (f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{INK}" '
            f'stroke-opacity="{opacity}"/>')


def spread(values):
    """A value and how far it went: median, least, greatest."""
    return statistics.median(values), min(values), max(values)


def number(value):
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def nice(value):
    """The next number that four steps divide well."""
    step = 10 ** math.floor(math.log10(value))
    return next(step * factor for factor in (1, 2, 4, 6, 8, 10) if value <= step * factor)
