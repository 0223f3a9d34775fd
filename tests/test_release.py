"""What leaves the house: wheel, editable install and clone agree, and can be cited.

Everything here runs without a network: the wheel is built with the tools that are here
and goes into an environment that borrows this one's libraries.
"""

import datetime
import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.test_house import our_files
from tests.test_layout import first, imports, reach, sources_of

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
README = (ROOT / "README.md").read_text("utf-8")
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
SHIPPED = ("utils", "solutions")
OFFLINE = ["--no-deps", "--no-index", "--no-build-isolation", "--quiet"]

# What somebody elsewhere would run, from a folder of their own.
BESIDE = """
import sys
from pathlib import Path
import torch
from solutions.ch5_induction_heads import prefix_matching_score, repeated_tokens
import solutions, utils
from utils.launcher import library
from utils.models.attention_only import load_model
from utils.models.real import load_real_model

inside = Path(sys.argv[1]).resolve()
for package in (solutions, utils):
    assert inside in Path(package.__file__).resolve().parents, package.__file__
for load, name in ((load_model, "two_layer"), (load_real_model, "small_gpt2")):
    model = load(name)
    tokens = repeated_tokens(500, span=20, batch=4)
    score = prefix_matching_score(model, tokens)
    assert score.shape == (model.cfg.n_layers, model.cfg.n_heads)
    print(name, f"{score.max():.2f}")
assert len(library.functions()) > 70
"""


# --- words and numbers --------------------------------------------------------------


def test_version_and_date_are_the_same_everywhere():
    assert CITATION["version"] == PROJECT["version"]
    section = README.split("\n## Changes\n")[1]
    newest = re.search(r"\*\*(\d+\.\d+\.\d+)\*\* \((\d{4}-\d\d-\d\d)\)", section)
    assert newest[1] == PROJECT["version"]
    assert newest[2] == str(CITATION["date-released"])


def faults(citation: dict) -> list[str]:
    """What the Citation File Format 1.2.0 asks for and a file lacks."""
    found = [
        f"no {key}"
        for key in ("cff-version", "message", "title", "authors")
        if not citation.get(key)
    ]
    if citation.get("cff-version") != "1.2.0":
        found.append("another format")
    if citation.get("type") not in ("software", "dataset"):
        found.append("type")
    if not isinstance(citation.get("date-released"), datetime.date):
        found.append("date-released")
    for entry in (citation, *citation.get("references", [])):
        people = entry.get("authors") or []
        if not all(_is_person(each) or _is_entity(each) for each in people):
            found.append(f"authors of {entry.get('title')}")
    for each in citation.get("references", []):
        if not {"authors", "title", "type", "year", "url"} <= set(each):
            found.append(f"reference {each.get('title')}")
        if not str(each.get("url", "")).startswith("https://"):
            found.append(f"address of {each.get('title')}")
    return found


def _is_person(each: dict) -> bool:
    return set(each) == {"family-names", "given-names"} and all(each.values())


def _is_entity(each: dict) -> bool:
    return set(each) == {"name"} and bool(each["name"])


def test_citation_is_well_formed_and_names_both_papers():
    assert faults(CITATION) == []
    assert set(CITATION) <= set(
        "cff-version message title abstract type version date-released authors "
        "keywords license references".split()
    )
    licences = " AND ".join(CITATION["license"])
    assert licences == PROJECT["license"]
    years = {each["title"]: each["year"] for each in CITATION["references"]}
    assert years == {
        "A Mathematical Framework for Transformer Circuits": 2021,
        "In-context Learning and Induction Heads": 2022,
    }
    assert "CITATION.cff" in README


@pytest.mark.parametrize(
    "change",
    [
        {"title": ""},
        {"cff-version": "1.1"},
        {"authors": [{"name": "A", "given-names": "B"}]},
        {"date-released": "soon"},
        {"type": "course"},
        {"references": [{"title": "No author"}]},
    ],
)
def test_a_fault_in_a_citation_is_found(change):
    assert faults(CITATION | change)


def test_dependencies_are_those_of_the_list_and_of_the_code():
    wanted = [Requirement(line) for line in PROJECT["dependencies"]]
    names = {canonicalize_name(each.name) for each in wanted}
    pinned = dict(
        re.findall(
            r"^([\w.-]+)==([\w.]+)", (ROOT / "requirements.txt").read_text(), re.M
        )
    )
    pinned = {canonicalize_name(name): version for name, version in pinned.items()}
    for each in wanted:
        assert each.specifier.contains(pinned[canonicalize_name(each.name)]), each.name
    sources = sources_of(*SHIPPED)
    starts = [name for name in sources if first(name) == "solutions"]
    reached = set().union(*(reach(name, sources) for name in starts))
    used = {first(n) for m in reached for n in imports(sources[m], m)}
    used -= {*sys.stdlib_module_names, *SHIPPED, ""}
    # Arrow is how `datasets` holds what it reads, and comes with it.
    assert {canonicalize_name(name) for name in used} - {"pyarrow"} == names


