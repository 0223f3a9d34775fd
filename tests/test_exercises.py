"""The exercise engine, and the four invariants of every exercise in the course."""

import os
import random
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from beartype import beartype
from jaxtyping import jaxtyped

import utils.models.attention_only
from utils.checks import (
    Check,
    Mistake,
    Wrong,
    chapter_of,
    chapters,
    exercises_of,
    expect,
    find_check,
    find_prediction,
    predictions_of,
)
from utils.exercises import engine as exercises
from utils.exercises import guard, verdict
from utils.exercises.engine import ExerciseFailed, exercise, hint, run_check
from utils.exercises.sync import (
    CHAPTERS,
    drift,
    exercise_names,
    solution_source,
    stub_source,
)
from utils.models.attention_only import load_model
from utils.models.handmade import random_model

CHECKS = [find_check(name) for stem in chapters() for name in exercises_of(stem)]
MISTAKES = [(check, mistake) for check in CHECKS for mistake in check.mistakes]
PREDICTIONS = [p for stem in chapters() for p in predictions_of(stem)]


def reference(name):
    module = __import__(f"solutions.{chapter_of(name)}", fromlist=[name])
    return getattr(module, name)


# --- the invariants of every exercise -----------------------------------------------


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_stub_is_not_attempted(check):
    namespace = dict(vars(__import__("utils.prelude", fromlist=["*"])))
    exec(stub_source(solution_source(chapter_of(check.name), check.name)), namespace)
    result = run_check(check.name, namespace[check.name])
    assert (result.status, result.mistake) == ("not attempted", None)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_solution_passes_in_under_two_seconds(check):
    start = time.thread_time()  # a busy computer does not count
    result = run_check(check.name, reference(check.name))
    assert result.status == "passed", result.message
    assert result.message == check.passed
    assert not result.notes
    assert time.thread_time() - start < 4  # 2 s on an idle machine


@pytest.mark.slow  # all together
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_answer_that_is_held_to_the_stubs_annotations_passes(check):
    answer = jaxtyped(typechecker=beartype)(reference(check.name))
    result = run_check(check.name, answer)
    assert result.status == "passed", result.message


@pytest.mark.parametrize(
    ("check", "mistake"),
    MISTAKES,
    ids=[f"{check.name}: {mistake.name}" for check, mistake in MISTAKES],
)
def test_mistake_is_recognised_by_its_own_message(check, mistake):
    result = run_check(check.name, mistake.function)
    assert result.status == "failed"
    assert result.mistake == mistake.name
    assert result.message == mistake.says


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_check_offers_enough_help(check):
    assert len(check.hints) == 3 and all(len(text) > 20 for text in check.hints)
    assert len(set(check.hints)) == 3
    assert len(check.mistakes) >= 3
    assert len({mistake.name for mistake in check.mistakes}) == len(check.mistakes)
    assert len(check.passed) > 40


@pytest.mark.parametrize("prediction", PREDICTIONS, ids=lambda p: p.name)
def test_prediction_explains_every_choice(prediction):
    assert len(prediction.choices) >= 2
    assert 0 <= prediction.right < len(prediction.choices)
    assert all(len(choice.explanation) > 20 for choice in prediction.choices)


def test_the_file_of_a_check_has_its_name():
    for stem in chapters():
        for name in exercises_of(stem):
            assert find_check(name).name == name


@pytest.mark.parametrize(
    ("find", "name", "near"),
    [
        (find_check, "per_token_losses", "Near it: per_token_loss"),
        (find_prediction, "rank_of_o_v", "Near it: rank_of_ov"),
        (find_check, "zzzz", "There are: next_token, "),
    ],
)
def test_a_name_that_is_gone_says_what_is_near_and_how_to_get_new_chapters(
    find, name, near
):
    """As in a copy of a chapter that is older than the course."""
    with pytest.raises(KeyError) as caught:
        find(name)
    said = caught.value.args[0]
    assert near in said and "lab --fresh" in said and "the facilitator's link" in said


def test_names_are_unique_in_the_course():
    names = [entry.name for entry in CHECKS + PREDICTIONS]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("chapter", sorted(CHAPTERS.glob("ch*.ipynb")), ids=str)
def test_notebook_has_the_exercises_in_order_and_undrifted(chapter):
    assert tuple(exercise_names(chapter)) == exercises_of(chapter.stem)
    assert drift(chapter) == []


