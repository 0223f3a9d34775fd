"""`solutions/README.md`: the library of analyses on one page, made from the code.

`python3 -m utils sync` writes it, and a test holds it against the docstrings.
"""

import ast
import re

from utils.checks import chapters
from utils.launcher import library

__all__ = ["PAGE", "drift", "page", "write_page"]

PAGE = library.ROOT / "solutions" / "README.md"
HEAD = """\
# The solutions: a library of analyses

Written by `python3 -m utils sync` from the docstrings; change those.

Each function here is the answer to an exercise, and an analysis to use elsewhere. It
takes a `TransformerBridge` of TransformerLens 4, or weights, and gives tensors in
TransformerLens's conventions (layers and heads from 0, right multiplication).

```python
from solutions.ch5_induction_heads import prefix_matching_score, repeated_tokens
from utils.models.attention_only import load_model

model = load_model("two_layer")  # or any TransformerBridge
prefix_matching_score(model, repeated_tokens(model.cfg.d_vocab, span=20))
```

**Installed.** `pip install <the course's folder>` puts the functions, the shipped
models and the checks into any environment; `pip install -e` does so without a copy.
What is fetched for chapter 7 then needs a place: set `COURSE_MODELS` to a folder.

**Two common names.** The package brings `solutions` and `utils` as top-level names. If
your own project has a folder of one of these names, Python takes whichever comes first
on its path: `python -c "import utils; print(utils.__file__)"` says which. Then install
the course in an environment of its own, or run from another folder.

**Finding one.** `python3 -m utils solution copying eigenvalue` lists what fits;
`python3 -m utils solution NAME` shows how it is done. The rows are statements of the
papers: `python3 -m utils claims F-102` prints one.
"""


def page() -> str:
    """The whole page as Markdown."""
    return "\n".join([HEAD, *(_chapter(stem) for stem in chapters())])


def drift() -> list[str]:
    """The page's name if it is not what the code gives."""
    old = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    return [] if old == page() else ["solutions/README.md"]


def write_page() -> list[str]:
    """Write the page anew; its name if that changed it."""
    changed = drift()
    PAGE.write_text(page(), encoding="utf-8")
    return changed


def _chapter(stem: str) -> str:
    source = (library.ROOT / "solutions" / f"{stem}.py").read_text(encoding="utf-8")
    title = ast.get_docstring(ast.parse(source)).splitlines()[0]
    lines = [f"## [{stem}]({stem}.py)", "", title, ""]
    lines += ["| function | what it gives | rows |", "|---|---|---|"]
    mine = [each for each in library.functions() if each.chapter == stem]
    lines += [_line(each) for each in mine]
    limits = [f"- `{each.name}`: {each.limits}" for each in mine if each.limits]
    return "\n".join([*lines, *(["", "Mind:", "", *limits] if limits else []), ""])


def _line(each: library.Function) -> str:
    shown = ", ".join(
        f"{name}={default}" if default else name for name, _, default in each.parameters
    )
    cells = (f"`{each.name}({shown})`", each.summary, ", ".join(each.rows))
    return "| " + " | ".join(_bare(cell) for cell in cells) + " |"


def _bare(text: str) -> str:
    return re.sub(r"\|", r"\\|", text)
