"""The live training panel: watch models train, pause, stop, and go back through time.

Called by chapter 6. The analyses come in as functions, so this file knows nothing of
induction; whatever is named in `measures` is measured on the way and drawn. Training
is in `turns`, what has been seen in `snapshots`, the drawing in `dynamics_page`.
"""

import os
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import ipywidgets as widgets
from IPython import get_ipython
from IPython.display import display
from transformer_lens.model_bridge import TransformerBridge

from utils.models.attention_only import as_bridge
from utils.pictures import figures
from utils.pictures.attention_view import send_script
from utils.text.tokenizer import load_tokenizer
from utils.training.display import answer_while_busy, asking_to_stop
from utils.training.recipes import CHECKPOINTS, Recipe
from utils.training.records import Record
from utils.training.trainer import Run
from utils.widgets.dynamics_page import View, draw_view, shown
from utils.widgets.parts import Explorer, Page, button, choice, paragraph
from utils.widgets.snapshots import Measure, Story, story_of_record
from utils.widgets.turns import Arm, Turns, folder_of, read_sentence

__all__ = ["TrainingPanel", "training_panel"]

LIVE, RECORD = "this training", "kept record"
BEST = "best: "
# Snapshots a second while playing.
SPEEDS = ["1", "2", "5", "10", "20"]
# Seconds between two pictures, and how many times as long as drawing one takes: so
# drawing is less than a tenth of the time.
BETWEEN, SHARE = 0.25, 10


# --- the panel -----------------------------------------------------------------------


class _Playing:
    """A replay that is running; answers to what a training answers to."""

    def __init__(self):
        self.paused = self.ended = False

    def pause(self, paused: bool = True) -> None:
        self.paused = paused

    def end(self) -> None:
        self.ended = True


