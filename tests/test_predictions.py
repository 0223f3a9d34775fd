"""Questions before a reveal: an order for each learner, two votes, twins."""

import json
import re
from pathlib import Path

import pytest

from utils.checks import (
    chapter_of,
    chapters,
    find_prediction,
    predictions_of,
    twin_of,
)
from utils.exercises import cards, predictions
from utils.exercises.engine import predict
from utils.exercises.state import note_vote, read_state, state_path, update_state

CHAPTERS = Path(__file__).parents[1] / "chapters"
QUESTION = find_prediction("zero_layer_sees")
TEXTS = [choice.text for choice in QUESTION.choices]


@pytest.fixture(autouse=True)
def own_state(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_STATE", str(tmp_path / "progress.json"))


def asked(capsys) -> dict[str, str]:
    """The letters and the choices behind them, as they are shown."""
    predict(QUESTION.name)
    shown = re.findall(r"^([a-z])\) (.+)$", capsys.readouterr().out, re.MULTILINE)
    return dict(shown)


def letter_of(choice: str, capsys) -> str:
    return next(letter for letter, text in asked(capsys).items() if text == choice)


def test_all_choices_are_shown_once_in_an_order_that_stays(capsys):
    first = asked(capsys)
    assert sorted(first.values()) == sorted(TEXTS)
    assert list(first) == ["a", "b", "c", "d"][: len(TEXTS)]
    assert asked(capsys) == first


def test_the_order_differs_between_learners(capsys):
    seen = set()
    for learner in range(30):
        update_state(lambda state, n=learner: state.update(shuffle=n))
        seen.add(tuple(asked(capsys).values()))
    assert len(seen) > 10  # of 24 orders of four choices


def test_the_right_answer_has_no_letter_of_its_own(capsys):
    letters = set()
    for learner in range(30):
        update_state(lambda state, n=learner: state.update(shuffle=n))
        letters.add(letter_of(TEXTS[QUESTION.right], capsys))
    assert letters == {"a", "b", "c", "d"}


@pytest.mark.parametrize("drawn", ["3", None, [1], True])
def test_an_odd_number_in_the_file_is_drawn_again(drawn, capsys):
    state_path().write_text(json.dumps({"shuffle": drawn}))
    first = asked(capsys)
    assert type(read_state()["shuffle"]) is int
    assert asked(capsys) == first


def voted(name: str, letter: str, capsys) -> str:
    predict(name, letter)
    return capsys.readouterr().out


def test_the_first_vote_shows_no_answer_and_the_second_does(capsys):
    wrong = next(i for i in range(len(TEXTS)) if i != QUESTION.right)
    letter = letter_of(TEXTS[wrong], capsys)
    said = voted(QUESTION.name, letter, capsys)
    assert f"Your vote is {letter}" in said
    told = [text for choice in QUESTION.choices for text in (choice.explanation,)]
    assert not any(text in said for text in (*told, *TEXTS, "Yes", "Not quite"))
    said = voted(QUESTION.name, letter, capsys)
    assert f"Not quite: {TEXTS[wrong]}" in said
    assert QUESTION.choices[wrong].explanation in said
    assert TEXTS[QUESTION.right] in said
    votes = read_state()["record"]["predictions"][QUESTION.name]
    assert (votes["first"]["choice"], votes["second"]["choice"]) == (wrong, wrong)


def test_a_changed_mind_is_kept_and_votes_end_with_the_reveal(capsys):
    wrong = next(i for i in range(len(TEXTS)) if i != QUESTION.right)
    voted(QUESTION.name, letter_of(TEXTS[wrong], capsys), capsys)
    right = letter_of(TEXTS[QUESTION.right], capsys)
    assert "Yes" in voted(QUESTION.name, right, capsys)
    other = next(i for i in range(len(TEXTS)) if i not in (wrong, QUESTION.right))
    said = voted(QUESTION.name, letter_of(TEXTS[other], capsys), capsys)
    assert QUESTION.choices[other].explanation in said
    assert read_state()["predictions"][QUESTION.name] == wrong
    votes = read_state()["record"]["predictions"][QUESTION.name]
    assert votes["second"]["choice"] == QUESTION.right
    with pytest.raises(ValueError, match="a, b, c, d"):
        predict(QUESTION.name, "x")


def test_asking_again_shows_what_was_shown_before_and_no_more(capsys):
    asked(capsys)
    predict(QUESTION.name)
    assert "Your vote" not in capsys.readouterr().out
    voted(QUESTION.name, "a", capsys)
    predict(QUESTION.name)
    said = capsys.readouterr().out
    assert "Your vote is a" in said and "The answer is" not in said
    voted(QUESTION.name, "a", capsys)
    predict(QUESTION.name)
    assert re.search("Yes|The answer is", capsys.readouterr().out)


def test_a_vote_of_an_older_version_has_its_answer_shown(capsys):
    update_state(lambda state: state["predictions"].update({QUESTION.name: 0}))
    predict(QUESTION.name)
    assert re.search("Yes|The answer is", capsys.readouterr().out)


def test_a_choice_that_is_gone_is_asked_again(capsys):
    update_state(lambda state: state["predictions"].setdefault(QUESTION.name, 7))
    assert len(asked(capsys)) == len(TEXTS)
    predict(QUESTION.name, letter_of(TEXTS[1], capsys))
    assert read_state()["predictions"][QUESTION.name] == 1


def test_a_saved_card_shows_the_choices_without_its_widget(monkeypatch):
    """A notebook that was saved keeps cards and loses buttons."""
    shown = []
    monkeypatch.setattr(cards, "in_notebook", lambda: True)
    monkeypatch.setattr(cards, "show", shown.append)
    monkeypatch.setattr(predictions, "show_ballot", lambda *_: None)
    predict(QUESTION.name)
    (card,) = shown
    assert all(text in card.text for text in TEXTS)


def test_the_button_votes_then_shows_the_answer_then_explains(monkeypatch):
    found, shown = {}, []

    def keep(letters, chosen, label, answer):
        found.update(letters=letters, label=label, answer=answer)

    monkeypatch.setattr(cards, "in_notebook", lambda: True)
    monkeypatch.setattr(cards, "show", shown.append)
    monkeypatch.setattr(predictions, "show_ballot", keep)
    predict(QUESTION.name)
    assert found["label"] == "This is my prediction"
    listed = dict(re.findall(r"^([a-z])\) (.+)$", shown[0].text, re.MULTILINE))
    right = TEXTS[QUESTION.right]
    place = [listed[letter] for letter in found["letters"]].index(right)
    card, label = found["answer"](place)
    assert (card.title[:9], label) == ("Your vote", "Show the answer")
    card, label = found["answer"](place)
    assert ("Yes" in card.title, label) == (True, "Explain this choice")
    assert read_state()["predictions"] == {QUESTION.name: QUESTION.right}


@pytest.fixture
def pressed(monkeypatch):
    """What a notebook would show, with hands for its letters and its button."""
    shown = []
    monkeypatch.setattr(cards, "in_notebook", lambda: True)
    monkeypatch.setattr("IPython.display.display", shown.append)

    def press(letter: str | None = None) -> tuple[str, str]:
        boxes = [one for one in shown if hasattr(one, "children")]
        radio, button, below = boxes[-1].children
        if letter is not None:
            radio.value = "abcd".index(letter)
        button.click()
        return below.value, button.description

    return press


def test_the_widgets_vote_twice_with_one_button(pressed):
    predict(QUESTION.name)
    said, label = pressed()
    assert ("Choose one of the answers" in said, label) == (True, predictions.VOTE)
    said, label = pressed("b")
    assert ("Your vote is b" in said, label) == (True, predictions.GO_ON)
    assert not re.search("Yes|Not quite", said)
    said, label = pressed()
    assert re.search("✓ Yes|Not quite", said) and label == predictions.LOOK
    before = read_state()["record"]
    pressed("c")
    assert read_state()["record"] == before


def test_a_vote_goes_on_where_it_was_after_a_new_kernel(pressed):
    predict(QUESTION.name)
    pressed("b")
    predict(QUESTION.name)  # the cell is run again
    said, label = pressed()
    assert re.search("✓ Yes|Not quite", said) and label == predictions.LOOK


# --- twins --------------------------------------------------------------------------

TWINS = [p for stem in chapters() for p in predictions_of(stem) if p.of]


@pytest.mark.parametrize("twin", TWINS, ids=lambda twin: twin.name)
def test_a_twin_belongs_to_an_earlier_prediction_of_its_chapter(twin):
    stem = chapter_of(twin.name)
    assert chapter_of(twin.of) == stem
    (notebook,) = CHAPTERS.glob(f"{stem}.ipynb")
    text = notebook.read_text(encoding="utf-8")
    first, again = (text.index(f'predict(\\"{n}\\")') for n in (twin.of, twin.name))
    assert first < again
    between = json.loads(text)["cells"]
    places = [
        next(
            i
            for i, c in enumerate(between)
            if f'predict("{n}")' in "".join(c["source"])
        )
        for n in (twin.of, twin.name)
    ]
    assert places[1] - places[0] >= 4  # not beside it
    assert twin_of(twin.of) == twin and not find_prediction(twin.of).of


# A prediction whose idea cannot be asked in another case, and why.
WITHOUT_TWIN: dict[str, str] = {}


def test_every_prediction_has_a_twin_or_a_reason():
    asked = [p.name for stem in chapters() for p in predictions_of(stem) if not p.of]
    alone = {name for name in asked if twin_of(name) is None}
    assert len(asked) == len(TWINS) + len(alone) and alone == set(WITHOUT_TWIN)


def test_a_twin_is_answered_at_once_and_compared(capsys):
    twin = TWINS[0]
    asked_first = find_prediction(twin.of)
    wrong = next(i for i in range(len(asked_first.choices)) if i != asked_first.right)
    note_vote(asked_first.name, wrong, len(asked_first.choices))
    predict(twin.name)
    shown = dict(re.findall(r"^([a-z])\) (.+)$", capsys.readouterr().out, re.MULTILINE))
    right = twin.choices[twin.right].text
    letter = next(letter for letter, text in shown.items() if text == right)
    said = voted(twin.name, letter, capsys)
    assert "Yes" in said and "first vote on this idea was not right" in said
    votes = read_state()["record"]["predictions"][twin.name]
    assert votes["of"] == twin.of and votes["revealed"]
