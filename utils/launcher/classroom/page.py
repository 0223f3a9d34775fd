"""The class report as one page of HTML: offline, light and dark, readable on a phone.

Nothing on it comes from outside and nothing runs: no script, and a policy that forbids
one. Every word of a learner is escaped.
"""

import html
import re
import statistics
from collections import Counter

from utils.checks import chapters, exercises_of
from utils.launcher.classroom.asking import questions
from utils.launcher.classroom.counts import UNKNOWN, Room, Vote, Where, sentence_of
from utils.launcher.classroom.learners import Learner

__all__ = ["page"]

MOST_MISTAKES = 4  # shown of an exercise
SHOWN = 3  # questions; the others are folded
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
CSS = """
:root { color-scheme: light dark; --ink: #1b1b1b; --soft: #565656; --paper: #fff;
  --line: #d5d5d5; --card: #f5f6f8; --good: #00684c; --goodfill: #bfe8d9;
  --bad: #9c4400; --badfill: #fbd9bf; --bar: #6da9d2; --accent: #00568a; }
@media (prefers-color-scheme: dark) { :root { --ink: #ececec; --soft: #b0b0b0;
  --paper: #16181b; --line: #43474d; --card: #202429; --good: #58d0ab;
  --goodfill: #10493a; --bad: #ffb076; --badfill: #5a3010; --bar: #2f6d97;
  --accent: #7cc4f5; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 72rem; font: 1rem/1.45 system-ui,
  sans-serif; color: var(--ink); background: var(--paper); overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; margin: .3rem 0; }
h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1.2rem 0 .3rem; }
h4 { font-size: 1rem; margin: .9rem 0 .1rem; } p { margin: .3rem 0; max-width: 46rem; }
dl { display: grid; grid-template-columns: 2rem 1fr; gap: .15rem .6rem; margin: 0;
  max-width: 50rem; } dt { text-align: right; font-weight: 600; } dd { margin: 0; }
nav a { margin-right: 1rem; white-space: nowrap; } a { color: var(--accent); }
code { font-size: .92em; } .soft { color: var(--soft); }
.tiles { display: grid; gap: .6rem; margin: 1rem 0;
  grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); }
.tile, .card { background: var(--card); border-radius: .5rem; padding: .6rem .8rem; }
.tile b { display: block; font-size: 1.6rem; line-height: 1.2; }
.card { margin: .6rem 0; border-left: 5px solid var(--accent); max-width: 50rem; }
.first { border-left-width: 10px; max-width: none; } .first p { max-width: none; }
.first strong { font-size: 1.5rem; line-height: 1.3; font-weight: 600; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: .4rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .55rem; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); overflow-wrap: normal; }
td.n, th.n { text-align: right; } tr:last-child > * { border-bottom: 0; }
.scroll th:first-child { position: sticky; left: 0; background: var(--paper);
  min-width: 8.5rem; max-width: 14rem; overflow-wrap: break-word; }
.long { min-width: 14rem; } td.ok { background: var(--goodfill); }
td.try { background: var(--badfill); } .matrix td, .matrix th { text-align: center; }
.matrix th:first-child { text-align: left; } .when { white-space: nowrap; }
.matrix thead th { vertical-align: bottom; } td.n { white-space: nowrap; }
.matrix thead th + th span { writing-mode: vertical-rl; transform: rotate(180deg);
  font-weight: 400; }
.stuck { color: var(--bad); font-weight: 600; } .right { color: var(--good); }
.bar { display: grid; grid-template-columns: 4.2rem 1fr; gap: .1rem .6rem;
  margin: .15rem 0 .6rem; max-width: 40rem; font-size: .9rem; }
.bar i { display: block; height: .8rem; margin-top: .25rem; background: var(--bar);
  min-width: 2px; border-radius: .2rem; }
details { margin: .5rem 0; } summary { cursor: pointer; font-weight: 600; }
ul { padding-left: 1.2rem; margin: .3rem 0; }
@media print { details > * { display: block; } .scroll { overflow: visible; } }
"""


def page(room: Room, footer: list[str]) -> str:
    """The whole page; `footer` says in sentences how it was made."""
    when = room.at.strftime("%Y-%m-%d %H:%M UTC")
    sections = (
        ("ask", "What to ask next", _ask(room)),
        ("now", "Where the room is now", _now(room)),
        ("mistakes", "Mistakes the checks named", _mistakes(room)),
        ("votes", "Votes, before, after and asked again", _votes(room)),
        ("solved", "Who has solved what", _solved(room)),
    )
    links = " ".join(f'<a href="#{key}">{title}</a>' for key, title, _ in sections)
    body = "".join(f'<h2 id="{k}">{title}</h2>{text}' for k, title, text in sections)
    below = "".join(f'<p class="soft">{_words(line)}</p>' for line in footer)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>The room at {when}</title><style>{CSS}</style></head><body>"
        f'<h1>The room</h1><p class="soft">{when}</p>{_tiles(room)}'
        f"<nav>{links}</nav><main>{body}</main><footer>{below}</footer></body></html>\n"
    )


