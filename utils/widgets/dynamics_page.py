"""The page of the training panel: curves, one head's attention, the numbers in words.

Called by the training panel. What is drawn is a `View`: stories up to a step, and one
head. Nothing here touches a model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from utils.pictures import figures
from utils.text.tokens import visible_all
from utils.widgets.parts import Page, paragraph
from utils.widgets.small_pictures import (
    Line,
    attention_picture,
    curves_picture,
    legend,
)
from utils.widgets.snapshots import Story, best_of

__all__ = ["View", "draw_view", "shown"]

HOW = (
    "In JupyterLab the buttons act while the cell trains; elsewhere they may act only "
    "after it. Interrupting the kernel (■) stops the training everywhere, and running "
    "the cell again goes on from there."
)


@dataclass(frozen=True)
class View:
    """What the controls ask for: all stories up to a step, and one model's head.

    `why` says why it is this head.
    """

    stories: Mapping[str, Story]
    step: int
    model: str
    head: tuple[int, int] | None
    why: str = ""

    @property
    def total(self) -> int:
        """The last step of the longest training."""
        return max(story.total for story in self.stories.values())


def shown(measure: str) -> str:
    """A measure's name as it is shown."""
    return measure.replace("_", " ")


def draw_view(view: View, measures: Sequence[str], problems: Sequence[str]) -> Page:
    """The curves, the head's pattern, and the numbers at the chosen step in words."""
    pictures = {m: _curves(view, m) for m in measures}
    absent = [shown(m) for m, picture in pictures.items() if not picture]
    heading, sentence, pattern = _pattern(view)
    parts = [_alert(problem) for problem in problems]
    parts.append(legend(list(view.stories)))
    drawn = "".join(pictures.values())
    parts.append(f'<div style="display:flex;flex-wrap:wrap">{drawn}</div>')
    if absent:
        began = any(story.snapshots for story in view.stories.values())
        words = "Not measured here" if began else "To be measured while training"
        parts.append(paragraph(f"{words}: {', '.join(absent)}."))
    parts.append(f'<p style="margin:6px 0 2px;font-weight:600">{escape(heading)}</p>')
    parts.append(pattern)
    parts.append(paragraph(sentence))
    parts.append(f'<p style="margin:0;color:#5B6470">{escape(HOW)}</p>')
    words = [*problems, _numbers(view, measures), heading + ".", sentence]
    return Page("".join(parts), " ".join(words))


def _alert(sentence: str) -> str:
    return f'<p role="alert" class="course-problem">{escape(sentence)}</p>'


def _curves(view: View, measure: str) -> str:
    """One measure's picture, or nothing where no model has a value of it."""
    lines = []
    for number, story in enumerate(view.stories.values()):
        steps, values = story.curve(measure)
        if steps:
            lines.append(Line(number, steps, values, _value(story, measure, view.step)))
    if not lines:
        return ""
    score = any(story.by_head(measure) for story in view.stories.values())
    unit = "0 to 1" if score else "nats"
    return curves_picture(shown(measure), lines, view.step, view.total, unit, score)


def _value(story: Story, measure: str, step: int) -> str:
    """The value at a step in figures, with the head that has it: "0.83 (1.2)"."""
    snapshot = story.at(step)
    if snapshot is None or measure not in snapshot.values:
        return "no value"
    value = snapshot.values[measure]
    head = best_of(value)
    best = f" ({figures.head_label(*head)})" if head else ""
    return f"{float(value.max()):.2f}{best}"


def _numbers(view: View, measures: Sequence[str]) -> str:
    """All values at the chosen step, model by model."""
    parts = []
    for name, story in view.stories.items():
        snapshot = story.at(view.step)
        if snapshot is None:
            parts.append(f"{name}: not trained yet.")
            continue
        values = [
            f"{shown(m)} {_value(story, m, view.step)}"
            + ("" if story.by_head(m) else " nats")
            for m in measures
            if m in snapshot.values
        ]
        where = f"{name} after {snapshot.step} of {story.total} steps"
        parts.append(f"{where}: {', '.join(values)}.")
    return " ".join(parts)


def _pattern(view: View) -> tuple[str, str, str]:
    """The heading, a sentence and the picture of the chosen head's attention."""
    story = view.stories[view.model]
    snapshot = story.at(view.step)
    if snapshot is None:
        return f"Attention of {view.model}", "Nothing has been trained yet.", ""
    if snapshot.attention is None or view.head is None:
        return f"Attention of {view.model}", "No attention was kept.", ""
    layer, head = view.head
    weights = snapshot.attention[layer, head].numpy() / 255
    words = visible_all(story.words)
    name = figures.head_label(layer, head)
    heading = f"Attention of head {name} ({view.model}) after {snapshot.step} steps"
    sentence = f"{view.why}Head {name}: "
    sentence += figures.attention_sentence(weights, words, words)
    return heading, sentence, attention_picture(weights, story.words, heading)
