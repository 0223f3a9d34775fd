"""Wrong answers that once passed a check, one file a chapter."""

import inspect
from types import ModuleType

__all__ = ["changed"]


def changed(chapter: ModuleType, name: str, right: str, wrong: str):
    """The solution of an exercise with one piece of its source replaced."""
    source = inspect.getsource(getattr(chapter, name))
    assert source.count(right) == 1, f"{name} no longer holds {right!r} once"
    namespace = dict(vars(chapter))
    exec(compile(source.replace(right, wrong), f"<{name}>", "exec"), namespace)
    return namespace[name]