@pytest.mark.parametrize("chapter", sorted(CHAPTERS.glob("ch*.ipynb")), ids=str)
def test_notebook_asks_every_prediction_once(chapter):
    source = chapter.read_text(encoding="utf-8")
    for prediction in predictions_of(chapter.stem):
        assert source.count(f'predict(\\"{prediction.name}\\")') == 1


def test_drift_is_found(tmp_path):
    chapter = min(CHAPTERS.glob("ch*.ipynb"))
    copy = tmp_path / chapter.name
    text = chapter.read_text(encoding="utf-8")
    copy.write_text(text.replace("    raise NotImplementedError", "    pass", 1))
    assert drift(copy) == exercise_names(chapter)[:1]


# --- answers of every kind ----------------------------------------------------------


def path(model):
    return model.W_E @ model.W_U


def no_return(model):
    path(model)


def a_string(model):
    return "hello"


def not_a_number(model):
    result = path(model)
    result[2, 3] = torch.nan
    return result


def wrong_shape(model):
    return model.W_E


def wrong_dtype(model):
    return path(model) > 0


def on_meta(model):
    return path(model).to("meta")


def endless(model):
    while True:
        pass


def endless_and_stubborn(model):
    while True:
        try:
            model = model
        except BaseException:
            pass


def sys_exit(model):
    sys.exit(0)


def plain_exit(model):
    exit()


def plain_quit(model):
    quit()


def hard_exit(model):
    os._exit(3)


def asks_for_input(model):
    return input("?")


def direct_path(model):
    return direct_path(model)


def undefined_helper(model):
    return helper(model)  # noqa: F821


def not_implemented_inside_a_library(model):
    return torch.nn.Module()(model.W_E)


def not_written(model):
    raise NotImplementedError


def too_few_arguments():
    return 1


def a_generator(model):
    yield path(model)


BAD = [
    (no_return, "failed", "returned None"),
    (a_string, "failed", "is a str"),
    (not_a_number, "failed", "[2, 3] and is nan"),
    (wrong_shape, "failed", "[current, next] = [13, 13]"),
    (wrong_dtype, "failed", "True and False"),
    (on_meta, "failed", "meta device"),
    (endless, "error", "still running after 1 seconds"),
    (endless_and_stubborn, "error", "still running"),
    (sys_exit, "error", "asked Python to quit"),
    (plain_exit, "error", "asked Python to quit"),
    (plain_quit, "error", "asked Python to quit"),
    (hard_exit, "error", "asked Python to quit"),
    (asks_for_input, "error", "input() does not work"),
    (direct_path, "error", "calls itself without end"),
    (undefined_helper, "error", "above the decorated"),
    (not_implemented_inside_a_library, "error", "NotImplementedError"),
    (not_written, "not attempted", "not written yet"),
    (too_few_arguments, "failed", "Parameter 1 should be called `model`"),
    (a_generator, "failed", "generator"),
    (None, "error", "NoneType"),
    ("path", "error", "str"),
]


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    BAD,
    ids=[str(getattr(b[0], "__name__", b[0])) for b in BAD],
)
def test_bad_answer_gets_its_state_and_a_readable_message(answer, status, words):
    result = run_check("direct_path", answer, time_limit=1.0)
    assert result.status == status
    assert words in result.message
    assert "Traceback" not in result.message


def other_einsum(model):
    return torch.einsum("ad,db->ab", model.W_E, model.W_U)


def in_float64(model):
    return model.W_E.double() @ model.W_U.double()


def as_numpy(model):
    return path(model).numpy()


def factored(model):
    from transformer_lens import FactoredMatrix

    return FactoredMatrix(model.W_E, model.W_U)


def with_a_gradient(model):
    return path(model).requires_grad_()


@pytest.mark.parametrize(
    "answer", [path, other_einsum, in_float64, as_numpy, factored, with_a_gradient]
)
def test_right_answer_written_another_way_passes(answer):
    assert run_check("direct_path", answer).status == "passed"


# --- answers that change things -----------------------------------------------------


@pytest.fixture
def live_model():
    model = random_model(1, seed=9)
    utils.models.attention_only._live.add(model)
    yield model
    utils.models.attention_only._live.discard(model)


def zeroes_weights(model):
    result = path(model)
    model.W_E.data.zero_()
    return result


def adds_a_parameter_in_place(model):
    result = path(model)
    model.W_U.add_(1.0)
    return result


