"""Mutants that no check can or need fail, each with the reason, one file a chapter.

`EXPLAINED` of `tests/mutant_rows/chN_x.py` maps (exercise, the mutant's text) to one
sentence: why the change is none that any caller can see, or out of a check's reach.
The text is what `python3 -m utils mutants` prints. An explanation of a mutant that is
gone, or that the check fails by now, is an error.
"""

import importlib
import pkgutil

__all__ = ["HOOK", "SPARE", "explained"]

# Reasons that several chapters give.
SPARE = (
    "gather reads as many positions as its index has, so the last column is never read."
)
HOOK = "The tensor that a hook is given is not read by anybody else afterwards."


def explained() -> dict[tuple[str, str], str]:
    """The explanations of all chapters, by (exercise, mutant's text)."""
    found = {}
    for info in sorted(pkgutil.iter_modules(__path__), key=lambda info: info.name):
        rows = importlib.import_module(f"{__name__}.{info.name}").EXPLAINED
        twice = found.keys() & rows.keys()
        if twice:
            raise ValueError(f"Explained twice: {twice}")
        found |= rows
    return found