# --- wheel and clone ----------------------------------------------------------------


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    """The files of the repository, without what lies around beside them."""
    target = tmp_path_factory.mktemp("clone")
    for path in our_files():
        place = target / path.relative_to(ROOT)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
    return target


@pytest.fixture(scope="module")
def wheel(clone, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    _pip(["wheel", *OFFLINE, "--wheel-dir", str(folder), str(clone)])
    (built,) = folder.glob("*.whl")
    return built


def _pip(words: list[str]) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "pip", *words], capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stderr


@pytest.mark.slow
def test_wheel_and_clone_hold_the_same_files(clone, wheel):
    def digests(paths, read):
        return {name: hashlib.sha256(read(name)).hexdigest() for name in paths}

    names = [p.relative_to(clone).as_posix() for p in clone.rglob("*") if p.is_file()]
    ours = [name for name in names if name.split("/")[0] in SHIPPED]
    with zipfile.ZipFile(wheel) as archive:
        packed = [name for name in archive.namelist() if ".dist-info/" not in name]
        assert digests(packed, archive.read) == digests(
            ours, lambda name: (clone / name).read_bytes()
        )
        (place,) = [n for n in archive.namelist() if n.endswith("dist-info/METADATA")]
        about = message_from_bytes(archive.read(place))
    assert about["Version"] == PROJECT["version"] == wheel.name.split("-")[1]
    assert about.get_payload(decode=True).decode().strip() == README.strip()
    assert about["License-Expression"] == " AND ".join(CITATION["license"])
    assert len(about.get_all("Requires-Dist")) == len(PROJECT["dependencies"])


@pytest.mark.slow
def test_the_source_archive_holds_all_of_the_wheel(clone, wheel, tmp_path):
    code = "import sys\nfrom setuptools.build_meta import build_sdist as build\n"
    command = [sys.executable, "-c", code + "build(sys.argv[1])", str(tmp_path)]
    subprocess.run(command, cwd=clone, check=True, capture_output=True)
    (built,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(built) as archive:
        held = {m.name.partition("/")[2]: m.size for m in archive if m.isfile()}
    assert {"README.md", "LICENSE", "pyproject.toml"} < held.keys()
    with zipfile.ZipFile(wheel) as archive:
        packed = {
            each.filename: each.file_size
            for each in archive.infolist()
            if ".dist-info/" not in each.filename
        }
    assert len(packed) > 300 and packed.items() <= held.items()


def editable(clone: Path, folder: Path) -> Path:
    """The wheel by which `pip install -e` puts a folder on the path."""
    code = "import sys\nfrom setuptools.build_meta import build_editable as build\n"
    command = [sys.executable, "-c", code + "build(sys.argv[1])", str(folder)]
    subprocess.run(command, cwd=clone, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.slow
@pytest.mark.parametrize("how", ["wheel", "editable"])
def test_installed_it_works_in_a_folder_of_ones_own(
    how, clone, wheel, tmp_path, monkeypatch
):
    # With the clone on the path, pip would find the course installed there already.
    monkeypatch.delenv("PYTHONPATH", raising=False)
    env = tmp_path / "env"
    venv.create(env, with_pip=False)
    python = env / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    built = wheel if how == "wheel" else editable(clone, tmp_path)
    _pip(["--python", str(python), "install", *OFFLINE, str(built)])
    # The libraries of this environment, but not what is installed for development.
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = subprocess.check_output([python, "-c", code], text=True).strip()
    Path(site, "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    mine = tmp_path / "mine"
    mine.mkdir()
    answer = subprocess.run(
        [python, "-c", BESIDE, site if how == "wheel" else str(clone)],
        cwd=mine,
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0, answer.stderr
    scores = dict(line.split() for line in answer.stdout.splitlines())
    assert float(scores["two_layer"]) > 0.5 and float(scores["small_gpt2"]) > 0.5
    assert not list(mine.iterdir())
    if how == "wheel":
        # Its one command looks up, and makes no environment of the course's own.
        command = [python, "-m", "utils", "solution", "copying", "eigenvalue"]
        found = subprocess.run(command, cwd=mine, capture_output=True, text=True)
        assert "import copying_score" in found.stdout, found.stderr
        assert not Path(site, ".venv").exists()
