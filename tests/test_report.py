"""The class report: a made-up class of 24, counted a second time without its code."""

import csv
import datetime
import html
import json
import re
import statistics
from collections import Counter
from pathlib import Path

import pytest

from tests.made_class import FORMULA_NAME, HTML_NAME, NAMES, NOW, make_class
from utils.checks import chapters, exercises_of, find_check, find_prediction
from utils.launcher import report as command
from utils.launcher.classroom.asking import guide_questions, questions
from utils.launcher.classroom.counts import count, sentence_of
from utils.launcher.classroom.learners import find_learners
from utils.launcher.report import report


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder, what was put into it, and where the report lies."""
    folder = tmp_path_factory.mktemp("class") / "class"
    folder.mkdir()
    learners = make_class(folder)
    return folder, learners, report(folder, at=NOW).parent


def rows(path: Path) -> list[dict]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def words(text: str) -> str:
    """The words of a page, its tags left out."""
    text = re.sub(r"<style>.*?</style>|<wbr>", "", text, flags=re.DOTALL)
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text)))


# --- The figures --------------------------------------------------------------------


def test_everybody_has_a_row(made):
    folder, _, out = made
    found = rows(out / "learners.csv")
    assert len(found) == len(NAMES) == 24
    assert len({row["place"] for row in found}) == 24
    text = words((out / "room.html").read_text())
    assert "24 learners" in text
    for name in set(NAMES):
        assert name in text


def test_solved_by_learner_and_chapter(made):
    _, learners, out = made
    found = {row["place"].lstrip("'"): row for row in rows(out / "learners.csv")}
    for learner in learners:
        row = found[learner.place.as_posix()]
        passed = learner.passed - ({"next_token"} if learner.name == "odd" else set())
        for stem in chapters():
            assert int(row[stem]) == len(passed & set(exercises_of(stem))), stem
        assert int(row["solved"]) == len(passed)
    every = sum(len(exercises_of(stem)) for stem in chapters())
    middle = statistics.median([int(row["solved"]) for row in found.values()])
    page = words((out / "room.html").read_text())
    assert f"{middle:g} of {every} solved by the middle learner" in page


def test_solved_and_tried_by_exercise(made):
    _, learners, out = made
    for row in rows(out / "exercises.csv"):
        name = row["exercise"]
        tried = {
            one.place for one in learners if any(t[1] == name for t in one.tries)
        } | ({Path("odd.json")} if name == "svd_of_product" else set())
        odd = name == "next_token"
        passed = [
            o for o in learners if name in o.passed and not (odd and o.name == "odd")
        ]
        opened = [one for one in learners if name in one.opened]
        hinted = [one for one in learners if one.hints.get(name)]
        assert int(row["solved"]) == len(passed), name
        assert int(row["tried"]) == len(tried), name
        assert int(row["solution"]) == len(opened), name
        assert int(row["hints"]) == len(hinted), name


def test_mistakes_count_learners_with_their_sentence(made):
    _, learners, out = made
    expected = Counter()
    for learner in learners:
        expected.update({(t[1], t[3]) for t in learner.tries if t[3]})
    found = {}
    for row in rows(out / "mistakes.csv"):
        if row["exercise"] == "svd_of_product":
            assert row["mistake"].startswith("a mistake this version")
            continue
        found[row["exercise"], row["mistake"]] = int(row["learners"])
        says = {m.name: m.says for m in find_check(row["exercise"]).mistakes}
        assert row["sentence"] == says[row["mistake"]]
    assert found == dict(expected)
    page = words((out / "room.html").read_text())
    (exercise, mistake), often = expected.most_common(1)[0]
    assert f" {often} {mistake} " in page[page.index(f" {exercise} {often}") :]


def test_votes_first_and_now(made):
    _, learners, out = made
    first, now = Counter(), Counter()
    for learner in learners:
        for name, (one, second, _) in learner.votes.items():
            if find_prediction(name).of not in {"", *learner.votes}:
                continue  # a twin is compared with the vote before it
            first[name, one] += 1
            now[name, one if second is None else second] += 1
    by_name: dict = {}
    for row in rows(out / "votes.csv"):
        by_name.setdefault(row["prediction"], []).append(row)
    for name, choices in by_name.items():
        right = find_prediction(name).right
        for index, row in enumerate(choices):
            assert int(row["first"]) == first[name, index]
            assert int(row["now"]) == now[name, index]
            assert int(row["right"]) == (index == right)
            assert row["twin_of"] == find_prediction(name).of
    twins = {name for name in by_name if find_prediction(name).of}
    assert len(twins) >= 3 and sum(first[pair] for pair in first if pair[0] in twins)
    page = words((out / "room.html").read_text())
    voted = Counter(name for name, _ in first.elements())
    name, voters = next(pair for pair in voted.most_common() if pair[0] not in twins)
    right = find_prediction(name).right
    says = f"{name}: {first[name, right]} of {voters} right at first, "
    assert f"{says}{now[name, right]} after" in page
    twin = find_prediction(next(name for name in twins if voted[name]))
    says = f"asked again, {first[twin.name, twin.right]} of {voted[twin.name]} right"
    assert says in page[page.index(f"{twin.of}: ") :][:200]


def test_where_the_room_is(made):
    """The exercise tried last, if unsolved; stuck by three tries or ten minutes."""
    _, learners, out = made
    found = {row["place"].lstrip("'"): row for row in rows(out / "learners.csv")}
    hour_ago, working, stuck = 120, 0, 0  # the report is made after 180 minutes
    for learner in learners:
        seen = [t[0] for t in learner.tries] + [v[2] for v in learner.votes.values()]
        active = max(seen, default=0) >= hour_ago
        working += active
        row = found[learner.place.as_posix()]
        if not learner.tries:
            assert row["at"] == ""
            continue
        name = learner.tries[-1][1]
        if name in learner.passed:
            assert row["at"] == ""
            continue
        minutes = [t[0] for t in learner.tries if t[1] == name]
        held = len(minutes) >= 3 or max(minutes) - min(minutes) >= 10
        assert (row["at"], row["tries_there"]) == (name, str(len(minutes)))
        assert row["stuck"] == str(int(held))
        stuck += held and active
    assert working > stuck > 0
    page = words((out / "room.html").read_text())
    assert f"{working} active in the last hour {stuck} of these are stuck" in page


def test_questions_come_from_the_room(made):
    page = words((made[2] / "room.html").read_text())
    ask = page[page.rindex("What to ask next") : page.rindex("Where the room is now")]
    assert "then vote again" in ask
    assert "made this mistake" in ask
    assert "are stuck at" in ask


def test_what_to_ask_follows_the_room(tmp_path):
    """Three of four are at one place now; what they did an hour ago is not asked."""
    now = NOW.replace(hour=15, minute=0)
    at = [now - datetime.timedelta(minutes=m) for m in (90, 5, 4, 3)]
    early, *late = [moment.strftime("%Y-%m-%dT%H:%MZ") for moment in at]

    wrong = int(find_prediction("rank_of_ov").right == 0)

    def tries(moments, mistake):
        return [{"at": m, "status": "failed", "mistake": mistake} for m in moments]

    for name in ("ada", "ben", "cem", "dia"):
        exercises = {"ov_matrix": {"tries": tries([early], "transposed")}}
        if name != "dia":
            exercises["qk_matrix"] = {"tries": tries(late, "key first")}
        shown = {"revealed": early} if name != "ada" else {"revealed": None}
        vote = {"first": {"choice": wrong, "at": early}, **shown}
        record = {"exercises": exercises, "predictions": {"rank_of_ov": vote}}
        state = {"predictions": {"rank_of_ov": wrong}, "record": record}
        (tmp_path / f"{name}.json").write_text(json.dumps(state))
    learners = find_learners(tmp_path)
    live = questions(count(learners, now))
    assert [one.people for one in live] == [3, 3]
    assert "made this mistake in `qk_matrix`: key first." in live[0].why
    assert all(one.late for one in live)
    assert live[0].ask == guide_questions()["qk_matrix", "key first"]
    assert "3 are stuck at `qk_matrix`, after 3 tries: ada, ben, cem" in live[1].why
    assert find_check("qk_matrix").hints[0] in live[1].listen

    # The evening after, all of it counts, and the vote whose answer was shown too.
    later = questions(count(learners, now + datetime.timedelta(hours=5)))
    whys = " ".join(one.why for one in later)
    assert not any(one.late for one in later)
    assert "4 learners made this mistake in `ov_matrix`: transposed." in whys
    # Where the guide has no question, the check's own words are read to the room.
    assert ("ov_matrix", "transposed") not in guide_questions()
    says = sentence_of("ov_matrix", "transposed")
    assert says and any(says in one.ask for one in later)
    assert "4 of 4 have `rank_of_ov` wrong" in whys and "ask for hands" in whys
    assert "Right is: At most d_head." in " ".join(one.listen for one in later)


def test_every_mistake_of_the_guide_brings_its_question():
    text = guide_questions()
    assert len(text) >= 40
    assert text["attention_pattern", "masked with zero"] == "What is exp(0)?"


def test_a_quiet_room_says_so(tmp_path):
    (tmp_path / "class").mkdir()
    text = words(report(tmp_path / "class").read_text())
    for sentence in (
        "Nobody was active in the last hour",
        "0 stuck when they stopped",
        "Nobody is in the middle of an exercise",
        "Nothing stands out yet",
        "No check has named a mistake yet",
        "Nobody has voted yet",
    ):
        assert sentence in text


# --- What strangers hand in ---------------------------------------------------------


def test_damaged_and_odd_states_spoil_only_their_own_row(made):
    remarks = {row["place"]: row["remarks"] for row in rows(made[2] / "learners.csv")}
    assert "damaged" in remarks.pop("damaged/.course_progress.json")
    assert "Odd entries" in remarks.pop("odd.json")
    assert set(remarks.values()) == {""}


def test_two_of_one_name_are_two_rows(made):
    names = [row["learner"] for row in rows(made[2] / "learners.csv")]
    assert {"ada (monday/ada.json)", "ada (tuesday/ada.json)"} <= set(names)
    ids = [row["id"] for row in rows(made[2] / "nbgrader_students.csv")]
    assert {"ada", "ada-2"} <= set(ids)
    assert len(set(ids)) == 24


def test_names_and_states_cannot_put_html_on_the_page(made):
    text = (made[2] / "room.html").read_text()
    assert html.escape(HTML_NAME) in text
    assert "<img" not in text
    assert "<script" not in text
    assert "no such" not in text
    assert "<b>bold" not in text
    assert "default-src 'none'" in text
    assert not re.search(r"(src|href)=.?(http|//|file)", text)


def test_names_cannot_be_formulas(made):
    for path in made[2].glob("*.csv"):
        with open(path, newline="", encoding="utf-8") as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        assert not [cell for cell in cells if cell.startswith(("=", "+", "@"))], path
    names = [row["learner"] for row in rows(made[2] / "learners.csv")]
    assert f"'{FORMULA_NAME}" in names


def test_names_can_be_left_out(made, tmp_path):
    folder, learners, _ = made
    out = tmp_path / "out"
    report(folder, out, names=False, at=NOW)
    assert not list(out.glob("nbgrader*"))
    text = "".join(path.read_text() for path in sorted(out.iterdir()))
    for name in set(NAMES) - {"damaged", "odd", FORMULA_NAME}:
        assert name not in text
        assert html.escape(name) not in text
    numbers = {row["learner"] for row in rows(out / "learners.csv")}
    assert numbers == {f"Learner {n}" for n in range(1, 25)}


# --- Tables and command -------------------------------------------------------------


def test_grades_have_the_columns_of_nbgrader(made):
    _, learners, out = made
    found = rows(out / "nbgrader_grades.csv")
    assert (
        list(found[0])
        == (
            "assignment duedate timestamp student_id last_name first_name email "
            "raw_score late_submission_penalty score max_score"
        ).split()
    )
    assert len(found) == 24 * len(chapters())
    keys = {(row["assignment"], row["student_id"]) for row in found}
    assert len(keys) == len(found)
    students = {row["id"] for row in rows(out / "nbgrader_students.csv")}
    assert {row["student_id"] for row in found} == students
    named = [row["name"] for row in rows(out / "nbgrader_assignments.csv")]
    assert named == list(chapters())
    total = sum(float(row["score"]) for row in found)
    spoilt = sum("next_token" in one.passed for one in learners if one.name == "odd")
    assert total == sum(len(one.passed) for one in learners) - spoilt


def test_the_command(made, tmp_path, capsys):
    folder = made[0]
    out = tmp_path / "out"
    assert command.main([str(folder), "--out", str(out), "--names", "no"]) == 0
    assert str(out / "room.html") in capsys.readouterr().out
    assert command.main([str(tmp_path / "nowhere")]) == 2
    assert "no folder" in capsys.readouterr().err


def test_nothing_in_the_folder_is_changed(made):
    folder = made[0]
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    report(folder, at=NOW)
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*")} == before


@pytest.mark.slow
@pytest.mark.parametrize("width", [1200, 400])
def test_the_page_in_a_browser(made, page, width):
    """Nothing is asked for, nothing runs, nothing is wider than a phone."""
    page.set_viewport_size({"width": width, "height": 800})
    said = []
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.goto((made[2] / "room.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert len(page.asked) == 1
    assert said == []
    assert page.locator("#solved + .scroll tbody tr").count() == 24
