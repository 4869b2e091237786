"""Figures of the report as SVG text, and pictures as data URIs. Pure functions; colours come from CSS variables.

A figure drawn for the page inherits the page's palette; :func:`standalone` adds the same palette to a file. Accuracies
are fractions in 0..1 and are printed as percentages. Every text passes through ``html.escape``.
"""

from __future__ import annotations

import base64
import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Tone = Literal["plain", "accent", "pooled", "baseline", "quiet"]
Image = NDArray[np.uint8]

PALETTE = """
:root{--paper:#fdfcfa;--ink:#1d2023;--muted:#686d73;--faint:#8d9197;--rule:#e3e0d9;--wash:#f4f2ec;--accent:#0d6b86;
--baseline:#b36b12;--wrong:#b23a2b;--plain:#4b5157;--dot:54%;color-scheme:light dark}
@media screen and (prefers-color-scheme:dark){:root{--paper:#14171a;--ink:#e6e4df;--muted:#a0a5ab;--faint:#7c8288;
--rule:#2d3237;--wash:#1c2024;--accent:#5bb8d4;--baseline:#e0a24d;--wrong:#ef8576;--plain:#b9bec4;--dot:74%}}
"""
"""The colours of page and files, light and dark; paper is light."""

FIGURE_STYLE = """
.fig text{font:12px/1.2 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;fill:var(--ink);
paint-order:stroke;stroke:var(--paper);stroke-width:4px;stroke-linejoin:round;font-variant-numeric:tabular-nums}
.fig .muted{fill:var(--muted)}.fig .small{font-size:11px}.fig .strong{font-weight:650}.fig .end{text-anchor:end}
.fig .mid{text-anchor:middle}.fig .grid{stroke:var(--rule);stroke-width:1}.fig .chance{stroke:var(--faint);
stroke-dasharray:2 3}.fig .line{fill:none;stroke-width:1.75;stroke-linejoin:round}
.fig .plain{--tone:var(--plain)}.fig .accent,.fig .pooled{--tone:var(--accent)}.fig .baseline{--tone:var(--baseline)}
.fig .quiet{--tone:var(--faint)}.fig .stroke{stroke:var(--tone)}.fig .fill{fill:var(--tone)}
.fig .open{fill:var(--paper);stroke:var(--tone);stroke-width:1.75}.fig .oncell{stroke:none}
.fig .dense{fill:var(--paper)}
"""

PERSON_COLOURS = ("#ffd166", "#4cc9f0", "#f78fb3", "#9be564", "#c3a6ff", "#ff9f6e", "#7ae0c3", "#e9e9e9")


def standalone(svg: str) -> str:
    """A figure of the page as a file of its own, with palette, paper and namespace."""
    style = f"<style>{PALETTE}{FIGURE_STYLE}svg.fig{{background:var(--paper)}}</style>"
    opening, rest = svg.split(">", 1)
    namespace = "" if "xmlns=" in opening else ' xmlns="http://www.w3.org/2000/svg"'
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{opening}{namespace}>{style}{rest}\n'


def percent(fraction: float, digits: int = 1) -> str:
    """0.9312 -> '93.1'."""
    return f"{100 * fraction:.{digits}f}"


def signed_points(difference: float) -> str:
    """0.031 -> '+3.1', with a true minus sign for losses."""
    value = round(100 * difference, 1)
    return "0.0" if value == 0 else f"{'+' if value > 0 else '−'}{abs(value):.1f}"


def data_uri(image: Image, quality: int | None = 82) -> str:
    """An RGB or grey uint8 image as a data URI: JPEG of ``quality``, or PNG where that is None."""
    suffix, options = (".png", []) if quality is None else (".jpg", [cv2.IMWRITE_JPEG_QUALITY, quality])
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    done, buffer = cv2.imencode(suffix, bgr, options)
    if not done:
        raise ValueError(f"an image of shape {image.shape} and type {image.dtype} cannot be encoded as {suffix[1:]}")
    kind = "png" if quality is None else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.tobytes()).decode('ascii')}"


