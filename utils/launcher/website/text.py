"""Small pieces of MyST Markdown that every page is made of."""

import re

__all__ = ["anchor", "code_block", "details", "prose", "raw", "table", "toctree"]

SPECIAL = re.compile(r"([\\*_\[\]<>$#|~{}])")
BOLD = re.compile(r"\\\*\\\*(.+?)\\\*\\\*", re.DOTALL)


def prose(text: str) -> str:
    """Plain sentences as Markdown: `code` and **bold** stay, all else is literal."""
    parts = text.split("`")
    for place in range(0, len(parts), 2):
        escaped = SPECIAL.sub(r"\\\1", parts[place])
        parts[place] = BOLD.sub(r"**\1**", escaped)
    return "`".join(parts)


def code_block(source: str, language: str = "python") -> str:
    """A fenced block, its fence longer than any inside."""
    longest = max((len(run) for run in re.findall(r"`{3,}", source)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{source.rstrip()}\n{fence}"


def details(summary: str, body: str, kind: str = "fold") -> str:
    """Something folded; `summary` is one line of HTML, `body` is Markdown."""
    return (
        f'<details class="{kind}"><summary>{summary}</summary>\n\n{body}\n\n</details>'
    )


def raw(name: str) -> str:
    """The place of an output; `build.py` fills it once the page is written."""
    return f'<div class="output" data-output="{name}"></div>'


def anchor(name: str) -> str:
    """A target for links, before the block that follows."""
    return f"({name})="


def table(heads: list[str], rows: list[list[str]]) -> str:
    """A pipe table; the cells are Markdown on one line."""
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for row in rows:
        # A no-break space stays one.
        cells = (re.sub(r"[ \t\n]+", " ", cell.replace("|", "\\|")) for cell in row)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def toctree(names: list[str], caption: str = "") -> str:
    """Where Sphinx is told which pages follow; shown in the sidebar alone."""
    options = [":hidden:", *([f":caption: {caption}"] if caption else [])]
    pages = [f"/{name}" for name in names]
    return "\n".join(["```{toctree}", *options, "", *pages, "```"])
