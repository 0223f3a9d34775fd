"""The house rules: what lies where, how long a file is, what the README says."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
AT_TOP = {
    "README.md",
    "requirements.txt",
    "LICENSE",
    "pyproject.toml",
    "CITATION.cff",
    "chapters",
    "solutions",
    "utils",
    "tests",
}
STEM = re.compile(r"ch\d_\w+")


# --- What lies where ----------------------------------------------------------------


def our_files() -> Iterator[Path]:
    """Tracked files and those about to be; without git, all that is not ignored."""
    command = ["git", "ls-files", "-z", "-co", "--exclude-standard"]
    try:
        answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        names = answer.stdout.split("\0") if answer.returncode == 0 else []
    except OSError:
        names = []
    # In a copy inside somebody else's repository git would list nothing useful.
    if "pyproject.toml" in names:
        yield from (ROOT / n for n in names if n and (ROOT / n).is_file())
        return
    # Folders that .gitignore names; the patterns for files are no folders.
    ignored = set(re.findall(r"^([\w.]+)/$", (ROOT / ".gitignore").read_text(), re.M))
    for path in ROOT.rglob("*"):
        parts = path.relative_to(ROOT).parts
        if path.is_file() and not ignored & set(parts) and parts[0] != ".git":
            if not any(part.endswith((".egg-info", ".pyc")) for part in parts):
                yield path


def test_nothing_else_lies_at_the_top():
    names = {path.relative_to(ROOT).parts[0] for path in our_files()}
    assert {n for n in names if not n.startswith(".")} <= AT_TOP
    assert {"README.md", "LICENSE", "CITATION.cff", "utils", "tests"} <= names


def test_a_chapter_has_its_four_rooms():
    rooms = {
        "chapters": {p.stem for p in (ROOT / "chapters").glob("*.ipynb")},
        "solutions": stems(ROOT / "solutions", "ch*.py"),
        "checks": stems(ROOT / "utils" / "checks", "ch*_*"),
        "tests": {
            stem.removeprefix("test_")
            for stem in stems(ROOT / "tests" / "chapters", "test_ch*.py")
        },
    }
    assert all(STEM.fullmatch(stem) for stems in rooms.values() for stem in stems)
    for room, found in rooms.items():
        assert found == rooms["chapters"], f"{room} and chapters differ"


def stems(folder: Path, pattern: str) -> set[str]:
    return {path.stem for path in folder.glob(pattern)}


# Put together here, so that this file does not contain what it looks for.
UNWANTED = re.compile(
    "|".join(
        [
            r"(?<![\w.:/])/(?:work|root|home|Users)/\w",
            r"(?<![\w.:/])/tmp/\w+/",
            r"[A-Z]:\\+Users",
            r"pypi\." + "org",
            "files.python" + "hosted",
            r"registry\.npmjs",
            r"proxy\.golang",
            r"conda\." + "anaconda",
        ]
    )
)


def test_no_file_names_a_machine_or_a_package_host():
    for path in our_files():
        if path.suffix in (".safetensors", ".png", ".woff2"):
            continue
        found = UNWANTED.search(path.read_text(encoding="utf-8", errors="replace"))
        assert found is None, f"{path.relative_to(ROOT)}: {found and found[0]}"


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("see /" + "root/x", True),
        ("open('/" + "home/ann/x')", True),
        ("https://" + "pypi." + "org/simple", True),
        ("https://example.com/home/ann", False),
        ("utils/" + "work/x", False),
    ],
)
def test_what_counts_as_a_machine_or_a_host(text, wrong):
    assert bool(UNWANTED.search(text)) is wrong


def test_no_file_is_large():
    sizes = {path: path.stat().st_size for path in our_files()}
    weights = {p: s for p, s in sizes.items() if p.suffix == ".safetensors"}
    assert sum(weights.values()) < 44e6
    assert all(s < 2e6 for p, s in sizes.items() if p not in weights)


# --- Long files ---------------------------------------------------------------------

REASON = "Over 400 lines"  # how the reason begins in a file's docstring
# These hold more than one idea still. The list only becomes shorter.
TO_SPLIT = """
    tests/claim_rows/dynamics.py
    tests/claim_rows/induction.py
    tests/claim_rows/one_layer_tables.py
    tests/claim_rows/overview.py
    tests/claim_rows/two_layer_terms.py
    tests/test_bench.py
    tests/test_chapters_in_browser.py
    tests/test_exercises.py
    tests/test_figures.py
    tests/test_launcher.py
    tests/test_model.py
    tests/test_notebooks_lint.py
    tests/test_planted.py
    tests/test_training.py
    tests/test_training_panel.py
    tests/test_widgets.py
    utils/widgets/dynamics.py
""".split()


def is_long(source: str) -> bool:
    """Over 400 lines, with no reason given in the file's docstring."""
    given = ast.get_docstring(ast.parse(source)) or ""
    return source.count("\n") > 400 and f"{REASON}: " not in given.replace("\n", " ")


def test_a_long_file_says_why():
    """Most long files hold two ideas; who splits one finds its second idea faster."""
    found = {
        path.relative_to(ROOT).as_posix()
        for folder in ("utils", "solutions", "tests")
        for path in (ROOT / folder).rglob("*.py")
        if is_long(path.read_text(encoding="utf-8"))
    }
    assert found - set(TO_SPLIT) == set(), f"split it, or write '{REASON}: ...'"
    assert set(TO_SPLIT) - found == set(), "take it off the list"


def test_what_counts_as_long():
    assert is_long("\n" * 401) and not is_long("\n" * 400)
    long = "a = 1\n" * 400
    assert is_long(f'"""Two ideas."""\n{long}')
    assert not is_long(f'"""One.\n\n{REASON}:\nit is one table."""\n{long}')


# --- The README ---------------------------------------------------------------------


def test_readme_says_which_chapters_are_there():
    """A row names its file as a link if it is there, and says "planned" if not."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `?\[?`?(ch\d_\w+)(.*)$", readme, re.MULTILINE)
    assert len(rows) == 8
    for stem, rest in rows:
        there = (ROOT / "chapters" / f"{stem}.ipynb").exists()
        assert (f"(chapters/{stem}.ipynb)" in rest) is there, stem
        assert rest.rstrip(" |").endswith("available" if there else "planned"), stem


def test_readme_links_lead_somewhere():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#]+)\)|src(?:set)?=\"([^\"]+)\"", readme)
    for target in {a or b for a, b in targets}:
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target


def test_direct_requirements_are_pinned_and_not_locked_twice():
    def packages(name):
        lines = (ROOT / name).read_text().splitlines()
        found = [re.match(r"([\w.-]+)==([\w.]+)", line) for line in lines]
        return {m[1].lower().replace("_", "-"): m[2] for m in found if m}

    direct = packages("requirements.txt") | packages("tests/requirements.txt")
    locked = packages(".constraints.txt")
    assert not direct.keys() & locked.keys()
    assert not {n for n in locked if n.startswith(("nvidia", "triton", "cuda"))}
    lines = (ROOT / "requirements.txt").read_text().strip().splitlines()
    assert lines[-1] == "-e ."
    for line in [line for line in lines if line[:1].isalpha()]:
        assert "==" in line.split("#")[0], line
