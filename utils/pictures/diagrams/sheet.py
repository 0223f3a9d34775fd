"""The sheet a diagram is drawn on: boxes, words, arrows, cells in one small language.

A colour says what a thing is (`ink.ROLES`) and is the same in every diagram. The
colours follow the page: JupyterLab's and VS Code's themes, else what the reader's
system asks for. A viewer that drops the style sheet shows the light colours. The
notebook holds it as an image, which a reopened notebook that nobody trusts shows too.
"""

import base64
from collections.abc import Sequence
from html import escape

import numpy as np

from utils.pictures.diagrams.ink import (
    ROLES,
    SCRIPT,
    SCRIPT_SIZE,
    STYLE,
    THEMES,
    cut,
    fitting,
    text_width,
)
from utils.text.tokens import visible

__all__ = ["WIDTH", "Diagram", "Sheet"]

WIDTH = 700


class Diagram:
    """A drawn picture: `.svg`, `.html`, and `.description` for who cannot see it.

    Shown as the last expression of a cell, in the colours of the page.
    """

    def __init__(self, svg: str, description: str):
        self.svg = svg
        self.description = description
        source = base64.b64encode(svg.encode()).decode()
        self.html = (
            f'<style>{THEMES}</style><img class="course-diagram" width="{WIDTH}" '
            f'style="max-width:100%" alt="{escape(description)}" '
            f'src="data:image/svg+xml;base64,{source}">'
        )

    def __repr__(self) -> str:
        return self.description

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        return {
            "text/html": self.html,
            "image/svg+xml": self.svg,
            "text/plain": self.description,
        }


def _paint(fill: str | None, stroke: str | None = None) -> str:
    names = [f"f-{fill}"] * bool(fill) + [f"s-{stroke}"] * bool(stroke)
    light = [f'fill="{ROLES[fill][0] if fill else "none"}"']
    light += [f'stroke="{ROLES[stroke][0]}"'] if stroke else []
    return f'class="{" ".join(names)}" {" ".join(light)}'


