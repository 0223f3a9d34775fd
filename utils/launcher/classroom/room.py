"""`room("FOLDER")`: the votes of a room on one screen, live, hidden until revealed.

A facilitator runs it in a notebook. It reads the states in a folder that all learners
write to (each with `COURSE_STATE` set to a file there), shows how many have voted on
the question the room is at, and their votes once asked to. It reads on a thread of its
own, so the notebook stays free. Nothing in the folder is changed.
"""

import datetime
import html
import threading
from collections import Counter
from pathlib import Path

from utils.checks import chapters, predictions_of
from utils.exercises.cards import in_notebook, inline
from utils.launcher.classroom.counts import Vote, moment_of, votes_on
from utils.launcher.classroom.learners import find_learners
from utils.training.display import answer_while_busy

__all__ = ["room", "tally"]

CURRENT = "where the room is"
HIDDEN, VOTES, ANSWER = "Hidden", "Votes", "Votes and answer"
LATE = datetime.timedelta(minutes=5)
BARS = (("before", "#0072B2"), ("after", "#009E73"))
_open: list["_Screen"] = []


def room(folder: str | Path, question: str = "", every: float = 3.0) -> None:
    """Show the room's votes and keep them fresh, `every` so many seconds.

    `question` is a prediction's name; without it the one is followed that has most
    votes of the last minutes. Outside a notebook the tally is printed once. Raises
    NotADirectoryError where there is no such folder, KeyError for a question that is
    not there.
    """
    folder = Path(folder).expanduser()
    if question and question not in _names():
        raise KeyError(f"No prediction is called {question!r}.")
    if not folder.is_dir():
        raise NotADirectoryError(folder)
    if not in_notebook():
        print(tally(folder, question)[1])
        return
    while _open:
        _open.pop().stop()
    _open.append(_Screen(folder, question, every))


def tally(
    folder: Path, question: str = "", show: str = VOTES
) -> tuple[Vote | None, str, str]:
    """The votes in a folder now: what was counted, and it as text and as HTML."""
    learners = find_learners(folder)
    states = [learner.state for learner in learners if learner.state is not None]
    vote = votes_on(question or _current(states), states)
    unread = len(learners) - len(states)
    below = f"{len(states)} states read at {datetime.datetime.now():%H:%M:%S}"
    below += f", {unread} could not be read" if unread else ""
    if vote is None:
        said = f"Nobody has voted yet. {below}."
        return None, said, _paragraph(said)
    return vote, f"{_text(vote, show)}\n{below}.", _html(vote, show, below)


def _names() -> list[str]:
    return [one.name for stem in chapters() for one in predictions_of(stem)]


def _current(states: list[dict]) -> str:
    """The question with most votes of late, so that one fast learner moves no screen.

    Late are the last minutes, or where nobody votes now those before the newest vote.
    Of equals the furthest on. The first version of states has votes without a minute:
    where there are no others, all of them count.
    """
    now = datetime.datetime.now(datetime.UTC)
    place = {name: number for number, name in enumerate(_names())}
    votes = [
        (moment, name)
        for state in states
        for name, votes in state["record"]["predictions"].items()
        for key in ("first", "second")
        if name in place
        if key in votes and (moment := moment_of(votes[key]["at"], now))
    ]
    late = [name for moment, name in votes if abs(now - moment) <= LATE]
    if votes and not late:
        newest = max(moment for moment, _ in votes)
        late = [name for moment, name in votes if newest - moment <= LATE]
    if not votes:
        late = [name for state in states for name in state["predictions"]]
        late = [name for name in late if name in place]
    often = Counter(late)
    return max(often, key=lambda name: (often[name], place[name]), default="")


# --- what is shown --------------------------------------------------------------------


def _counted(vote: Vote) -> str:
    people = sum(vote.first)
    return f"{people} {'has' if people == 1 else 'have'} voted, {vote.again} again"


def _text(vote: Vote, show: str) -> str:
    asked = vote.prediction
    lines = [f"{asked.name} ({vote.chapter.partition('_')[0]}): {_counted(vote)}"]
    lines.append(asked.question)
    for index, choice in enumerate(asked.choices):
        before, after = vote.first[index], vote.now[index]
        numbers = "" if show == HIDDEN else f"{before:3} before, {after:3} after  "
        right = "  (right)" if show == ANSWER and index == asked.right else ""
        lines.append(f"  {numbers}{choice.text}{right}")
    return "\n".join(lines)


