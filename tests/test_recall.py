"""The questions a chapter begins with: who is asked what, and what is kept."""

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from utils.checks import (
    chapters,
    find_check,
    find_prediction,
    is_exercise,
    predictions_of,
    recall_of,
)
from utils.exercises import cards
from utils.exercises import recall as module
from utils.exercises.recall import recall
from utils.exercises.state import (
    note_hint,
    note_try,
    note_vote,
    read_state,
    state_path,
    update_state,
)

ROOT = Path(__file__).parents[1]
BEFORE = recall_of(chapters()[0], "BEFORE")
QUESTIONS = [*BEFORE, *(q for stem in chapters() for q in recall_of(stem))]
BY_NAME = {question.name: question for question in QUESTIONS}


@pytest.fixture(autouse=True)
def own_state(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_STATE", str(tmp_path / "progress.json"))
    update_state(lambda state: state.update(shuffle=5))


def drawn(stem: str, capsys) -> list[str]:
    """The names of the questions that a chapter asks, as it asks them."""
    recall(stem)
    said = capsys.readouterr().out
    names = [name for name, one in BY_NAME.items() if one.question in said]
    return sorted(names, key=lambda name: said.index(BY_NAME[name].question))


def answer(stem: str, name: str, right: bool, capsys) -> str:
    """Answer a question of a chapter as its text says; returns the reply."""
    recall(stem)
    said = capsys.readouterr().out
    number = drawn(stem, capsys).index(name) + 1
    question = BY_NAME[name]
    part = said[said.index(question.question) :]
    shown = dict(re.findall(r"^([a-z])\) (.+)$", part, re.MULTILINE)[::-1])
    index = question.right if right else (question.right + 1) % len(question.choices)
    letter = next(x for x in shown if shown[x] == question.choices[index].text)
    recall(stem, number, letter)
    return capsys.readouterr().out


# --- the pools ------------------------------------------------------------------------


@pytest.mark.parametrize("stem", chapters()[:7])
def test_a_chapter_has_eight_questions_or_more(stem):
    assert len(recall_of(stem)) >= 8


def test_what_comes_before_the_course_is_asked_too():
    assert len(BEFORE) >= 8


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda q: q.name)
def test_a_question_is_complete(question):
    assert len(question.choices) in (3, 4)
    assert 0 <= question.right < len(question.choices)
    texts = [choice.text for choice in question.choices]
    assert len(set(texts)) == len(texts)
    for choice in question.choices:
        assert len(choice.explanation) > 15, choice
        assert choice.explanation != choice.text


def test_names_are_unique_also_among_predictions_and_exercises():
    names = [q.name for q in QUESTIONS]
    names += [p.name for stem in chapters() for p in predictions_of(stem)]
    assert len(names) == len(set(names))
    assert not any(is_exercise(name) for name in names)


def test_what_a_question_is_about_is_of_its_chapter_and_there():
    for stem in chapters():
        for question in recall_of(stem):
            assert question.about
            for name in question.about:
                place = find_check(name) if is_exercise(name) else find_prediction(name)
                assert place.name == name


def test_the_longest_choice_is_no_sign_of_the_right_one():
    """By chance it would be in a little under a third of them."""
    longest = [
        max(range(len(q.choices)), key=lambda i: len(q.choices[i].text)) == q.right
        for q in QUESTIONS
    ]
    assert sum(longest) / len(longest) < 0.4


# --- what is drawn --------------------------------------------------------------------


@pytest.mark.parametrize("stem", chapters()[1:])
def test_three_different_questions_of_earlier_chapters(stem, capsys):
    names = drawn(stem, capsys)
    assert len(set(names)) == 3
    earlier = chapters()[: chapters().index(stem)]
    assert set(names) <= {q.name for one in earlier for q in recall_of(one)}


def test_the_first_chapter_asks_what_comes_before_it(capsys):
    names = drawn("ch0", capsys)
    assert len(set(names)) == 3 and set(names) <= {q.name for q in BEFORE}


def test_without_a_record_different_chapters_are_asked(capsys):
    where = [module._chapter_of(BY_NAME[name]) for name in drawn("ch5", capsys)]
    assert len(set(where)) == 3


def test_the_draw_stays_and_differs_between_learners(capsys):
    first = drawn("ch4", capsys)
    assert drawn("ch4", capsys) == first
    seen = Counter()
    for learner in range(20):
        state_path().write_text(json.dumps({"shuffle": learner}))
        seen.update(drawn("ch4", capsys))
    assert len(seen) > 15