def colour_map(values: NDArray[np.floating], low: float | None = None, high: float | None = None) -> Image:
    """Real values (H, W) as a magma-coloured RGB image (H, W, 3); by default from the 1st to the 99.5th percentile."""
    finite = np.nan_to_num(np.asarray(values, dtype=np.float32))
    bottom = float(np.percentile(finite, 1)) if low is None else low
    top = float(np.percentile(finite, 99.5)) if high is None else high
    scaled = np.clip((finite - bottom) / max(top - bottom, 1e-9), 0, 1)
    coloured = cv2.applyColorMap((255 * scaled).round().astype(np.uint8), cv2.COLORMAP_MAGMA)
    return np.asarray(cv2.cvtColor(coloured, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def map_picture(tapped: NDArray[np.floating], crop_rgb: Image | None = None) -> Image:
    """A tapped map (C, h, w) as one picture: the root mean square over channels, standardised per channel first.

    Because channels are standardised, one strong channel does not hide the others. With ``crop_rgb`` (H, W, 3) the map
    is enlarged to the crop's size, nearest cell, so that cells stay visible.
    """
    maps = np.asarray(tapped, dtype=np.float32)
    spread = maps.std((1, 2), keepdims=True)
    live = maps[spread[:, 0, 0] > 0]
    standard = (live - live.mean((1, 2), keepdims=True)) / np.maximum(live.std((1, 2), keepdims=True), 1e-6)
    energy = np.sqrt((standard**2).mean(0)) if len(standard) else np.zeros(maps.shape[1:], np.float32)
    picture = colour_map(energy)
    if crop_rgb is None:
        return picture
    height, width = crop_rgb.shape[:2]
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_NEAREST), dtype=np.uint8)


@dataclass(frozen=True)
class Mark:
    """One row of a dot-and-interval plot; ``low`` and ``high`` bound the interval, ``text`` is printed at the right."""

    label: str
    value: float
    low: float
    high: float
    text: str = ""
    tone: Tone = "plain"


def _svg(width: float, height: float, body: str, title: str) -> str:
    return (
        f'<svg class="fig" viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" role="img" '
        f'aria-label="{escape(title, quote=True)}"><title>{escape(title)}</title>{body}</svg>'
    )


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{escape(text)}</text>'


def text_width_px(text: str, size_px: float = 12) -> float:
    """Approximate width of a text in a wide sans-serif font, because the reader's font is unknown."""
    return size_px * sum(map(_ems, text))


def _ems(letter: str) -> float:
    if unicodedata.combining(letter):
        return 0.0
    if unicodedata.east_asian_width(letter) in "WF":
        return 1.0
    return 0.4 if letter in " iljtfr.,:;'|!()[]-" else 0.95 if letter in "mwMW" else 0.64


def fitted(text: str, room_px: float, size_px: float = 12) -> str:
    """The text, or as much of its start as fits in ``room_px``, with an ellipsis."""
    if text_width_px(text, size_px) <= room_px:
        return text
    kept = text
    while kept and text_width_px(f"{kept}…", size_px) > room_px:
        kept = kept[:-1]
    return f"{kept.rstrip()}…"


def _label(x: float, y: float, text: str, kind: str, room_px: float, size_px: float = 12) -> str:
    """A text cut to its room; the whole text is shown on hovering."""
    short = fitted(text, room_px, size_px)
    title = f"<title>{escape(text)}</title>" if short != text else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{escape(short)}{title}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str, width: float | None = None) -> str:
    stroke = f' stroke-width="{width:g}"' if width else ""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"{stroke}/>'


def domain(lows: Sequence[float], step: float = 0.1) -> tuple[float, float]:
    """Axis from the last multiple of ``step`` below the lowest value to 1."""
    lowest = min((low for low in lows if np.isfinite(low)), default=0.0)
    return max(0.0, min(float(np.floor(lowest / step + 1e-9) * step), 1 - 2 * step)), 1.0


def _ticks(low: float, high: float, room_px: float) -> list[float]:
    for step in (0.05, 0.1, 0.2, 0.25, 0.5):
        count = int(np.floor((high - low) / step + 1e-9)) + 1
        if room_px / count >= 44:
            break
    first = np.ceil(low / step - 1e-9) * step + 0.0  # not -0
    return [float(t) for t in np.arange(first, high + 1e-9, step)]