def leaves_a_hook(model):
    model.add_hook("hook_embed", lambda value, hook: 0 * value)
    return path(model)


def switches_to_training(model):
    model.train()
    return path(model)


def halves(model):
    result = path(model)
    model.half()
    return result


def wants_gradients(model):
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    return path(model).detach()


HARM = [
    (zeroes_weights, "weights"),
    (adds_a_parameter_in_place, "weights"),
    (leaves_a_hook, "hooks"),
    (switches_to_training, "training mode"),
    (halves, "weights"),
    (wants_gradients, "weights"),
]


@pytest.mark.parametrize(("answer", "what"), HARM)
@pytest.mark.parametrize("target", ["argument", "live model"])
def test_change_in_place_is_reported_and_put_back(answer, what, target, live_model):
    tokens = torch.tensor([[0, 3, 7, 1]])
    before = live_model(tokens).clone()

    def on_live(model):
        answer(live_model)
        return path(model)

    chosen = answer if target == "argument" else on_live
    result = run_check("direct_path", chosen)
    assert result.status == "failed"
    assert result.mistake == "changes its input"
    assert what in result.message
    assert torch.equal(live_model(tokens), before)
    assert not live_model.training
    assert not any(p.requires_grad for p in live_model.parameters())
    assert run_check("direct_path", path).status == "passed"


def by_torch(parameter):
    parameter.add_(1.0)


def past_torch(parameter):
    parameter.data.add_(1.0)


def by_another_tensor(parameter):
    parameter.data = parameter.data + 1


@pytest.mark.parametrize("write", [by_torch, past_torch, by_another_tensor])
def test_a_wrong_answer_is_called_again_and_leaves_models_as_they_were(
    write, live_model
):
    """After the judge come steps and mistakes, which call the answer too."""
    tokens = torch.tensor([[0, 3, 7, 1]])
    before, seen = live_model(tokens).clone(), []

    def answer(*args, **kwargs):
        seen.append(torch.equal(live_model(tokens), before))
        for parameter in live_model.original_model.parameters():
            write(parameter)
        return torch.zeros(())

    result = run_check("build_matching_head", answer)
    assert result.status != "passed" and "model's weights" in result.message
    assert torch.equal(live_model(tokens), before)
    assert len(seen) > 2 and seen[0]
    # What torch does not count is looked for after the judge, and when all is done.
    assert all(seen) or write is past_torch


def test_changed_tensor_argument_is_reported_and_put_back():
    def answer(tokens, d_vocab, pseudocount=1.0):
        result = reference("bigram_log_probs")(tokens, d_vocab, pseudocount)
        tokens.zero_()
        return result

    result = run_check("bigram_log_probs", answer)
    assert result.mistake == "changes its input"
    assert "a tensor it was given" in result.message


def test_random_state_and_grad_mode_are_noted_and_put_back():
    def answer(model):
        torch.randn(3), random.random(), np.random.random()
        torch.set_grad_enabled(not torch.is_grad_enabled())
        return path(model)

    grad = torch.is_grad_enabled()
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    result = run_check("direct_path", answer)
    assert result.status == "passed"
    assert any("random state" in note for note in result.notes)
    assert any("grad mode" in note for note in result.notes)
    assert torch.is_grad_enabled() == grad
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert np.array_equal(np.random.get_state()[1], before[2])


def test_exits_work_again_afterwards():
    import builtins

    before = builtins.exit, builtins.quit, builtins.input, os._exit, sys.stdout
    run_check("direct_path", sys_exit)
    assert before == (
        builtins.exit,
        builtins.quit,
        builtins.input,
        os._exit,
        sys.stdout,
    )


def test_prints_are_kept_and_bounded():
    def chatty(model):
        for number in range(100_000):
            print("line", number)
        return path(model)

    result = run_check("direct_path", chatty)
    assert result.status == "passed"
    assert result.printed.startswith("line 0\nline 1")
    assert len(result.printed) < 5_000


# --- mistakes -----------------------------------------------------------------------