def test_wrong_votes_and_named_mistakes_come_first(capsys):
    wrong = find_prediction("rank_of_ov")
    note_vote(wrong.name, (wrong.right + 1) % 3, 3)
    mistake = find_check("kneser_ney_loss").mistakes[0].name
    note_try("kneser_ney_loss", "failed", mistake)
    note_hint("attention_pattern", 3)
    names = drawn("ch3", capsys)
    about = [set(BY_NAME[name].about) for name in names]
    wanted = {"rank_of_ov", "kneser_ney_loss", "attention_pattern"}
    assert all(topics & wanted for topics in about), names


def test_right_votes_and_passes_weigh_nothing(capsys):
    plain = drawn("ch3", capsys)
    state_path().unlink()
    update_state(lambda state: state.update(shuffle=5))
    right = find_prediction("rank_of_ov")
    note_vote(right.name, right.right, 3)
    note_try("kneser_ney_loss", "passed", None)
    assert drawn("ch3", capsys) == plain


def test_a_wrong_answer_comes_back_until_it_is_right(capsys):
    name = drawn("ch2", capsys)[1]
    answer("ch2", name, False, capsys)
    recall("ch3")
    assert "once more, as it went wrong the last time" in capsys.readouterr().out
    assert name in drawn("ch3", capsys)
    answer("ch3", name, True, capsys)
    assert name not in drawn("ch4", capsys)


def test_what_went_wrong_before_the_course_comes_back_in_chapter_1(capsys):
    name = drawn("ch0", capsys)[0]
    answer("ch0", name, False, capsys)
    assert name in drawn("ch1", capsys)


def test_a_question_that_is_gone_is_replaced(capsys):
    first = drawn("ch3", capsys)

    def rename(state):
        state["record"]["recall"]["asked"]["ch3_one_layer"][1] = "no such question"

    update_state(rename)
    now = drawn("ch3", capsys)
    assert len(now) == 3 and now[:2] == [first[0], first[2]]


# --- answering ------------------------------------------------------------------------


def test_the_first_answer_is_kept_with_its_minute(capsys):
    name = drawn("ch3", capsys)[0]
    question = BY_NAME[name]
    said = answer("ch3", name, False, capsys)
    wrong = question.choices[(question.right + 1) % len(question.choices)]
    assert wrong.explanation in said
    assert question.choices[question.right].text in said
    assert "Yes" in answer("ch3", name, True, capsys)
    given = read_state()["record"]["recall"]["answers"][name]["ch3_one_layer"]
    assert (given["right"], given["choice"] == question.right) == (False, False)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\dZ", given["at"])
    recall("ch3")
    assert wrong.explanation in capsys.readouterr().out


def test_what_is_not_there_is_said():
    with pytest.raises(ValueError, match="No chapter is called 'ch99'"):
        recall("ch99")
    with pytest.raises(ValueError, match="numbered 1 to 3"):
        recall("ch3", 4, "a")
    with pytest.raises(ValueError, match="a, b, c"):
        recall("ch3", 1, "x")


def test_a_saved_notebook_keeps_the_questions_as_text(monkeypatch):
    shown = []
    monkeypatch.setattr(cards, "in_notebook", lambda: True)
    monkeypatch.setattr(cards, "show", shown.append)
    monkeypatch.setattr(module, "show_ballot", lambda *_: None)
    recall("ch5")
    assert len(shown) == 3
    for number, card in enumerate(shown, 1):
        assert card.title.startswith(f"Question {number} of 3, from chapter ")
        assert len(re.findall(r"^[a-d]\) ", card.text, re.MULTILINE)) in (3, 4)


def test_nothing_heavy_is_imported(tmp_path):
    """The questions are there before a chapter's models: no torch, no widgets."""
    lines = (
        "import sys\nfrom utils.exercises.recall import recall\nrecall('ch6')\n"
        "heavy = {'torch', 'transformer_lens', 'plotly', 'pandas', 'numpy'}\n"
        "print('heavy:', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", lines], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout.endswith("heavy: []\n"), done.stdout + done.stderr


@pytest.mark.parametrize("path", sorted((ROOT / "chapters").glob("ch*.ipynb")), ids=str)
def test_a_chapter_begins_with_its_questions(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
    short = path.stem.partition("_")[0]
    assert code[0] == (
        f'from utils.exercises.recall import recall\n\nrecall("{short}")'
    )