def interval_plot(
    marks: Sequence[Mark],
    title: str,
    *,
    width: int = 720,
    axis: tuple[float, float] | None = None,
    chance: float | None = None,
    label_width: int = 150,
) -> str:
    """Dots with their intervals, one row each, on a common percentage axis.

    A mark without an interval (NaN) is a dot alone. Below 560 px the labels stand above their rows so that the plot
    stays legible on a phone. ``chance`` draws a dashed line if it is on the axis.
    """
    low, high = axis or domain([float(np.fmin(mark.low, mark.value)) for mark in marks])
    low, high = (low, high) if high > low else (low - 0.5, low + 0.5)  # nothing differs
    stacked = width < 560
    left, right = (4.0, 4.0) if stacked else (float(label_width), 150.0)
    row, top, bottom = (42.0 if stacked else 26.0), 8.0, 24.0
    height = top + row * len(marks) + bottom
    room = width - left - right

    def x(value: float) -> float:
        return left + 6 + (room - 12) * (min(max(value, low), high) - low) / (high - low)

    parts = []
    for tick in _ticks(low, high, room):
        parts.append(_line(x(tick), top, x(tick), height - bottom, "grid"))
        parts.append(_text(x(tick), height - 7, f"{100 * tick:.0f}", "muted small mid"))
    if chance is not None and low < chance < high:
        parts.append(_line(x(chance), top, x(chance), height - bottom, "chance"))
    for index, mark in enumerate(marks):
        y = top + row * index + (29 if stacked else row / 2)
        above = y - 13 if stacked else y + 4
        label_room = width - text_width_px(mark.text) - 10 if stacked else label_width - 8
        parts.append(_label(0, above, mark.label, "strong" if mark.tone == "accent" else "", label_room))
        parts.append(_text(width, above, mark.text, "muted end"))
        whiskers = _line(x(mark.low), y, x(mark.high), y, "stroke", 2) if np.isfinite(mark.low) else ""
        parts.append(
            f'<g class="{mark.tone}">{whiskers}<circle cx="{x(mark.value):.1f}" cy="{y:.1f}" r="4.5" class="fill"/></g>'
        )
    return _svg(width, height, "".join(parts), title)


@dataclass(frozen=True)
class Change:
    """One row of a before-and-after plot."""

    label: str
    before: float
    after: float
    text: str = ""


def change_plot(rows: Sequence[Change], title: str, *, width: int = 720) -> str:
    """Before (open dot) and after (filled dot) per row on one percentage axis; losses in the warning colour."""
    low, high = domain([min(row.before, row.after) for row in rows])
    stacked = width < 560
    label_room = min(max((text_width_px(row.label) for row in rows), default=0.0), 260.0)
    left, right = (4.0, 4.0) if stacked else (label_room + 14, 120.0)
    step, top, bottom = (38.0 if stacked else 22.0), 8.0, 24.0
    height = top + step * len(rows) + bottom
    room = width - left - right

    def x(value: float) -> float:
        return left + 6 + (room - 12) * (value - low) / (high - low)

    parts = []
    for tick in _ticks(low, high, room):
        parts.append(_line(x(tick), top, x(tick), height - bottom, "grid"))
        parts.append(_text(x(tick), height - 7, f"{100 * tick:.0f}", "muted small mid"))
    for index, row in enumerate(rows):
        y = top + step * index + (27 if stacked else step / 2)
        above = y - 12 if stacked else y + 4
        room_left = width - text_width_px(row.text) - 10 if stacked else label_room
        parts.append(_label(0, above, row.label, "", room_left))
        parts.append(_text(width, above, row.text, "muted end"))
        lost = row.after < row.before
        stroke = 'style="--tone:var(--wrong)"' if lost else ""
        parts.append(
            f'<g class="accent" {stroke}>' + _line(x(row.before), y, x(row.after), y, "stroke", 2.5) + "</g>"
            f'<g class="baseline"><circle cx="{x(row.before):.1f}" cy="{y:.1f}" r="4" class="open"/></g>'
            f'<g class="accent" {stroke}><circle cx="{x(row.after):.1f}" cy="{y:.1f}" r="4.25" class="fill"/></g>'
        )
    return _svg(width, height, "".join(parts), title)