def _tiles(room: Room) -> str:
    solved = [len(names) for names in room.solved.values()] or [0]
    working = [one for one in room.where.values() if one.active]
    stuck = sum(one.stuck for one in working or room.where.values())
    tiles = (
        (len(room.learners), "learners"),
        (
            f"{statistics.median(solved):g}",
            f"of {_all(room)} solved by the middle learner",
        ),
        (len(working), "active in the last hour"),
        (stuck, "of these are stuck" if working else "stuck when they stopped"),
        (sum(bool(one.notes) for one in room.learners), "rows with a remark"),
    )
    cells = "".join(f'<div class="tile"><b>{n}</b>{text}</div>' for n, text in tiles)
    return f'<div class="tiles">{cells}</div>'


def _all(room: Room) -> int:
    return len(room.exercises)


def _now(room: Room) -> str:
    says = (
        "An exercise tried last and still unsolved is where a learner is. Stuck: three "
        "tries without a pass, or ten minutes between the first and the last try."
    )
    if not any(where.active for where in room.where.values()):
        says += " Nobody was active in the last hour: this is where each one stopped."
    rows = []
    for name, exercise in room.exercises.items():
        here = [one for one in room.learners if room.where[one.key].exercise == name]
        wheres = [room.where[one.key] for one in here]
        if not here:
            continue
        named = Counter(where.mistake for where in wheres if where.mistake)
        top = named.most_common(1)
        people = ", ".join(_person(one, room.where[one.key]) for one in here)
        stuck = sum(where.stuck for where in wheres)
        cells = [
            (_code(name), ""),
            (f"{stuck} of {len(here)}", "n"),
            (people, "long"),
            (_escape(f"{top[0][0]} ({top[0][1]})") if top else "", "long"),
            (exercise.chapter.split("_")[0], ""),
        ]
        rows.append((-stuck, -len(here), cells))
    rows.sort(key=lambda row: row[:2])
    head = ("exercise", "stuck", "who", "named at the last try", "chapter")
    if not rows:
        return f"<p>{says}</p><p>Nobody is in the middle of an exercise.</p>"
    return f"<p>{says}</p>" + _table(head, [row[2] for row in rows], (1,))


def _person(learner: Learner, where: Where) -> str:
    name = _escape(learner.name)
    if not where.stuck:
        return name
    return (
        f'<span class="stuck">{name}</span> ({where.tries} tries, {where.minutes} min)'
    )


def _ask(room: Room) -> str:
    """The question that concerns most people, large; two more; the others folded."""
    found = questions(room)
    if not found:
        return (
            "<p>Nothing stands out yet: no divided vote, no mistake that two share.</p>"
        )
    cards = [
        f'<div class="card{" first" * (number == 0)}">'
        f'<p class="soft">{_words(one.why)}</p>'
        f"<p><strong>{_words(one.ask)}</strong></p><p>{_words(one.listen)}</p></div>"
        for number, one in enumerate(found)
    ]
    when = "the last half hour" if found[0].late else "all the time so far"
    more = "".join(cards[SHOWN:])
    folded = f"<details><summary>{len(cards) - SHOWN} more</summary>{more}</details>"
    when = f'<p class="soft">Counted over {when}.</p>'
    return when + "".join(cards[:SHOWN]) + (folded if more else "")


def _mistakes(room: Room) -> str:
    parts = ["<p>The number is of learners, however often each of them did it.</p>"]
    for stem in chapters():
        lists = [_mistakes_of(room, name) for name in exercises_of(stem)]
        if any(lists):
            parts.append(f"<h3>{stem}</h3>{''.join(lists)}")
    if len(parts) == 1:
        parts.append("<p>No check has named a mistake yet.</p>")
    return "".join(parts)


def _mistakes_of(room: Room, name: str) -> str:
    """The commonest mistakes of one exercise, or nothing."""
    lines = []
    for mistake, learners in room.exercises[name].mistakes.most_common(MOST_MISTAKES):
        says = "" if mistake == UNKNOWN else sentence_of(name, mistake)
        words = f"<strong>{_escape(mistake)}</strong> {_words(says)}"
        lines.append(f"<dt>{learners}</dt><dd>{words}</dd>")
    return f"<h4>{_code(name)}</h4><dl>{''.join(lines)}</dl>" if lines else ""


def _votes(room: Room) -> str:
    asked = [vote for vote in room.votes if sum(vote.first)]
    if not asked:
        return "<p>Nobody has voted yet.</p>"
    says = (
        "Votes at first, then as they stood when the answer was shown, and how the "
        "question went that asks the idea again later on. The right answer is marked. "
        "Learners see the choices in an order of their own."
    )
    return f"<p>{says}</p>" + "".join(_vote(vote) for vote in asked)


