"""`python3 -m utils mutants [CHAPTER | EXERCISE ...]`: do the checks notice?

Every solution is changed in one small way after the other (`tests/mutator.py`), and
the exercise's check judges each of these mutants. One that passes is a wrong answer
that would pass, or no change at all: it is printed with its line before and after,
unless `tests/mutant_rows` explains it. The exit code is 1 if there is such a survivor,
or an explanation without one; 2 for a word that is no exercise.

    python3 -m utils mutants                  all exercises (some minutes)
    python3 -m utils mutants ch2              those of one chapter
    python3 -m utils mutants top_bigrams      one exercise
    ... --survivors                           only those that survived the last time
    ... --processes 4                         so many at a time
    ... --again                               not from what is kept of the last time

What was found is kept in `.mutants/` until the solution or the check changes.
"""

import hashlib
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.mutant_judge import ROOT, judge_all, mutants_of_exercise
from tests.mutant_rows import explained
from utils.checks import chapter_of, chapters, exercises_of

__all__ = ["Report", "main", "report"]

KEPT = ROOT / ".mutants"


@dataclass
class Report:
    """What became of one exercise's mutants."""

    exercise: str
    total: int
    survivors: list[str]
    explained: list[str]
    stale: list[str]

    @property
    def lines(self) -> list[str]:
        """The report in words."""
        killed = self.total - len(self.survivors) - len(self.explained)
        parts = [f"{killed}/{self.total} killed"]
        parts += [f"{len(self.explained)} explained"] if self.explained else []
        parts += [f"{len(self.survivors)} SURVIVED"] if self.survivors else []
        lines = [f"{self.exercise}: {', '.join(parts)}"]
        mutants = mutants_of_exercise(self.exercise)
        for text in self.survivors:
            mutant = mutants[text]
            where = "" if mutant.function == self.exercise else f" {mutant.function}"
            lines += [
                f"  {mutant.key}{where}, line {mutant.line}",
                f"    - {mutant.before}",
                f"    + {mutant.after}",
            ]
        lines += [f"  Explained, but no survivor: {text}" for text in self.stale]
        return lines


def report(exercise: str, fates: dict[str, bool]) -> Report:
    """Compare what survived with what is explained."""
    why = {text for name, text in explained() if name == exercise}
    survived = [text for text, alive in fates.items() if alive]
    return Report(
        exercise,
        len(fates),
        [text for text in survived if text not in why],
        [text for text in survived if text in why],
        sorted(why - set(survived)),
    )


# --- what is kept between runs --------------------------------------------------------


def _digest(paths: list[Path]) -> str:
    found = hashlib.sha256()
    for path in paths:
        found.update(path.read_bytes() if path.exists() else b"")
    return found.hexdigest()


def _judged_by(exercise: str) -> tuple[str, str]:
    """Hashes of what makes a verdict: the solution and check; and the engine.

    A killed mutant stays killed while the first is the same. A survivor is judged
    again when the engine has changed too.
    """
    stem = chapter_of(exercise)
    checks = ROOT / "utils" / "checks"
    files = [checks / stem / f"{exercise}.py", checks / stem / "shared.py"]
    files += [checks / "expect.py"]
    mutants = "\n".join(mutants_of_exercise(exercise))
    own = hashlib.sha256((mutants + _digest(files)).encode()).hexdigest()
    engine = sorted((ROOT / "utils" / "exercises").glob("*.py"))
    return own, _digest([*engine, checks / "__init__.py"])


def _read(exercise: str) -> dict:
    try:
        kept = json.loads((KEPT / f"{exercise}.json").read_text(encoding="utf-8"))
        return kept if isinstance(kept, dict) else {}
    except (OSError, ValueError):
        return {}


def _known(exercise: str) -> dict[str, bool]:
    """The fates that still hold."""
    kept, (own, engine) = _read(exercise), _judged_by(exercise)
    if kept.get("own") != own:
        return {}
    fates = kept.get("fates", {})
    return {
        t: alive for t, alive in fates.items() if not alive or kept["engine"] == engine
    }


def _keep(exercise: str, fates: dict[str, bool]) -> None:
    own, engine = _judged_by(exercise)
    KEPT.mkdir(exist_ok=True)
    text = json.dumps({"own": own, "engine": engine, "fates": fates}, indent=0)
    new = KEPT / f"{exercise}.json.{os.getpid()}"
    new.write_text(text, encoding="utf-8")
    new.replace(KEPT / f"{exercise}.json")


# --- the command ----------------------------------------------------------------------


def fates_of(
    exercise: str, processes: int = 1, again: bool = False, survivors: bool = False
) -> dict[str, bool]:
    """For every mutant's text whether it survived, judged or as kept."""
    texts = list(mutants_of_exercise(exercise))
    known = {} if again else _known(exercise)
    if survivors:
        alive = [t for t, alive in _read(exercise).get("fates", {}).items() if alive]
        texts = [text for text in texts if text in alive]
        known = {}
    fates = {text: known[text] for text in texts if text in known}
    rest = [(exercise, text) for text in texts if text not in fates]
    for done, (_, text, alive) in enumerate(judge_all(rest, processes), start=1):
        fates[text] = alive
        if sys.stderr.isatty() or done == len(rest):
            end = "\n" if done == len(rest) else ""
            print(f"\r{exercise}: {done}/{len(rest)}", end=end, file=sys.stderr)
    fates = {text: fates[text] for text in texts}
    if not survivors:
        _keep(exercise, fates)
    return fates


def exercises_named(words: list[str]) -> list[str]:
    """The exercises of chapters and exercises by name. Raises KeyError for others."""
    names = []
    for word in words or chapters():
        stems = [s for s in chapters() if word in (s, s.split("_")[0])]
        if not stems:
            chapter_of(word)
        names += exercises_of(stems[0]) if stems else [word]
    return list(dict.fromkeys(names))


def main(argv: list[str]) -> int:
    """Judge the mutants of the exercises named, or of all."""
    words = list(argv)
    processes = 1
    if "--processes" in words:
        place = words.index("--processes")
        processes = int(words[place + 1])
        del words[place : place + 2]
    again, survivors = "--again" in words, "--survivors" in words
    words = [word for word in words if word not in ("--again", "--survivors")]
    try:
        names = exercises_named(words)
    except KeyError as error:
        print(error.args[0], file=sys.stderr)
        return 2
    reports = []
    for name in names:
        found = report(name, fates_of(name, processes, again, survivors))
        reports.append(found)
        print("\n".join(found.lines), flush=True)
    total = sum(r.total for r in reports)
    left = sum(len(r.survivors) for r in reports)
    why = sum(len(r.explained) for r in reports)
    print(
        f"{total} mutants of {len(reports)} exercises: {total - left - why} killed, "
        f"{why} explained, {left} survived."
    )
    return 1 if left or any(r.stale for r in reports) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