def log_range(values: Sequence[float]) -> tuple[float, float]:
    """Least and greatest finite value for a logarithmic axis, at least a factor of two apart, without zero."""
    positive = [value for value in values if np.isfinite(value) and value > 0]
    most = max(positive, default=1.0)
    return min(max(min(positive, default=1.0), most / 1e4), most / 2), most


def _three(least: float, most: float, scale: Literal["percent", "log"]) -> tuple[float, float, float]:
    """The ends of an axis and its middle."""
    return least, (least + most) / 2 if scale == "percent" else math.sqrt(least * most), most


def curve_plot(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    title: str,
    *,
    chosen: int | None = None,
    scale: Literal["percent", "log"] = "log",
    width: int = 220,
    height: int = 128,
) -> str:
    """A small line chart: curves (name -> steps, values) over epochs, the chosen epoch marked.

    Shares have the axis 0 to 100 %. Losses have a logarithmic one from their least to their greatest value, because
    they fall by a factor in the first epochs and by a little afterwards. The curve whose name starts with 'val' is
    drawn in the accent colour, others quietly.
    """
    steps = [s for xs, _ in curves.values() for s in xs]
    values = [v for _, ys in curves.values() for v in ys if np.isfinite(v)]
    last = max(max(steps, default=1.0), 1.0)
    least, most = (0.0, 1.0) if scale == "percent" else log_range(values)
    ticks = {tick: f"{100 * tick:.0f}" if scale == "percent" else f"{tick:.2g}" for tick in _three(least, most, scale)}
    left, right, top, bottom = max(34.0, 10 + max(text_width_px(text, 11) for text in ticks.values())), 8.0, 20.0, 20.0

    def x(step: float) -> float:
        return left + (width - left - right) * step / last

    def share(value: float) -> float:
        if scale == "percent":
            return value
        return (math.log(max(value, least)) - math.log(least)) / (math.log(most) - math.log(least))

    def y(value: float) -> float:
        return height - bottom - (height - top - bottom) * min(max(share(value), 0.0), 1.0)

    parts = [_text(left, 12, title, "small strong")]
    for tick, text in ticks.items():
        parts.append(_line(left, y(tick), width - right, y(tick), "grid"))
        parts.append(_text(left - 6, y(tick) + 4, text, "muted small end"))
    parts.append(_text(width - right, height - 6, f"epoch {int(last) + 1}", "muted small end"))
    if chosen is not None and 0 <= chosen <= last:
        parts.append(_line(x(chosen), top, x(chosen), height - bottom, "chance"))
    for name, (xs, ys) in sorted(curves.items(), key=lambda item: item[0].startswith("val")):
        points = [(x(s), y(v)) for s, v in zip(xs, ys, strict=True) if np.isfinite(v)]
        tone = "accent" if name.startswith("val") else "quiet"
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        dots = "".join(
            f'<circle cx="{a:.1f}" cy="{b:.1f}" r="2" class="fill"/>' for a, b in points[:1] if len(points) == 1
        )
        parts.append(
            f'<g class="{tone}"><title>{escape(name)}</title><polyline points="{path}" class="line stroke"/>{dots}</g>'
        )
    return _svg(width, height, "".join(parts), title)


def bar_plot(rows: Sequence[tuple[str, float, str]], title: str, *, width: int = 340, label_width: int = 110) -> str:
    """Horizontal bars from zero: (label, value, text); values must be finite and not negative."""
    step, top = 17.0, 4.0
    peak = max((value for _, value, _ in rows), default=1.0) or 1.0
    room = width - label_width - 52
    parts = []
    for index, (label, value, text) in enumerate(rows):
        y = top + step * index
        parts.append(_label(0, y + 12, label, "small", label_width - 6, 11))
        parts.append(
            f'<g class="accent"><rect x="{label_width}" y="{y + 3:.1f}" width="{max(room * value / peak, 0.5):.1f}" '
            f'height="{step - 6:g}" rx="1.5" class="fill"/></g>'
        )
        parts.append(_text(label_width + room * value / peak + 6, y + 12, text, "small muted"))
    return _svg(width, top * 2 + step * len(rows), "".join(parts), title)


