"""Chapter 0: wrong answers that once passed: the solution with one thing changed."""

import pytest

import solutions.ch0_toolbox as chapter
from tests.chapters.wrong_answers import changed
from utils.exercises.engine import run_check
from utils.models.attention_only import load_model

# (exercise, what stands in the solution, what stands in the wrong answer)
ONCE_PASSED = {
    "a mask that is no infinity": (
        "attention_pattern",
        "-torch.inf",
        "-30.0",
    ),
    "half of d_head for its root": (
        "attention_pattern",
        "model.cfg.d_head**0.5",
        "(model.cfg.d_head * 0.5)",
    ),
    "texts of six tokens only": (
        "attention_pattern",
        "length = tokens.shape[1]",
        "length = 6",
    ),
    "heads of four numbers only": (
        "attention_pattern",
        "model.cfg.d_head**0.5",
        "4**0.5",
    ),
}


@pytest.mark.parametrize("case", ONCE_PASSED)
def test_wrong_answers_that_passed_before(case):
    name, right, wrong = ONCE_PASSED[case]
    assert run_check(name, getattr(chapter, name)).status == "passed"
    assert run_check(name, changed(chapter, name, right, wrong)).status != "passed"


def test_a_list_of_words_of_one_model_is_no_tokenizer():
    """The notebook has such a list under the name `vocabulary`."""
    course = load_model("one_layer")
    vocabulary = [course.tokenizer.decode([i]) for i in range(course.cfg.d_vocab)]

    def next_token(model, text):
        best = model(model.to_tokens(text))[0, -1].argmax().item()
        return vocabulary[best]

    assert run_check("next_token", next_token).status == "failed"


@pytest.mark.parametrize("part", ["pattern", "attn_scores"])
def test_a_pattern_is_not_read_from_the_cache(part):
    def attention_pattern(model, tokens, layer, head):
        cache = model.run_with_cache(tokens)[1]
        own = cache[f"blocks.{layer}.attn.hook_{part}"][:, head]
        return own if part == "pattern" else own.softmax(-1)

    assert run_check("attention_pattern", attention_pattern).status == "failed"
