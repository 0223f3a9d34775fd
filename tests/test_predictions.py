"""Questions before a reveal: order for each learner, first votes, wrong letters."""

import json
import re

import pytest

from utils.checks import find_prediction
from utils.exercises import cards
from utils.exercises.engine import predict
from utils.exercises.state import read_state, state_path, update_state

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


def test_a_wrong_choice_is_explained_and_the_first_is_kept(capsys):
    wrong = next(i for i in range(len(TEXTS)) if i != QUESTION.right)
    predict(QUESTION.name, letter_of(TEXTS[wrong], capsys))
    said = capsys.readouterr().out
    assert f"Not quite: {TEXTS[wrong]}" in said
    assert QUESTION.choices[wrong].explanation in said
    assert TEXTS[QUESTION.right] in said
    predict(QUESTION.name, letter_of(TEXTS[QUESTION.right], capsys))
    assert "Yes" in capsys.readouterr().out
    assert read_state()["predictions"][QUESTION.name] == wrong
    with pytest.raises(ValueError, match="a, b, c, d"):
        predict(QUESTION.name, "x")


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
    monkeypatch.setattr(cards, "show_choices", lambda *_: None)
    predict(QUESTION.name)
    (card,) = shown
    assert all(text in card.text for text in TEXTS)


def test_the_radio_button_of_a_letter_answers_with_its_choice(monkeypatch):
    found = {}

    def keep(labels, chosen, answer):
        found.update(labels=labels, answer=answer)

    shown = []
    monkeypatch.setattr(cards, "in_notebook", lambda: True)
    monkeypatch.setattr(cards, "show", shown.append)
    monkeypatch.setattr(cards, "show_choices", keep)
    predict(QUESTION.name)
    listed = dict(re.findall(r"^([a-z])\) (.+)$", shown[0].text, re.MULTILINE))
    right = TEXTS[QUESTION.right]
    place = [listed[letter] for letter in found["labels"]].index(right)
    assert "Yes" in found["answer"](place).title