def test_mistake_is_matched_by_shape_and_by_exception(monkeypatch):
    def judge(answer):
        expect.tensor(answer(torch.ones(2, 3)), row=2, column=3)

    def transposes(x):
        return x.T

    def multiplies(x):
        return x @ x

    check = Check(
        name="toy",
        judge=judge,
        hints=("a", "b", "c"),
        passed="ok",
        mistakes=(
            Mistake("turned", "You turned it.", transposes),
            Mistake("product", "You multiplied it by itself.", multiplies),
        ),
    )
    monkeypatch.setattr(verdict, "find_check", lambda name: check)
    assert run_check("toy", lambda x: x).status == "passed"
    assert run_check("toy", lambda x: x.mT.clone()).mistake == "turned"
    result = run_check("toy", lambda x: torch.matmul(x, x))
    assert (result.status, result.mistake) == ("failed", "product")
    assert run_check("toy", lambda x: x[:1]).mistake is None


def doubling(judge, *mistakes):
    """A check of a made-up exercise whose right answer doubles its input."""
    return Check("toy", judge, ("a", "b", "c"), mistakes, "ok")


def test_a_mistake_that_is_right_so_far_does_not_claim_an_answer(monkeypatch):
    """The judge asks for the easy case first and stops there, for another reason."""

    def judge(answer):
        asked.clear()
        expect.close(expect.number(answer(2.0)), 4.0, "No.")
        expect.true(len(asked) < 2, "It asked twice.")
        expect.close(expect.number(answer(3.0)), 6.0, "No.")

    asked = []

    def asks_twice(x):
        asked.extend("ab")
        return 2 * x

    square = Mistake("square", "You squared it.", lambda x: x * x)
    monkeypatch.setattr(verdict, "find_check", lambda name: doubling(judge, square))
    result = run_check("toy", asks_twice)
    assert (result.status, result.mistake) == ("failed", None)
    assert "asked twice" in result.message
    assert run_check("toy", lambda x: x**2).mistake == "square"


def test_a_mistake_that_fails_otherwise_does_not_claim_an_answer(monkeypatch):
    """Same values in the same calls, but the judge's complaint is another one."""

    def judge(answer):
        made.clear()
        value = answer(torch.ones(2))
        expect.true(len(made) < 2, "Too much was made.")
        expect.close(expect.tensor(value, row=2), 2 * torch.ones(2), "No.")

    made = []

    def wasteful(x):
        made.extend("ab")
        return 3 * x

    triple = Mistake("triple", "You tripled it.", lambda x: 3 * x)
    monkeypatch.setattr(verdict, "find_check", lambda name: doubling(judge, triple))
    assert run_check("toy", wasteful).mistake is None
    assert run_check("toy", lambda x: x * 3).mistake == "triple"


def test_a_copying_score_by_the_whole_matrix_is_not_told_that_it_never_centres():
    """The first case of that judge is not centred; what is wrong is the size."""

    def copying_score(model, layer, head, centred=False):
        W_U = model.W_U
        if centred:
            W_U = W_U - W_U.mean(dim=1, keepdim=True)
        matrix = model.W_E @ model.W_V[layer, head] @ model.W_O[layer, head] @ W_U
        values = torch.linalg.eigvals(matrix)
        return (values.sum().real / values.abs().sum()).item()

    result = run_check("copying_score", copying_score)
    assert result.mistake is None and "whole vocabulary" in result.message


@pytest.mark.parametrize(
    ("check", "mistake"),
    [(check, mistake) for check, mistake in MISTAKES if mistake.matches],
    ids=lambda one: one.name,
)
def test_the_own_test_of_a_mistake_is_not_true_of_the_solution(check, mistake):
    with torch.no_grad():
        assert not mistake.matches(reference(check.name))


def without_a_default(model, layer, head, centred):
    return reference("copying_score")(model, layer, head, centred)


def with_one_parameter_less(model, layer, head):
    return reference("copying_score")(model, layer, head)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (without_a_default, "`centred` should have the default False"),
        (with_one_parameter_less, "Parameter 4 should be called `centred`"),
    ],
)
def test_another_signature_is_named_and_not_the_type_error_it_causes(answer, words):
    result = run_check("copying_score", answer)
    assert (result.status, result.mistake) == ("failed", "other signature")
    assert words in result.message and "positional argument" not in result.message


def test_swapped_parameters_are_told_beside_the_error_they_cause():
    def head_outputs(tokens, model, layer):
        return reference("head_outputs")(model, tokens, layer)

    result = run_check("head_outputs", head_outputs)
    assert result.status == "error" and result.mistake is None
    assert "Parameter 1 should be called `model`" in result.message


def test_a_type_error_of_the_answer_itself_stays_one():
    result = run_check("direct_path", lambda model: model.W_E + None)
    assert result.status == "error" and "TypeError" in result.message