def _vote(vote: Vote) -> str:
    asked = vote.prediction
    voters = sum(vote.first)
    lines = []
    for index, choice in enumerate(asked.choices):
        right = index == asked.right
        mark = '<span class="right">✓ right: </span>' if right else ""
        bars = "".join(
            f"<span>{word} {votes[index]}</span>"
            f'<i style="width:{100 * votes[index] / voters:.0f}%"></i>'
            for word, votes in (("before", vote.first), ("after", vote.now))
        )
        lines.append(f'<p>{mark}{_words(choice.text)}</p><div class="bar">{bars}</div>')
    title = (
        f"{vote.chapter.split('_')[0]}, {asked.name}: {vote.first[asked.right]} of "
        f"{voters} right at first, {vote.now[asked.right]} after, "
        f"{vote.changed} changed{_again(vote)}"
    )
    return (
        f"<details><summary>{_escape(title)}</summary>"
        f"<p><strong>{_words(asked.question)}</strong></p>{''.join(lines)}</details>"
    )


def _again(vote: Vote) -> str:
    """How the twin went, of those who have come to it."""
    if vote.twin is None or not sum(vote.twin.first):
        return ""
    right = vote.twin.first[vote.twin.prediction.right]
    return f"; asked again, {right} of {sum(vote.twin.first)} right"


# --- who has solved what ------------------------------------------------------------


def _solved(room: Room) -> str:
    stems = chapters()
    rerun = any(learner.rerun for learner in room.learners)
    head = ["learner", *(stem.split("_")[0] for stem in stems), "all", "last seen"]
    head += ["run again", "remarks"] if rerun else ["remarks"]
    rows = []
    for learner in room.learners:
        solved = room.solved[learner.key]
        cells = [(_escape(learner.name), "")]
        for stem in stems:
            names = exercises_of(stem)
            done = len(solved.intersection(names))
            full = "ok" if done == len(names) else ""
            cells.append((f"{done}/{len(names)}", f"n {full}".strip()))
        last = room.where[learner.key].last
        cells.append((f"{len(solved)}/{_all(room)}", "n"))
        cells.append((last.strftime("%d %b %H:%M") if last else "", "when"))
        cells += [(_rerun(learner), "")] if rerun else []
        cells.append(
            (_escape(" ".join(learner.notes)), "long" if learner.notes else "")
        )
        rows.append(cells)
    numbers = tuple(range(1, len(stems) + 2))
    return _table(head, rows, numbers) + "".join(_matrix(room, s) for s in stems)


def _rerun(learner: Learner) -> str:
    parts = []
    for stem, statuses in sorted(learner.rerun.items()):
        passed = sum(status == "passed" for status in statuses.values())
        parts.append(f"{stem.split('_')[0]}: {passed}/{len(exercises_of(stem))}")
    return "<br>".join(parts)


def _matrix(room: Room, stem: str) -> str:
    names = exercises_of(stem)
    rows = []
    for learner in room.learners:
        rows.append([(_escape(learner.name), "")])
        rows[-1] += [_cell(room, learner, name) for name in names]
    counts = ", ".join(f"{name} {room.exercises[name].solved}" for name in names)
    legend = "✓ passed, a number: tries so far, s: saw the solution. Learners who "
    return (
        f"<details><summary>{stem}, exercise by exercise</summary>"
        f'<p class="soft">{legend}solved it: {counts}.</p>'
        f"{_table(('learner', *names), rows, (), 'matrix')}</details>"
    )


def _cell(room: Room, learner: Learner, name: str) -> tuple[str, str]:
    exercises = (learner.state or {}).get("record", {}).get("exercises", {})
    entry = exercises.get(name, {})
    saw = " s" if "solution" in entry else ""
    if name in room.solved[learner.key]:
        return f"✓{saw}", "ok"
    tries = len(entry.get("tries", [])) + entry.get("dropped", 0)
    return (f"{tries}{saw}", "try") if tries else (saw.strip(), "")


# --- pieces -------------------------------------------------------------------------


def _table(head, rows, numbers=(), kind="") -> str:
    """A table that scrolls by itself; a cell is (HTML, class)."""
    above = "".join(
        f'<th scope="col"{_class("n" if i in numbers else "")}>'
        f"<span>{_escape(word)}</span></th>"
        for i, word in enumerate(head)
    )
    lines = []
    for row in rows:
        cells = f'<th scope="row">{row[0][0]}</th>'
        cells += "".join(f"<td{_class(kind)}>{text}</td>" for text, kind in row[1:])
        lines.append(f"<tr>{cells}</tr>")
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="A table">'
        f"<table{_class(kind)}><thead><tr>{above}</tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _code(name: str) -> str:
    """A name set as code that may be broken after its underscores."""
    return f"<code>{_escape(name).replace('_', '_<wbr>')}</code>"


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""


def _escape(text: str) -> str:
    return html.escape(text, quote=True)


def _words(text: str) -> str:
    """Escaped text in which words between backticks are set as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", _escape(text))