def confusion_plot(matrix: NDArray[np.integer], names: Sequence[str], title: str) -> str:
    """The confusion matrix (K, K), rows true, columns predicted, shaded by the share of the row, as a file's figure."""
    count = len(names)
    cell = 26 if count <= 40 else 10
    label_room = min(max((text_width_px(name, 11) for name in names), default=7.0), 280.0)
    left, top = 10 + label_room + 26 if count <= 40 else 10, 28
    total = matrix.sum(1)
    parts = []
    for row in range(count):
        y = top + cell * row
        if count <= 40:
            parts.append(_label(left - 26, y + cell / 2 + 4, names[row], "small end", label_room, 11))
            parts.append(_text(left - 8, y + cell / 2 + 4, str(row), "small end"))
            parts.append(_text(left + cell * (row + 0.5), top - 8, str(row), "small muted mid"))
        for column in range(count):
            clips = int(matrix[row, column])
            share = clips / total[row] if total[row] else 0.0
            tone = "accent" if row == column else "wrong"
            parts.append(
                f'<rect x="{left + cell * column:g}" y="{y}" width="{cell - 1}" height="{cell - 1}" '
                f'style="fill:{f"var(--{tone})" if clips else "var(--wash)"}" '
                f'fill-opacity="{_opacity(share) if clips else 1:.2f}"/>'
            )
            if clips and count <= 40:
                kind = "small mid oncell dense" if share > 0.55 else "small mid oncell"
                parts.append(_text(left + cell * (column + 0.5) - 0.5, y + cell / 2 + 4, str(clips), kind))
    return _svg(left + cell * count + 8, top + cell * count + 8, "".join(parts), title)


def _opacity(share: float) -> float:
    """Opacity of a cell's colour, so that its number is readable: ink on light cells, paper on dark cells."""
    return 0.14 + 0.64 * share if share <= 0.55 else 0.72 + 0.28 * share


