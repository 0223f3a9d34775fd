"""What a learner types into an explorer: whatever is shown can be typed."""

import pytest

from utils.models.attention_only import load_model
from utils.models.handmade import random_model
from utils.text.tokens import visible
from utils.widgets.typed import Ask, read_text, read_token, token_strings


@pytest.fixture(scope="module")
def model():
    return load_model("zero_layer")


def test_every_token_can_be_typed_as_it_is_shown(model):
    ids = list(range(0, model.cfg.d_vocab, 37)) + list(range(1, 260))
    shown = [visible(word) for word in token_strings(model, ids)]
    assert [read_token(model, text) for text in shown] == ids


def test_signs_and_escapes_stand_for_what_they_show(model):
    space = model.to_single_token(" self")
    assert read_token(model, "·self") == read_token(model, " self") == space
    assert read_token(model, "\\n") == read_token(model, "⏎")


def test_several_tokens_are_told_with_what_can_be_typed(model):
    with pytest.raises(Ask, match="⟨") as told:
        read_token(model, "é")
    for part in str(told.value).split(": ")[1].split(". ")[0].split():
        assert read_token(model, part) > 0


def test_a_number_that_is_no_token_is_read_as_text(model):
    with pytest.raises(Ask, match="no token by itself"):
        read_token(model, "⟨999999⟩")


def test_the_start_token_cannot_be_typed_into_a_text(model):
    with pytest.raises(Ask, match="in front of every text by itself"):
        read_text(model, "import <|start|> os")
    assert read_text(model, "import os")[0, 0] == 0


def test_a_model_without_a_tokenizer_reads_ids():
    assert read_text(random_model(1), "0 5 3").tolist() == [[0, 5, 3]]
    assert read_token(random_model(1), "7") == 7