def _html(vote: Vote, show: str, below: str) -> str:
    asked, most = vote.prediction, max(1, sum(vote.first))
    parts = [
        f'<p style="margin:.2em 0;opacity:.8">{html.escape(asked.name)}: '
        f"{_counted(vote)}</p>",
        f'<p style="margin:.2em 0 .8em;font-size:1.35em">{inline(asked.question)}</p>',
    ]
    for index, choice in enumerate(asked.choices):
        right = show == ANSWER and index == asked.right
        text = f"<strong>✓ {inline(choice.text)}</strong>" if right else None
        parts.append(
            f'<div style="margin:.5em 0">{text or inline(choice.text)}'
            + ("" if show == HIDDEN else _bars(vote, index, most))
            + "</div>"
        )
        if show == ANSWER:
            parts.append(_paragraph(choice.explanation))
    if show != HIDDEN and vote.twin and sum(vote.twin.first):
        right = vote.twin.first[vote.twin.prediction.right]
        parts.append(
            _paragraph(f"Asked again later: {right} of {sum(vote.twin.first)} right.")
        )
    parts.append(_paragraph(below))
    return (
        '<div style="font-size:1.15em;line-height:1.45;max-width:52em;'
        'color:var(--jp-content-font-color1,inherit)">' + "".join(parts) + "</div>"
    )


def _bars(vote: Vote, index: int, most: int) -> str:
    """How many chose it before and after the talk; the second once there is one."""
    rows = []
    for (word, colour), votes in zip(BARS, (vote.first, vote.now), strict=True):
        if word == "before" or vote.again:
            width = 100 * votes[index] / most
            rows.append(
                f'<span style="opacity:.8">{word}</span><span>{votes[index]}</span>'
                '<i style="display:block;height:.8em;margin-top:.35em;min-width:2px;'
                f'width:{width:.0f}%;background:{colour}"></i>'
            )
    return (
        '<div style="display:grid;grid-template-columns:4em 2em 1fr;gap:.1em .6em">'
        + "".join(rows)
        + "</div>"
    )


def _paragraph(text: str) -> str:
    return f'<p style="margin:.3em 0;opacity:.8">{inline(text)}</p>'


# --- the screen -----------------------------------------------------------------------


class _Screen:
    """Controls, the page below them, and the thread that keeps it fresh."""

    def __init__(self, folder: Path, question: str, every: float):
        import ipywidgets as widgets
        from IPython.display import display

        self._folder, self._every = folder, every
        self._wake, self._ended = threading.Event(), False
        self._shown: str | None = None
        self._choose = widgets.Dropdown(
            options=[(CURRENT, ""), *_options()],
            value=question,
            description="Question",
            layout={"width": "26em"},
        )
        self._show = widgets.ToggleButtons(
            options=[HIDDEN, VOTES, ANSWER], style={"button_width": "auto"}
        )
        self._stop = widgets.Button(description="Stop", layout={"width": "auto"})
        self._page = widgets.HTML()
        self._choose.observe(self._changed, "value")
        self._show.observe(self._changed, "value")
        self._stop.on_click(lambda _button: self.stop())
        row = widgets.HBox(
            [self._choose, self._show, self._stop], layout={"flex_flow": "row wrap"}
        )
        display(widgets.VBox([row, self._page]))
        for control in (self._choose, self._show, self._stop):
            answer_while_busy(control)
        self._refresh()
        threading.Thread(target=self._keep_fresh, daemon=True).start()

    def stop(self) -> None:
        """End the thread; what is shown stays."""
        self._ended = True
        self._stop.description = "Stopped"
        self._stop.disabled = True
        self._wake.set()

    def _changed(self, _change) -> None:
        self._wake.set()

    def _keep_fresh(self) -> None:
        while not self._ended:
            self._wake.wait(self._every)
            self._wake.clear()
            if not self._ended:
                self._refresh()

    def _refresh(self) -> None:
        """Read the folder and show it. A new question is hidden again at first."""
        try:
            vote, _, page = tally(self._folder, self._choose.value, self._show.value)
            name = vote.prediction.name if vote else ""
            if self._shown not in (None, name) and self._show.value != HIDDEN:
                self._show.value = HIDDEN
                _, _, page = tally(self._folder, self._choose.value, HIDDEN)
            self._shown = name
        except OSError as error:
            why = error.strerror or "it is not there"
            page = _paragraph(
                f"The folder {self._folder} cannot be read just now: {why}."
            )
        if page != self._page.value:
            self._page.value = page


def _options() -> list[tuple[str, str]]:
    return [
        (f"{stem.partition('_')[0]}: {one.name}", one.name)
        for stem in chapters()
        for one in predictions_of(stem)
    ]