def people_picture(
    image_rgb: Image,
    boxes_xyxy_px: NDArray[np.floating],
    keypoints_px: NDArray[np.floating],
    scores: NDArray[np.floating],
    bones: Sequence[tuple[int, int]],
    title: str,
    least_score: float = 0.2,
) -> str:
    """A frame (H, W, 3) with boxes (M, 4) and skeletons (M, V, 2) drawn over it, as SVG.

    Joints whose score (M, V) is below ``least_score`` are left out, with their bones; a row of NaN means no person.
    """
    height, width = image_rgb.shape[:2]
    unit = max(width, height) / 320
    parts = [f'<image href="{data_uri(image_rgb)}" width="{width}" height="{height}"/>']
    for person, box in enumerate(boxes_xyxy_px):
        colour = PERSON_COLOURS[person % len(PERSON_COLOURS)]
        if np.isfinite(box).all():
            x1, y1, x2, y2 = box
            parts.append(
                f'<rect x="{x1:.1f}" y="{y1:.1f}" width="{x2 - x1:.1f}" height="{y2 - y1:.1f}" fill="none" '
                f'stroke="{colour}" stroke-width="{1.2 * unit:.2f}" stroke-opacity=".9" rx="{2 * unit:.1f}"/>'
            )
    for person, (joints, confidence) in enumerate(zip(keypoints_px, scores, strict=True)):
        colour = PERSON_COLOURS[person % len(PERSON_COLOURS)]
        seen = np.isfinite(joints).all(1) & (confidence >= least_score)
        lines = "".join(
            f"M{joints[a][0]:.1f} {joints[a][1]:.1f}L{joints[b][0]:.1f} {joints[b][1]:.1f}"
            for a, b in bones
            if seen[a] and seen[b]
        )
        dots = "".join(
            f'<circle cx="{joint[0]:.1f}" cy="{joint[1]:.1f}" r="{1.9 * unit:.2f}"/>'
            for joint, visible in zip(joints, seen, strict=True)
            if visible
        )
        parts.append(
            f'<g fill="none" stroke-linecap="round"><path d="{lines}" stroke="#000" stroke-opacity=".45" '
            f'stroke-width="{3 * unit:.2f}"/><path d="{lines}" stroke="{colour}" stroke-width="{1.6 * unit:.2f}"/></g>'
            f'<g fill="{colour}" stroke="#000" stroke-opacity=".45" stroke-width="{0.5 * unit:.2f}">{dots}</g>'
        )
    return (
        f'<svg class="photo" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title, quote=True)}">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )


def feature_picture(features: NDArray[np.floating]) -> Image:
    """Pooled features of one person and frame (V, C) as a picture of joints x channels (Fig. 4 of the paper).

    Channels are ordered by their mean, so that the pattern over joints is easy to compare.
    """
    values = np.asarray(features, dtype=np.float32)
    return colour_map(values[:, np.argsort(-values.mean(0), kind="stable")])


def motion_picture(features: NDArray[np.floating]) -> Image:
    """Features of one person (T, V, C) as joints x frames (V, T): distance of each joint from its own mean."""
    values = np.asarray(features, dtype=np.float32)
    distance = np.sqrt(((values - values.mean(0, keepdims=True)) ** 2).mean(2))  # (T, V)
    return colour_map(distance.T)  # (T, V) -> (V, T)


class _Shares:
    """A square of two shares from 0 to 1, with its grid and the name of the share across."""

    def __init__(self, across: str, width: int, height: int) -> None:
        self.left, self.top, bottom = 40.0, 10.0, 40.0
        self.side = min(width - self.left - 10, height - self.top - bottom)
        self.grid = []
        for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
            self.grid.append(_line(self.x(0), self.y(tick), self.x(1), self.y(tick), "grid"))
            self.grid.append(_text(self.left - 6, self.y(tick) + 4, f"{100 * tick:.0f}", "muted small end"))
            self.grid.append(_text(self.x(tick), self.top + self.side + 15, f"{100 * tick:.0f}", "muted small mid"))
        self.grid.append(_text(self.x(0.5), self.top + self.side + 31, across, "muted small mid"))

    def x(self, share: float) -> float:
        return self.left + self.side * share

    def y(self, share: float) -> float:
        return self.top + self.side * (1 - share)


def reliability_plot(
    bins: Sequence[tuple[float, float, int]], title: str, *, width: int = 300, height: int = 300
) -> str:
    """Accuracy over confidence, a dot per bin (confidence, accuracy, clips) as large as its share, and the diagonal."""
    square = _Shares("confidence, %", width, height)
    most = max((clips for _, _, clips in bins), default=1)
    parts = [*square.grid, _line(square.x(0), square.y(0), square.x(1), square.y(1), "chance")]
    for confidence, accuracy, clips in bins:
        radius = 3 + 7 * (clips / most) ** 0.5
        said = escape(f"{clips} clips: {100 * confidence:.0f} % confidence, {100 * accuracy:.0f} % right")
        parts.append(
            f'<g class="accent"><circle cx="{square.x(confidence):.1f}" cy="{square.y(accuracy):.1f}" '
            f'r="{radius:.1f}" class="fill" fill-opacity=".75"><title>{said}</title></circle></g>'
        )
    return _svg(width, height, "".join(parts), title)


def refusal_plot(
    curve: Sequence[tuple[float, float]], kept: float, title: str, *, width: int = 300, height: int = 300
) -> str:
    """Share of unknown clips refused over share of known clips kept, the kept share that was asked for, and chance."""
    square = _Shares("known clips kept, %", width, height)
    path = " ".join(f"{square.x(known):.1f},{square.y(refused):.1f}" for known, refused in curve)
    said = escape(f"unknown clips refused, over known clips kept; {100 * kept:.0f} % kept were asked for")
    parts = [
        *square.grid,
        _line(square.x(0), square.y(1), square.x(1), square.y(0), "chance"),
        _line(square.x(kept), square.y(0), square.x(kept), square.y(1), "chance"),
        f'<g class="accent"><title>{said}</title><polyline points="{path}" class="line stroke"/></g>',
    ]
    return _svg(width, height, "".join(parts), title)


def scatter_plot(
    points: NDArray[np.floating], labels: NDArray[np.integer], names: Sequence[str], title: str, *, side: int = 320
) -> str:
    """Points (N, 2) as the numbers of their classes, a hue per class; names are shown on hovering."""
    low, high = points.min(0), points.max(0)
    placed = 10 + (side - 20) * (points - low) / np.maximum(high - low, 1e-9)
    parts = []
    for (x, y), label in zip(placed, labels, strict=True):
        hue = round(360 * ((int(label) * 0.618034) % 1))
        parts.append(
            f'<text x="{x:.1f}" y="{y + 3:.1f}" class="small mid" style="fill:oklch(var(--dot) .14 {hue});'
            f'stroke-width:1.5px;font-size:9px">{int(label)}<title>{escape(names[int(label)])}</title></text>'
        )
    return _svg(side, side, "".join(parts), title)


@dataclass(frozen=True)
class Bar:
    """A stretch of time in a plot of events; ``hue`` in degrees says which action it is, ``text`` names it."""

    start_s: float
    end_s: float
    text: str
    hue: float
    hint: str = ""


@dataclass(frozen=True)
class Row:
    """One row of bars, and its label."""

    label: str
    bars: Sequence[Bar]
    strong: bool = False


def events_plot(rows: Sequence[Row], end_s: float, title: str, *, width: int = 720) -> str:
    """Bars over time, one row each, on a common axis of seconds; a bar without room for its name tells it on hovering.

    Each says when it is, in seconds, for the page's script. Below 560 px the labels stand above their rows.
    """
    stacked = width < 560
    left = 4.0 if stacked else 4 + min(max((text_width_px(row.label) for row in rows), default=0.0) + 10, 200.0)
    step, thick, top, bottom = (40.0, 18.0, 4.0, 24.0) if stacked else (26.0, 18.0, 4.0, 24.0)
    height, room = top + step * len(rows) + bottom, width - left - 8

    def x(seconds: float) -> float:
        return left + room * min(max(seconds / max(end_s, 1e-9), 0.0), 1.0)

    parts = []
    for tick in _seconds(end_s, room):
        parts.append(_line(x(tick), top, x(tick), height - bottom, "grid"))
        place = "" if not tick else " end" if x(tick) > width - 16 else " mid"
        parts.append(_text(x(tick), height - 7, f"{tick:g} s", f"muted small{place}"))
    for number, row in enumerate(rows):
        y = top + step * number + (18.0 if stacked else 3.0)
        kind = "strong" if row.strong else "muted"
        parts.append(_label(0, y - 5 if stacked else y + 13, row.label, kind, width if stacked else left - 8))
        for bar in row.bars:
            begin, long = x(bar.start_s), max(1.0, x(bar.end_s) - x(bar.start_s))
            when = f'data-start="{bar.start_s:.3f}" data-end="{bar.end_s:.3f}"'
            hint = f"<title>{escape(bar.hint or bar.text)}</title>"
            name = fitted(bar.text, long - 6, 11)
            inside = _text(begin + long / 2, y + 13, name, "small mid") if len(name) > 3 or name == bar.text else ""
            parts.append(
                f'<g class="bar" {when}>{hint}<rect x="{begin:.1f}" y="{y:.1f}" width="{long:.1f}" height="{thick:g}" '
                f'rx="2" style="fill:oklch(var(--dot) .14 {bar.hue:.0f} / .55)"/>{inside}</g>'
            )
    return _svg(width, height, "".join(parts), title)


def _seconds(end_s: float, room_px: float) -> list[float]:
    """Ticks of an axis of seconds, at least 48 px apart."""
    step = next((s for s in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600) if room_px * s >= 48 * end_s), 1800)
    return [float(step * n) for n in range(int(end_s / step) + 1)]
