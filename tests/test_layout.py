"""The house rules: who may import whom. What lies where is in `test_house.py`.

Imports are read from the source, so nothing has to run, and a look upward hidden in a
function or behind a name in a string is found as well. Each rule is shown a breach.
"""

import ast
import json
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# These look upward late and by name; nothing that judges an answer may use them.
UPWARD = {
    "utils.__main__",
    "utils.exercises.engine",
    "utils.exercises.sync",
    "utils.launcher.library",  # rows and verdicts of the papers stand in tests
    "utils.launcher.classroom.answers",  # runs learners' cells, whatever they import
}
OURS = {"utils", "solutions", "chapters", "tests"}
LOADERS = {
    "import_module",
    "__import__",
    "spec_from_file_location",
    "run_module",
    "run_path",
}
STEM = re.compile(r"ch\d_\w+")


# --- Reading imports ----------------------------------------------------------------


def module_name(path: Path) -> str:
    """`utils/checks/__init__.py` is `utils.checks`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def imports(source: str, module: str, package: bool = False) -> set[str]:
    """The modules that a source imports in any place, in full; names imported from a
    module count as possible modules too."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".")
                keep = len(parents) - node.level + package
                base = ".".join([*parents[: max(keep, 0)], *filter(None, [base])])
            found.add(base)
            # `from .. import solutions` above utils leaves no base.
            found.update(f"{base}.{alias.name}".lstrip(".") for alias in node.names)
    return found


@cache
def loaded_by_name(source: str, module: str) -> set[str]:
    """How the names begin that a source loads at run time; "?" if that is not written
    in the call itself."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        if called(node) in LOADERS:
            found.add(beginning(node.args[0], module) if node.args else "?")
        # As methods these are something else: `model.eval()`.
        elif isinstance(node.func, ast.Name) and node.func.id in ("exec", "eval"):
            found.add("?")
    return found


def called(node: ast.Call) -> str:
    """The last name of what is called."""
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def beginning(node: ast.expr, module: str) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return beginning(node.values[0], module)
    if isinstance(node, ast.FormattedValue):
        return beginning(node.value, module)
    if isinstance(node, ast.Name) and node.id == "__name__":
        return module
    return "?"


def first(name: str) -> str:
    return name.split(".")[0]


# --- The rules ----------------------------------------------------------------------


def utils_breaches(source: str, module: str) -> list[str]:
    """What a file of utils imports beyond utils."""
    above = OURS - {"utils"}
    wrong = [n for n in imports(source, module) if first(n) in above]
    if module not in UPWARD:
        wrong += [
            n for n in loaded_by_name(source, module) if n == "?" or first(n) in above
        ]
    return wrong


def solution_breaches(source: str, module: str) -> list[str]:
    """What a solution imports beyond utils and earlier chapters' solutions."""
    own = re.match(r"solutions\.ch(\d)", module)
    wrong = []
    for name in imports(source, module) | loaded_by_name(source, module):
        earlier = re.match(r"solutions\.ch(\d)", name)
        if first(name) in ("chapters", "tests") or name == "?":
            wrong.append(name)
        elif earlier and own and int(earlier[1]) >= int(own[1]):
            wrong.append(name)
    return wrong


def chapter_breaches(source: str, number: int) -> list[str]:
    """What a notebook's code imports beyond utils and earlier chapters' solutions."""
    lines = [line for line in source.splitlines() if not re.match(r"\s*[%!]", line)]
    return solution_breaches("\n".join(lines), f"solutions.ch{number}")


def reach(start: str, sources: dict[str, str]) -> set[str]:
    """Every module of the project that importing one module can bring in."""
    seen, waiting = set(), [start]
    while waiting:
        module = waiting.pop()
        if module in seen or module not in sources:
            continue
        seen.add(module)
        package = any(other.startswith(module + ".") for other in sources)
        names = {
            *imports(sources[module], module, package),
            *loaded_by_name(sources[module], module),
        }
        # Importing a.b.c runs a and a.b first.
        for name in names:
            parts = name.split(".")
            waiting += [".".join(parts[: i + 1]) for i in range(len(parts))]
    return seen


def files(*folders: str) -> list[Path]:
    found = [p for f in folders for p in sorted((ROOT / f).rglob("*.py"))]
    return [path for path in found if "__pycache__" not in path.parts]


def sources_of(*folders: str) -> dict[str, str]:
    return {module_name(p): p.read_text(encoding="utf-8") for p in files(*folders)}


@pytest.mark.parametrize("path", files("utils"), ids=module_name)
def test_utils_imports_nothing_above_it(path):
    assert utils_breaches(path.read_text(encoding="utf-8"), module_name(path)) == []


@pytest.mark.parametrize("path", files("solutions"), ids=module_name)
def test_solutions_import_utils_and_earlier_solutions(path):
    assert solution_breaches(path.read_text(encoding="utf-8"), module_name(path)) == []