def test_unknown_exercise_names_the_known_ones():
    with pytest.raises(KeyError, match="direct_path"):
        run_check("direct_pat", path)


# --- the decorator ------------------------------------------------------------------


def test_failed_answer_is_replaced_by_the_solution(capsys):
    def direct_path(model):
        return model.W_E

    model = random_model(0)
    bound = exercise(direct_path)
    said = capsys.readouterr().out
    assert "failed" in said and "direct_path.yours" in said
    assert bound.yours is direct_path
    assert torch.equal(bound(model), path(model))


def test_passed_answer_stays(capsys):
    def direct_path(model):
        return path(model)

    assert exercise(direct_path) is direct_path
    assert "passed" in capsys.readouterr().out
    assert "direct_path" in exercises.read_state()["passed"]


def test_strict_mode_raises(monkeypatch):
    monkeypatch.setenv("COURSE_STRICT", "1")

    def direct_path(model):
        raise NotImplementedError

    with pytest.raises(ExerciseFailed, match="not attempted"):
        exercise(direct_path)


def test_name_means_the_answer_while_it_is_checked():
    """An answer that calls its own name must not reach the solution behind it."""
    namespace = {"direct_path": reference("direct_path")}
    exec("def direct_path(model):\n    return direct_path(model)", namespace)
    answer = namespace["direct_path"]
    namespace["direct_path"] = reference("direct_path")
    assert run_check("direct_path", answer).status == "error"
    assert namespace["direct_path"] is reference("direct_path")


# --- help ---------------------------------------------------------------------------


def test_hints_come_one_after_the_other(capsys):
    check = exercises.find_check("kl_to_bigram")
    told = (*check.hints[:2], "1 | ", "solutions/ch2_zero_layer.py, line ")
    for number in (1, 2, 3, 4, 4):
        hint("kl_to_bigram")
        said = capsys.readouterr().out
        assert f"hint {number} of 4" in said
        assert told[number - 1] in said
    hint("kl_to_bigram", 1)
    assert check.hints[0] in capsys.readouterr().out


def test_solution_shows_file_line_and_source(capsys):
    exercises.solution("direct_path")
    said = capsys.readouterr().out
    assert "solutions/ch2_zero_layer.py, line " in said
    assert "return model.W_E @ model.W_U" in said
    line = int(said.split("line ")[1].split()[0])
    file = Path(exercises.__file__).parents[2] / "solutions/ch2_zero_layer.py"
    assert file.read_text().splitlines()[line - 1].startswith("def direct_path")


def test_progress_lists_every_exercise(capsys):
    exercises.progress()
    said = capsys.readouterr().out
    assert all(check.name in said for check in CHECKS)


def test_progress_of_one_chapter(capsys):
    exercises.progress("ch2")
    said = capsys.readouterr().out
    assert "ch2_zero_layer: " in said and "direct_path" in said
    assert "ch0_toolbox" not in said
    with pytest.raises(ValueError, match="ch2_zero_layer"):
        exercises.progress("ch99")


def test_command_line(capsys):
    assert exercises.main(["hint", "direct_path"]) == 0
    assert "hint 1 of 4" in capsys.readouterr().out
    assert exercises.main(["hint", "nothing"]) == 2
    assert "no exercise named 'nothing'" in capsys.readouterr().err
    assert exercises.main(["progress"]) == 0


def test_wrong_is_no_error_of_the_learner():
    assert issubclass(Wrong, Exception) and not issubclass(Wrong, AssertionError)


def test_checks_run_in_another_thread():
    """Buttons run callbacks on other threads, where signals do not work."""

    def endless(model):
        while True:
            pass

    found = []
    thread = threading.Thread(
        target=lambda: found.append(run_check("direct_path", endless, 0.5)), daemon=True
    )
    thread.start()
    thread.join(60)
    assert [result.status for result in found] == ["error"]


# --- interrupts -----------------------------------------------------------------------


@pytest.mark.parametrize("stop", [KeyboardInterrupt, GeneratorExit])
def test_an_interrupted_answer_leaves_a_shipped_model_as_it_was(stop):
    """The stop button in the middle of an answer that has zeroed a head."""
    model = load_model("one_layer")
    tokens = torch.tensor([[0, 5, 7, 300]])
    before = model(tokens)

    def answer(*args, **kwargs):
        for parameter in model.original_model.parameters():
            parameter.data.zero_()
        assert not torch.equal(model(tokens), before)
        raise stop

    with pytest.raises(stop):
        run_check("head_outputs", answer)
    assert torch.equal(model(tokens), before)


