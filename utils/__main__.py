"""The door to everything: `python3 -m utils lab`, and the other commands below.

Called by people, by .ci/run and by itself. This one file must parse on any Python 3,
because its first task is to say which versions work; so it has no f-strings and no
annotations. All it imports is loaded after that.
"""

import sys

OLDEST = (3, 11)
TOO_NEW = (3, 15)

# Command, the file that answers it, whether it needs the environment, what help says.
# Files outside `utils` are reached late, by name, and listed only where they exist.
COMMANDS = (
    ("lab", "utils/launcher/lab.py", True, "open JupyterLab where you last worked"),
    ("lab ch3", "utils/launcher/lab.py", True, "open it on that chapter"),
    (
        "lab --fresh ch2",
        "utils/launcher/lab.py",
        True,
        "set your copy aside, lay a new one",
    ),
    (
        "test",
        "utils/launcher/suite.py",
        True,
        "run all tests; more words go to pytest",
    ),
    (
        "doctor",
        "utils/launcher/doctor.py",
        False,
        "say what is missing, with fixes",
    ),
    (
        "fetch smollm2",
        "utils/launcher/fetch.py",
        True,
        "bring a real language model for chapter 7",
    ),
    ("train NAME", "utils/training/recipes.py", True, "train a shipped model again"),
    (
        "hint NAME",
        "utils/exercises/engine.py",
        True,
        "show an exercise's next hint",
    ),
    (
        "solution NAME",
        "utils/launcher/lookup.py",
        True,
        "show the reference solution, or those that words fit",
    ),
    ("progress", "utils/exercises/engine.py", True, "show which exercises are done"),
    (
        "report FOLDER",
        "utils/launcher/report.py",
        True,
        "a class on one page, from its states",
    ),
    (
        "hub check",
        "utils/launcher/jupyterhub/command.py",
        True,
        "the course on a JupyterHub",
    ),
    (
        "site",
        "utils/launcher/site.py",
        True,
        "build the course as a searchable site",
    ),
    (
        "sync",
        "utils/exercises/sync.py",
        True,
        "write the stubs from the solutions",
    ),
    ("claims", "tests/claims.py", True, "measure the paper's statements"),
    (
        "claims F-102",
        "tests/claims.py",
        True,
        "show one: the paper's value, ours, the cell",
    ),
    ("mutants NAME", "tests/mutants.py", True, "do the checks notice wrong answers?"),
    ("records", "tests/records.py", True, "train the kept records again (hours)"),
    ("bench", "tests/bench.py", True, "measure times and memory; all for everything"),
)
# What the installed library answers; the rest needs the course's folder.
AS_LIBRARY = ("solution NAME",)
# Modules that answer several commands are told which one was typed.
NAMED_INSIDE = ("utils/exercises/engine.py",)


def version_problem(version):
    """One sentence if this Python cannot run the course, else None."""
    if OLDEST <= tuple(version[:2]) < TOO_NEW:
        return None
    return (
        "This course needs Python 3.11, 3.12, 3.13 or 3.14, and this is Python "
        "%d.%d (%s); install one of those and start again with it."
        % (version[0], version[1], sys.executable)
    )


def main(argv):
    """Run one command and return its exit code; problems are one sentence on stderr."""
    problem = version_problem(sys.version_info)
    if problem:
        sys.stderr.write(problem + "\n")
        return 1
    import os

    # Run as a folder (`python3 ../utils lab`) the first entry is utils itself, where
    # a chapter-like name could hide a module of the standard library.
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [os.path.dirname(here)] + [p for p in sys.path if p != here]
    from utils.launcher import environment

    try:
        return run(argv, environment)
    except environment.Problem as error:
        sys.stderr.write(str(error) + "\n")
        return 1
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        sentence = environment.sentence_for(str(error))
        if sentence is None:
            raise
        sys.stderr.write(sentence + "\n")
        return 1


def run(argv, environment):
    """Find the command, make the environment if it needs one, and carry it out."""
    available = [c for c in COMMANDS if (environment.ROOT / c[1]).exists()]
    # Installed by pip there is no course to make an environment for.
    course = (environment.ROOT / "requirements.txt").exists()
    if not course:
        available = [c for c in available if c[0] in AS_LIBRARY]
    command = argv[0] if argv else "help"
    if command in ("help", "-h", "--help"):
        sys.stdout.write(help_text(available))
        return 0
    found = [c for c in available if c[0].split()[0] == command]
    if not found:
        raise environment.Problem(
            "There is no command %r; these exist: %s."
            % (command, ", ".join(dict.fromkeys(c[0].split()[0] for c in available)))
        )
    _, path, needs_environment, _ = found[0]
    if not course:
        ready = False
    elif needs_environment:
        environment.ensure()
        ready = True
    else:
        ready = environment.is_complete()
    if ready and not environment.is_inside():
        return environment.run_again(argv)
    words = argv if path in NAMED_INSIDE else argv[1:]
    return load(path, environment.ROOT).main(words) or 0


def load(path, root):
    """Import a file of this project by its place, as others may have its name too."""
    import importlib
    import importlib.util

    if path.startswith("utils/"):
        return importlib.import_module(path[: -len(".py")].replace("/", "."))
    name = path[: -len(".py")].replace("/", "_")
    spec = importlib.util.spec_from_file_location(name, str(root / path))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def help_text(commands):
    """What `python3 -m utils` prints."""
    lines = ["python3 -m utils COMMAND", ""]
    lines += ["  %-16s  %s" % (words, what) for words, _, _, what in commands]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