class Sheet:
    """Collects the parts of one diagram, top left at (0, 0), in pixels."""

    def __init__(self, title: str, height: int):
        self.title, self.height = title, height
        self.parts: list[str] = []
        title = cut(title, WIDTH - 60, 15)
        self.text(18, 28, title, 15, "start", bold=True, plain=True)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: float = 13,
        anchor: str = "middle",
        ink: str = "ink",
        on: str = "paper",
        *,
        plain: bool = False,
        bold: bool = False,
        mono: bool = False,
    ) -> None:
        """A line of words, y at its foot; `plain` text has no small letters."""
        family = ' font-family="ui-monospace,Menlo,Consolas,monospace"' if mono else ""
        weight = ' font-weight="600"' if bold else ""
        body = escape(text) if plain else _scripts(text, size)
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" '
            f'text-anchor="{anchor}" data-on="{on}" {_paint(ink)}{family}{weight}>'
            f"{body}</text>"
        )

    def box(
        self,
        x: float,
        y: float,
        w: float,
        h: float,
        role: str,
        *lines: str,
        size: float = 13,
        ink: str = "ink",
        dashed: bool = False,
    ) -> None:
        """A rounded box in the colour of `role` with lines of words in its middle."""
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        line = f"{role}-line" if f"{role}-line" in ROLES else "muted"
        self.parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" rx="6" '
            f'stroke-width="1.5" {_paint(role, line)}{dash}/>'
        )
        top = y + h / 2 - (len(lines) - 1) * 8.5 + size * 0.35
        for i, words in enumerate(lines):
            small = size if i == 0 else size - 1.5
            words = cut(words, w - 8, small)
            self.text(x + w / 2, top + 17 * i, words, small, ink=ink, on=role)

    def token(
        self, x: float, y: float, w: float, token: str, h: float = 26, lit: bool = False
    ) -> None:
        """A token in its box; blanks are made visible, long ones are cut."""
        role = "head-line" if lit else "token-line"
        self.parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" rx="3" '
            f'stroke-width="{2.4 if lit else 1.2}" {_paint("token", role)}/>'
        )
        size = 13 if text_width(visible(token), 13, True) <= w - 6 else 11
        shown = cut(visible(token), w - 6, size, mono=True)
        self.text(
            x + w / 2,
            y + h / 2 + size * 0.35,
            shown,
            size,
            on="token",
            plain=True,
            mono=True,
        )

    def line(
        self,
        points: Sequence[tuple[float, float]],
        role: str = "muted",
        width: float = 1.6,
        *,
        arrow: bool = False,
        dashed: bool = False,
    ) -> None:
        """A line through points, with a head at its end if it is an arrow."""
        points = [tuple(map(float, p)) for p in points]
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        if arrow:
            (x0, y0), (x1, y1) = points[-2:]
            long = max(np.hypot(x1 - x0, y1 - y0), 1e-9)
            dx, dy = (x1 - x0) / long, (y1 - y0) / long
            size = 5 + width
            foot = (x1 - dx * size, y1 - dy * size)
            left = (foot[0] - dy * size * 0.55, foot[1] + dx * size * 0.55)
            right = (foot[0] + dy * size * 0.55, foot[1] - dx * size * 0.55)
            corners = " ".join(f"{a:.1f},{b:.1f}" for a, b in ((x1, y1), left, right))
            self.parts.append(f'<polygon points="{corners}" {_paint(role)}/>')
            points[-1] = foot
        path = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in points)
        self.parts.append(
            f'<path d="{path}" stroke-width="{width:g}" stroke-linejoin="round" '
            f"{_paint(None, role)}{dash}/>"
        )

    def dot(self, x: float, y: float, role: str, radius: float = 4) -> None:
        self.parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" {_paint(role)}/>'
        )

    def plus(self, x: float, y: float) -> None:
        """The sign where something is added to the stream."""
        self.parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="10" stroke-width="1.6" '
            f"{_paint('paper', 'stream-line')}/>"
        )
        cross = f"M{x - 5:.1f} {y:.1f}H{x + 5:.1f}M{x:.1f} {y - 5:.1f}V{y + 5:.1f}"
        self.parts.append(
            f'<path d="{cross}" stroke-width="1.8" {_paint(None, "stream-line")}/>'
        )

    def bar(
        self, x: float, y: float, w: float, h: float, role: str, share: float = 1.0
    ) -> None:
        """A rectangle whose strength of colour is `share`, from 0 to 1."""
        self.parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(w, 0):.1f}" '
            f'height="{max(h, 0):.1f}" fill-opacity="{min(max(share, 0), 1):.3f}" '
            f"{_paint(role)}/>"
        )

    def grid(
        self,
        x: float,
        y: float,
        values: np.ndarray,
        cell: float,
        role: str = "stream",
        *,
        numbers: bool = True,
    ) -> None:
        """A matrix as cells: `role` above 0, the head's colour below, more is stronger.

        With numbers no cell is stronger than 0.4, so that they stay readable.
        """
        top = float(np.abs(values).max()) or 1.0
        rows, columns = values.shape
        if numbers:
            self._numbered(x, y, values, cell, role, 0.4 / top)
        else:
            self._shaded(x, y, values, cell, role, 1 / top)
        lines = [
            f"M{x:.1f} {y + i * cell:.1f}h{columns * cell:.1f}" for i in range(rows + 1)
        ]
        lines += [
            f"M{x + j * cell:.1f} {y:.1f}v{rows * cell:.1f}" for j in range(columns + 1)
        ]
        width = 1 if cell > 12 else 0.5
        paint = f'stroke-width="{width}" {_paint(None, "faint")}'
        self.parts.append(f'<path d="{"".join(lines)}" {paint}/>')

    def _numbered(self, x, y, values, cell: float, role: str, scale: float) -> None:
        shown = {
            place: fitting(value, cell - 2) for place, value in np.ndenumerate(values)
        }
        widest = max(text_width(words, 13) for words in shown.values())
        size = 13 if widest <= cell - 2 else 11
        for (row, column), words in shown.items():
            value = values[row, column]
            color = f"{role}-line" if value >= 0 else "head-line"
            left, upper, share = x + column * cell, y + row * cell, scale * abs(value)
            self.bar(left, upper, cell, cell, color, share)
            foot = upper + cell / 2 + size * 0.35
            on = f"{color}:{share:.3f}"
            self.text(left + cell / 2, foot, words, size, on=on)

    def _shaded(self, x, y, values, cell: float, role: str, scale: float) -> None:
        """Cells in twenty strengths, all of one strength in one path."""
        levels = np.round(20 * scale * values).astype(int)
        for level in sorted({int(v) for v in levels.flat} - {0}):
            places = np.argwhere(levels == level)
            path = "".join(f"M{c} {r}h1v1h-1z" for r, c in places)
            color = f"{role}-line" if level > 0 else "head-line"
            self.parts.append(
                f'<path transform="translate({x:.1f} {y:.1f}) scale({cell:.3f})" '
                f'd="{path}" fill-opacity="{abs(level) / 20:g}" {_paint(color)}/>'
            )

    def note(self, text: str, y: float | None = None) -> None:
        """One quiet line at the foot."""
        y = self.height - 14 if y is None else y
        self.text(18, y, cut(text, WIDTH - 36, 12), 12, "start", "muted")

    def picture(self, description: str) -> Diagram:
        """The finished diagram. The title is part of what is read aloud."""
        label = escape(f"{self.title}. {description}")
        svg = (
            f'<svg xmlns="http://www.w3.org/2000/svg" '
            f'viewBox="0 0 {WIDTH} {self.height}" width="{WIDTH}" '
            f'height="{self.height}" role="img" aria-label="{label}" '
            'style="max-width:100%;height:auto" '
            'font-family="system-ui,-apple-system,Segoe UI,sans-serif">'
            f"<title>{label}</title><style>{STYLE}</style>"
            f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{self.height - 1}" '
            f'rx="8" data-card="" {_paint("paper", "faint")}/>'
        )
        description = f"{self.title}. {description}"
        return Diagram(svg + "".join(self.parts) + "</svg>", description)


def _scripts(text: str, size: float) -> str:
    """Small letters below and above the line, as SVG."""
    parts, end, level = [], 0, 0.0
    for found in SCRIPT.finditer(text):
        between = escape(text[end : found.start()])
        if between and level:
            parts.append(f'<tspan dy="{-level:.1f}">{between}</tspan>')
            level = 0.0
        else:
            parts.append(between)
        step = size * (0.25 if found[1] == "_" else -0.4) - level
        level += step
        parts.append(
            f'<tspan dy="{step:.1f}" font-size="{size * SCRIPT_SIZE:.1f}">'
            f"{escape(found[2])}</tspan>"
        )
        end = found.end()
    rest = escape(text[end:])
    parts.append(f'<tspan dy="{-level:.1f}">{rest}</tspan>' if rest and level else rest)
    return "".join(parts)