# --- time, dtype, names from elsewhere -----------------------------------------------


def test_a_busy_computer_stops_nobody():
    """What counts is computing: sleeping stands for waiting while others compute."""
    naps = iter([2.0])

    def slow(model):
        time.sleep(next(naps, 0))
        return path(model)

    assert run_check("direct_path", slow, time_limit=1).status == "passed"


def test_waiting_without_end_is_stopped_and_told_as_such():
    def waits(model):
        while True:
            time.sleep(0.01)

    result = run_check("direct_path", waits, time_limit=0.2)
    assert result.status == "error"
    assert "waits for something" in result.message
    assert "loop" not in result.message


def test_without_a_thread_clock_an_endless_loop_is_stopped_too(monkeypatch):
    monkeypatch.delattr(time, "pthread_getcpuclockid")
    monkeypatch.setattr(guard, "PATIENCE", 1_000)  # also on a very busy computer
    result = run_check("direct_path", endless, time_limit=0.3)
    assert "loop that never ends" in result.message


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_right_answer_passes_whatever_torch_is_set_to(dtype, grad):
    from solutions.ch0_toolbox import attention_pattern

    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    torch.set_grad_enabled(grad)
    try:
        result = run_check("attention_pattern", attention_pattern)
        assert torch.get_default_dtype() == dtype
        assert torch.is_grad_enabled() == grad
    finally:
        torch.set_default_dtype(before)
    assert result.status == "passed", result.message
    assert any("float64" in note for note in result.notes) == (dtype == torch.float64)


def reads_hook_result(model, tokens, layer):
    _, cache = model.run_with_cache(tokens)
    return cache["result", 0]


def switches_results_on(model, tokens, layer):
    model.set_use_attn_result(True)


def asks_for_the_old_class(model, tokens, layer):
    from transformer_lens import HookedTransformer

    return HookedTransformer


def forgets_an_exercise(model, tokens, layer):
    return full_ov_circuit(model, 0, 0)  # noqa: F821


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (reads_hook_result, "`head_outputs` of chapter 0"),
        (switches_results_on, "`head_outputs` of chapter 0"),
        (asks_for_the_old_class, "TransformerBridge"),
        (forgets_an_exercise, 'exercise of chapter 3: `needs("full_ov_circuit")`'),
    ],
)
def test_what_people_bring_from_elsewhere_is_told_what_to_use(answer, words):
    result = run_check("head_outputs", answer)
    assert result.status == "error" and words in result.message


def test_an_answer_may_make_models_without_a_word_about_random_numbers():
    from utils.models.handmade import with_weights

    def answer(model):
        other = with_weights(model, {"W_E": model.W_E})
        return other.W_E @ other.W_U

    result = run_check("direct_path", lambda model: answer(model))
    assert result.status == "passed" and not result.notes


def test_running_the_model_where_weights_are_enough_is_wrong():
    model = random_model(1)
    with expect.without_running(model):
        model.W_E @ model.W_U
        with pytest.raises(Wrong, match="runs the model"):
            model(torch.tensor([[0, 1]]))
        with pytest.raises(Wrong, match="runs the model"):
            model.run_with_cache(torch.tensor([[0, 1]]))
    assert model(torch.tensor([[0, 1]])).shape == (1, 2, 13)


def test_one_number_that_is_none_is_told_without_a_place():
    with pytest.raises(Wrong, match="^Your result is nan, which is no finite number"):
        expect.number(float("nan"))


def test_mistakes_are_recognised_within_the_tolerance_of_judges(monkeypatch):
    def judge(answer):
        expect.close(expect.tensor(answer(torch.ones(3)), row=3), torch.ones(3), "No.")

    mistakes = tuple(
        Mistake(f"{n}", "Said.", lambda x, n=n: x * n) for n in (2.0, 3.0, 4.0)
    )
    check = Check("toy", judge, ("a", "b", "c"), mistakes, "ok")
    monkeypatch.setattr(verdict, "find_check", lambda name: check)
    assert run_check("toy", lambda x: 2 * x + 8e-6).mistake == "2.0"
    assert run_check("toy", lambda x: 2 * x + 8e-3).mistake is None