class TrainingPanel(Explorer):
    """A panel that trains and shows; `training_panel` makes one.

    `.train()` and `.replay()` block; `.pause()`, `.resume()` and `.stop()` do what the
    buttons do, from any thread. `.models` and `.runs` are what has been trained, by
    arm; `.description` says in words what the page shows.
    """

    def __init__(
        self,
        arms: Sequence[Arm],
        every: int,
        mode: str,
        records: Mapping[str, Story],
        scratch: tempfile.TemporaryDirectory | None = None,
    ):
        self._arms = {arm.name: arm for arm in arms}
        self._measures = list(arms[0].measures)
        self._scratch = scratch
        self._every, self._mode, self._records = every, mode, dict(records)
        self._running: Turns | _Playing | None = None
        self._turns: Turns | None = None
        self._state = self._words = ""
        self._steps: list[int] = [0]
        self._uncovered = 0  # the furthest step of a record that has been looked at
        self._mover: int | None = None
        self._halt: threading.Event | None = None
        self._drawn: tuple = (None, None)
        self._handles: list = []
        self.drawing_seconds = 0.0
        self._make_controls()
        rows = [[self._pause, self._stop], [self._slider, self._follow]]
        rows += [[self._play, self._speed], [self._model, self._head]]
        if records:
            rows[0].append(self._source)
        for control in [control for row in rows for control in row]:
            answer_while_busy(control)
        actions = {self._pause: self._toggle, self._stop: self._end}
        actions[self._play] = self._play_or_halt
        self._status = widgets.HTML(layout={"order": "-1"})
        super().__init__(rows, self._page_now, actions)
        self._say(self._first_words())

    def _make_controls(self) -> None:
        trained = any(arm.step for arm in self._arms.values())
        first = RECORD if self._records and not trained else LIVE
        self._pause, self._stop = button("Pause"), button("Stop")
        self._source = choice("Show", [LIVE, RECORD], first)
        self._slider = widgets.IntSlider(
            description="Training step",
            max=1,
            style={"description_width": "initial"},
            layout={"width": "520px"},
        )
        self._follow = widgets.Checkbox(
            value=first == LIVE,  # a record begins at its beginning
            description="follow the newest",
            indent=False,
            layout={"width": "auto"},
        )
        self._play = button("Play")
        self._speed = choice("Snapshots a second", SPEEDS, "5")
        names = list(self._arms)
        self._model = choice("Attention of", names, names[-1])
        self._head = choice("Head", [""], "")
        self._slider.observe(self._scrubbed, "value")

    # --- training --------------------------------------------------------------------

    @property
    def runs(self) -> dict[str, Run]:
        """What `train` returned, by arm; only of arms that this kernel has trained."""
        return {name: arm.run for name, arm in self._arms.items() if arm.run}

    @property
    def models(self) -> dict[str, TransformerBridge]:
        """The models of `.runs`, as trained so far, with their tokenizers."""
        return {
            name: as_bridge(run.model, load_tokenizer(run.model.config.d_vocab))
            for name, run in self.runs.items()
        }

    def train(self) -> None:
        """Train all arms from where they are; blocks until done, stopped, interrupted.

        Raises what `utils.training.trainer.train` raises; the panel says it too.
        """
        self._must_be_idle()
        self._show_once()
        if self._mode == "replay" and self._records:
            self._source.value, self._follow.value = RECORD, True
            self._say("The kept record is shown, because COURSE_TRAIN is replay.")
            return self._refresh_stills()
        turns = Turns(list(self._arms.values()), self._every, self._mode)
        self._turns = self._running = turns
        self._state = ""
        self._source.value, self._follow.value = LIVE, True
        self._say("Reading the text.")
        try:
            with asking_to_stop() as asked:
                turns.start()
                self._watch(turns, asked)
        finally:
            turns.end()  # a second interrupt does not wait for the current step
            self._running = None
            self._say(self._outcome(turns))
            self._refresh_stills()
        if turns.failure is not None:
            raise turns.failure

    def _must_be_idle(self) -> None:
        if self._running is not None:
            raise RuntimeError("This panel is busy: stop it first.")
        if self._halt is not None:
            self._halt.set()
        if self._turns is not None:
            self._turns.join()

    def _watch(self, turns: Turns, asked: threading.Event) -> None:
        """Draw what is new, but not too often, until all threads have ended."""
        due = told = 0.0
        while turns.alive:
            if asked.is_set() and not turns.ended:
                self._state = "Interrupted"
                turns.end()
            now = time.monotonic()
            if now >= told:
                self._tell(self._progress(turns))
                told = now + BETWEEN
            if turns.news.is_set() and now >= due:
                turns.news.clear()
                self.update()
                took = time.monotonic() - now
                self.drawing_seconds += took
                due = now + max(BETWEEN, SHARE * took)
            time.sleep(0.05)

    def _progress(self, turns: Turns) -> str:
        word = "Paused" if turns.paused else "Training"
        if turns.ended:
            word = "Stopping"
        elif all(arm.loss is None for arm in turns.arms):
            word = "Reading the text and measuring the untrained models"
        return f"{word}. {self._places()}"

    def _places(self) -> str:
        return " ".join(
            f"{name}: step {arm.step} of {arm.total}"
            + (f", batch loss {arm.loss:.2f} nats." if arm.loss is not None else ".")
            for name, arm in self._arms.items()
        )

    def _outcome(self, turns: Turns) -> str:
        if turns.failure is not None:
            return f"Ended by an error. {self._places()}"
        runs = self.runs.values()
        if len(runs) == len(self._arms) and all(run.finished for run in runs):
            return f"Finished. {self._places()} Move the slider to go back in time."
        word = self._state or "Stopped"
        return f"{word}. {self._places()} Run .train() again to go on."

    def pause(self) -> None:
        """Wait after the current step."""
        if self._running is not None:
            self._running.pause()
            self.update()

    def resume(self) -> None:
        """Go on after a pause."""
        if self._running is not None:
            self._running.pause(False)
            self.update()

    def stop(self) -> None:
        """End the training or the replay; `.train()` goes on from there."""
        self._end()
        self.update()

    def restart(self) -> None:
        """Forget what was trained and kept, so that `.train()` begins anew."""
        self._must_be_idle()
        for arm in self._arms.values():
            arm.forget()
        self._turns = None
        self._say(self._first_words())

    def _toggle(self) -> None:
        if self._running is not None:
            self._running.pause(not self._running.paused)

    def _end(self) -> None:
        if self._running is not None:
            self._state = "Stopped"
            self._running.end()

    # --- going through time ----------------------------------------------------------

    def replay(self, speed: float = 10.0) -> None:
        """Play the kept record, or what was trained, at `speed` snapshots a second.

        Blocks; with COURSE_TRAIN set to replay or short it shows the end at once.
        """
        self._must_be_idle()
        self._show_once()
        self._source.value = RECORD if self._records else LIVE
        self._follow.value = self._mode != "full"
        self.update()
        steps = list(self._steps) if self._mode == "full" else []
        self._running = playing = _Playing()
        self._say("Replaying.")
        try:
            with asking_to_stop() as asked:
                for step in steps:
                    self._slider.value = step
                    until = time.monotonic() + 1 / speed
                    while playing.paused or time.monotonic() < until:
                        if playing.ended or asked.is_set():
                            return
                        time.sleep(0.02)
        finally:
            self._running = None
            self._say("Replayed. Move the slider to go back in time.")

    def _scrubbed(self, change) -> None:
        """Whoever moves the slider stays where it is put."""
        if self._mover != threading.get_ident():
            self._follow.value = False

    def _play_or_halt(self) -> None:
        if self._halt is not None:
            self._halt.set()
            return
        self._halt = threading.Event()
        threading.Thread(
            target=self._play_through, args=(self._halt, list(self._steps)), daemon=True
        ).start()

    def _play_through(self, halt: threading.Event, steps: Sequence[int]) -> None:
        """On from the chosen step, or from the first when it stands at the last.

        Ends also when somebody else moves the slider.
        """
        now = self._slider.value
        for step in [s for s in steps if s > now] or steps:
            self._slider.value = step
            if halt.wait(1 / int(self._speed.value)) or self._slider.value != step:
                break
        self._halt = None
        self.update()

    # --- the page --------------------------------------------------------------------

    def _page_now(self) -> Page:
        source = self._source.value
        stories = dict(self._records)
        if source == LIVE:
            stories = {name: arm.story for name, arm in self._arms.items()}
        view = self._settled(stories, source == RECORD)
        problems = self._problems() if source == LIVE else []
        # Several controls may ask for the same picture.
        newest = [(len(s.snapshots), s.at(s.total)) for s in view.stories.values()]
        key = (source, view.step, view.model, view.head, view.why, problems, newest)
        if self._drawn[0] != key:
            self._drawn = (key, draw_view(view, self._measures, problems))
        return self._drawn[1]

    def _problems(self) -> list[str]:
        found = [p for arm in self._arms.values() for p in arm.problems.values()]
        if self._turns is not None and self._turns.failure is not None:
            found.append(str(self._turns.failure))
        return list(dict.fromkeys(found))

    def _settled(self, stories: Mapping[str, Story], covered: bool) -> View:
        """What the controls ask for, the controls made to fit what there is.

        Of `covered` stories nothing is shown beyond the furthest step looked at.
        """
        self._steps = sorted({x.step for s in stories.values() for x in s.snapshots})
        self._steps = self._steps or [0]
        newest = self._steps[-1]
        self._mover = threading.get_ident()
        try:
            self._slider.max = max(1, *(s.total for s in stories.values()))
            self._slider.step = self._steps[1] - self._steps[0] if newest else 1
            if self._follow.value:
                self._slider.value = newest
            step = min(self._slider.value, newest)
            if covered:
                self._uncovered = max(self._uncovered, step)
                seen = self._uncovered
                stories = {name: story.until(seen) for name, story in stories.items()}
            story = stories[self._model.value]
            self._offer_heads(story)
        finally:
            self._mover = None
        self._pause.disabled = self._stop.disabled = self._running is None
        paused = self._running is not None and self._running.paused
        self._pause.description = "Resume" if paused else "Pause"
        self._play.description = "Play" if self._halt is None else "Halt"
        self._play.disabled = len(self._steps) < 2
        head, why = self._chosen_head(story)
        return View(stories, step, self._model.value, head, why)

    def _offer_heads(self, story: Story) -> None:
        """The best head of each measure, then every head."""
        layers, heads = story.heads if story.snapshots else (0, 0)
        best = [BEST + shown(m) for m in self._measures if story.by_head(m)]
        every = [figures.head_label(i, j) for i in range(layers) for j in range(heads)]
        options = tuple(best + every) or ("",)
        if options != self._head.options:
            now = self._head.value
            self._head.options = options
            first = best[-1] if best else options[0]
            self._head.value = now if now in options else first

    def _chosen_head(self, story: Story) -> tuple[tuple[int, int] | None, str]:
        value = self._head.value or ""
        for measure in self._measures:
            if value == BEST + shown(measure):
                why = (
                    f"In the newest snapshot this head has the most {shown(measure)}. "
                )
                return story.best_head(measure), why
        layer, _, head = value.partition(".")
        return ((int(layer), int(head)), "") if head else (None, "")

    def _first_words(self) -> str:
        if self._source.value == RECORD:
            return (
                "The kept record, from its beginning: Play shows what comes. "
                "Nothing has to be trained to see it."
            )
        if any(arm.step for arm in self._arms.values()):
            return f"Kept from an earlier session. {self._places()} .train() goes on."
        return "Not trained yet: .train() begins."

    # --- onto the screen -------------------------------------------------------------

    def _tell(self, words: str) -> None:
        self._status.value = f'<div role="status">{escape(words)}</div>'
        self._words = words

    def _say(self, words: str) -> None:
        self._tell(words)
        self.update()

    def _still_page(self) -> dict[str, str]:
        html = f'<div id="{self._mark}">{paragraph(self._words)}{self.html}</div>'
        return {"text/html": html, "text/plain": repr(self)}

    def __repr__(self) -> str:
        return f"{self._words} {self.description}"

    def _show_once(self) -> None:
        if not self._handles and get_ipython() is not None:
            self._ipython_display_()

    def _refresh_stills(self) -> None:
        """Where no script runs, the last state is to be seen, not the first."""
        for handle in self._handles:
            handle.update(self._still_page(), raw=True)

    def _ipython_display_(self) -> None:
        send_script()  # it also gives each slider its name
        handle = display(self._still_page(), raw=True, display_id=True)
        if handle is not None:
            self._handles.append(handle)
        # Where widgets run, the still picture makes room for the live one.
        style = widgets.HTML(f"<style>#{self._mark}{{display:none}}</style>")
        wrap = {"flex_flow": "row wrap"}
        rows = [widgets.HBox(row, layout=wrap) for row in self.rows]
        controls = widgets.VBox(rows, layout={"order": "-2"})
        # The page is the first of the HTML widgets, as in every explorer; `order` puts
        # what comes after it here above it on the screen.
        display(widgets.VBox([self._page, controls, self._status, style]))


