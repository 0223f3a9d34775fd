"""What of a progress file can be used: odd entries are passed over one by one.

Files come from older and newer versions of the course and from editors. What stands in
one is said in `state.py`.
"""

import re

__all__ = [
    "MOST_TEXTS",
    "MOST_TRIES",
    "VERSION",
    "has_oddities",
    "looks_like_a_state",
    "sound_state",
]

VERSION = 3
KEYS = ("passed", "hints", "predictions")
MOST_TRIES = 200  # kept for an exercise; of older ones only the number
MOST_TEXTS = 5  # versions kept of one's own words
LONGEST_NAME = 200
MINUTE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\dZ")


def looks_like_a_state(value: object) -> bool:
    """Whether something read from JSON is a progress, of this or another version."""
    return isinstance(value, dict) and any(
        isinstance(value.get(key), dict) for key in (*KEYS, "record")
    )


def has_oddities(state: dict) -> bool:
    """Whether a progress has entries that `sound_state` passes over."""
    sound = sound_state(state)
    # The number of the version is this one's from now on, and no oddity.
    return any(sound[key] != state[key] for key in state if key != "version")


def sound_state(state: dict) -> dict:
    """What of a progress can be used; odd entries are passed over one by one.

    Raises AttributeError or TypeError for something that is no object of JSON.
    """
    version = state.get("version")
    known = type(version) is int and version > VERSION
    # What this version does not know is kept for the one that wrote it.
    return {
        **state,
        **{key: _sound(key, state.get(key)) for key in KEYS},
        "version": version if known else VERSION,
        "record": _sound_record(state.get("record")),
    }


def _sound(key: str, entries) -> dict:
    """The entries of the right kind; odd ones are passed over one by one."""
    if not isinstance(entries, dict):
        return {}
    if key == "passed":
        return {name: date for name, date in entries.items() if type(date) is str}
    return {name: n for name, n in entries.items() if _count(n)}


def _sound_record(record) -> dict:
    record = record if isinstance(record, dict) else {}
    made = {"exercises": _sound_exercise, "predictions": _sound_votes}
    sound = {}
    for key, keep in made.items():
        entries = record.get(key)
        entries = entries if isinstance(entries, dict) else {}
        sound[key] = {n: keep(e) for n, e in entries.items() if isinstance(e, dict)}
    if "recall" in record:
        sound["recall"] = _sound_recall(record["recall"])
    if "words" in record:
        words = record["words"] if isinstance(record["words"], dict) else {}
        sound["words"] = {n: _sound_texts(texts) for n, texts in words.items()}
    return {**record, **sound}


def _sound_recall(recall) -> dict:
    recall = recall if isinstance(recall, dict) else {}
    asked, answers = (
        part if isinstance(part := recall.get(key), dict) else {}
        for key in ("asked", "answers")
    )
    sound = {
        "asked": {
            stem: [name for name in names if _short(name)]
            for stem, names in asked.items()
            if isinstance(names, list)
        },
        "answers": {
            name: {stem: one for stem, one in given.items() if _sound_answer(one)}
            for name, given in answers.items()
            if isinstance(given, dict)
        },
    }
    return {**recall, **sound}


def _sound_answer(one) -> bool:
    return (
        isinstance(one, dict)
        and _count(one.get("choice"))
        and type(one.get("right")) is bool
        and _minute(one.get("at"))
    )


def _sound_texts(texts) -> list:
    texts = texts if isinstance(texts, list) else []
    return [
        one
        for one in texts
        if isinstance(one, dict)
        and _minute(one.get("at"))
        and isinstance(one.get("text"), str)
    ][-MOST_TEXTS:]


def _sound_exercise(entry: dict) -> dict:
    """One exercise's record with the entries that can be used."""
    sound = dict(entry)
    for key, fits in (("opened", _minute), ("dropped", _count)):
        if key in sound and not fits(sound[key]):
            del sound[key]
    if "tries" in sound:
        tries = sound["tries"] if isinstance(sound["tries"], list) else []
        sound["tries"] = [one for one in tries if _sound_try(one)][-MOST_TRIES:]
    if "hints" in sound:
        hints = sound["hints"] if isinstance(sound["hints"], dict) else {}
        sound["hints"] = {n: at for n, at in hints.items() if _minute(at)}
    if "solution" in sound:
        seen = sound["solution"]
        fits = isinstance(seen, dict) and _minute(seen.get("first"))
        if not (fits and _count(seen.get("views"))):
            del sound["solution"]
    return sound


def _sound_try(one) -> bool:
    return (
        isinstance(one, dict)
        and _minute(one.get("at"))
        and _short(one.get("status"))
        and (one.get("mistake") is None or _short(one["mistake"]))
    )


def _sound_votes(votes: dict) -> dict:
    sound = dict(votes)
    for key in ("first", "second"):
        vote = sound.get(key)
        fits = isinstance(vote, dict) and _minute(vote.get("at"))
        if key in sound and not (fits and _count(vote.get("choice"))):
            del sound[key]
    if sound.get("revealed") is not None and not _minute(sound["revealed"]):
        del sound["revealed"]
    if "of" in sound and not _short(sound["of"]):
        del sound["of"]
    return sound


def _minute(value) -> bool:
    return isinstance(value, str) and MINUTE.fullmatch(value) is not None


def _count(value) -> bool:
    return type(value) is int and value >= 0


def _short(value) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_NAME