@pytest.mark.parametrize(
    "path", sorted((ROOT / "chapters").glob("*.ipynb")), ids=lambda p: p.stem
)
def test_chapters_import_utils_and_earlier_solutions(path):
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            source = "".join(cell["source"])
            assert chapter_breaches(source, int(path.stem[2])) == [], source


def test_checks_never_reach_the_solutions():
    sources = sources_of("utils", "solutions")
    for module in [name for name in sources if name.startswith("utils.checks")]:
        reached = reach(module, sources)
        assert not reached & UPWARD, module
        assert not {name for name in reached if first(name) == "solutions"}, module
        # Nor is the name spelled where some other way of loading might use it.
        for name in reached:
            assert not spelled(sources[name]), f"{name}, reached by {module}"


@cache
def spelled(source: str) -> list[str]:
    """Strings other than docstrings and sentences that name the solutions."""
    return [
        node.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.fullmatch(r"[./\\]*solutions([./\\]\S*)?", node.value)
    ]


# From the ground up: who stands on a floor may import what lies below it, and what
# stands in the same room. Two rooms of one floor do not know each other.
FLOORS = (
    ("text", "pictures"),
    ("models",),
    ("training", "checks"),
    ("exercises", "widgets"),
    ("launcher",),
    ("prelude", "__main__"),
)
# Pictures show tokens as text writes them; the doctor asks where progress is kept.
SIDEWAYS = {("pictures", "text")}


def room(module: str) -> str:
    """The room of a module of utils: `utils.text.corpus` lies in "text"."""
    return (module.split(".") + [""])[1]


def floor_breaches(source: str, module: str) -> list[str]:
    """What a file of utils imports from its own floor or from above."""
    floors = {name: number for number, names in enumerate(FLOORS) for name in names}
    here = room(module)
    reached = {room(n) for n in imports(source, module) if first(n) == "utils"}
    reached = {name for name in reached if name in floors} - {here}
    return [
        name
        for name in sorted(reached)
        if floors[name] >= floors[here] and (here, name) not in SIDEWAYS
    ]


@pytest.mark.parametrize("path", files("utils"), ids=module_name)
def test_each_room_imports_only_what_lies_below(path):
    module = module_name(path)
    if module != "utils":
        assert room(module) in {name for names in FLOORS for name in names}, module
        assert floor_breaches(path.read_text(encoding="utf-8"), module) == []


def test_a_step_upstairs_is_found():
    upward = "def f():\n    from utils.training.trainer import train"
    assert floor_breaches(upward, "utils.models.attention_only") == ["training"]
    assert floor_breaches(upward, "utils.exercises.engine") == []
    assert floor_breaches("from utils import exercises", "utils.checks.expect")
    assert floor_breaches("import utils.widgets.parts", "utils.exercises.cards")


# --- The rules at work --------------------------------------------------------------


@pytest.mark.parametrize(
    "source",
    [
        "import solutions",
        "from solutions.ch2_zero_layer import direct_path as d",
        "def f():\n    import solutions.ch2_zero_layer",
        "from .. import solutions",
        "from ..solutions import ch2_zero_layer",
        "from tests import oracles",
        "import importlib\nimportlib.import_module('solutions.ch2_zero_layer')",
        "from importlib import import_module\nimport_module(f'solutions.{x}')",
        "__import__('solutions')",
        "import importlib\nname = 'sol' + 'utions'\nimportlib.import_module(name)",
        "import runpy\nrunpy.run_path(path)",
        "exec('import solutions')",
    ],
)
def test_a_look_upward_is_found(source):
    assert utils_breaches(source, "utils.model")


@pytest.mark.parametrize(
    "source",
    [
        "from utils.models import handmade\nimport torch",
        "from . import handmade",
        "import importlib\nimportlib.import_module(f'{__name__}.x')",
        "'''See solutions.'''",
    ],
)
def test_what_utils_may_import(source):
    assert utils_breaches(source, "utils.checks") == []


@pytest.mark.parametrize(
    ("source", "wrong"),
    [
        ("from solutions.ch2_zero_layer import direct_path", False),
        ("from solutions import ch2_zero_layer", False),
        ("from solutions.ch3_one_layer import full_ov_circuit", True),
        ("from solutions import ch4_two_layer", True),
        ("import tests.oracles", True),
        ("%matplotlib inline\nfrom utils.prelude import *", False),
    ],
)
def test_order_of_the_chapters(source, wrong):
    assert bool(chapter_breaches(source, 3)) is wrong


def test_a_detour_to_the_solutions_is_found():
    sources = {
        "utils": "",
        "utils.checks": "from utils.models import handmade",
        "utils.models.handmade": "def f():\n    import utils.exercises.engine",
        "utils.exercises.engine": "",
    }
    assert "utils.exercises.engine" in reach("utils.checks", sources)
    assert spelled("load('solutions/ch2_zero_layer.py')")
    assert not spelled("'The solutions are elsewhere.'")