def training_panel(
    arms: Mapping[str, Recipe],
    measures: Mapping[str, Measure],
    *,
    sentence: str,
    every: int = 10,
    keep: str | Path | None = None,
    records: Mapping[str, Record] | None = None,
) -> TrainingPanel:
    """Train models side by side and watch what `measures` say of them.

    `arms` are named recipes, such as {"one layer": ..., "two layers": ...}. They take
    turns of `every` steps; after each turn a snapshot is taken: every measure, and
    every head's attention on `sentence`. A measure takes the model being trained (a
    TransformerBridge with its tokenizer, in eval mode, no gradients) and returns a
    number in nats, or scores [layer, head] from 0 to 1, whose maximum is drawn and
    whose best head can be chosen. Names are shown with spaces for underscores.

    `records` are kept records, one per arm (same names as `arms`), which can be
    replayed instead. A measure is looked up among a record's series by its name
    ("text_loss", "repeat_loss", "previous_token", "prefix_matching");
    "in_context_learning" and what begins so is `Record.in_context_learning` there.
    Until something is trained the panel shows the records from their first step, and
    nothing of what comes later until it has been played or the slider moved there.

    Show the panel as the last expression of a cell, then call `.train()` in the next
    one (or the same: it shows itself if it has not been shown). `.train()` returns
    None when all arms are done, stopped or interrupted; called again it goes on, and
    ends in the same weights as `train` alone would give, bit for bit. So it does in a
    reopened notebook: checkpoints and snapshots are kept in `keep`, by default in
    `.training/panel`. With COURSE_TRAIN=replay and records, `.train()` shows the
    record's end at once; with "short" it trains 3 % of the steps, and without `keep`
    keeps nothing.

    Raises ValueError for no arms or measures, for records of other arms, for a record's
    series of another kind, and for a sentence that does not fit.
    """
    if not arms or not measures:
        raise ValueError("The panel needs at least one arm and one measure.")
    if every < 1:
        raise ValueError("every must be at least 1.")
    if records is not None and set(records) != set(arms):
        given = ", ".join(records)
        raise ValueError(f"The records must be of {', '.join(arms)}, not of {given}.")
    mode = os.environ.get("COURSE_TRAIN", "full")
    scratch = None
    if keep is None and mode != "full":
        scratch = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    folder = Path(keep or (scratch.name if scratch else CHECKPOINTS / "panel"))
    made = []
    for name, recipe in arms.items():
        tokens = read_sentence(recipe, sentence)
        choices = (recipe, sentence, every, list(measures), mode == "full")
        place = folder_of(folder, name, *choices)
        made.append(Arm(name, recipe, tokens, measures, place))
    told = {}
    if records is not None:
        told = {name: story_of_record(records[name], list(measures)) for name in arms}
    return TrainingPanel(made, every, mode, told, scratch)
