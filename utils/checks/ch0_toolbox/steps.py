"""Chapter 0: the steps of its longer exercises."""

import torch

from utils.checks import Step
from utils.checks.partly import TOKENS, alike, centred, ranks, without_head
from utils.models.handmade import model_from_table, random_model, with_weights
from utils.text.corpus import load_tokenizer

__all__ = ["STEPS"]


def _finds_the_likeliest(answer) -> bool:
    tokenizer = load_tokenizer(1024)
    model = random_model(1, 4, d_vocab=1024, tokenizer=tokenizer)
    for text in ("import os", "def f("):
        best = model(model.to_tokens(text))[0, -1].argmax().item()
        found = answer(model, text)
        word = tokenizer.decode([best])
        spelled = tokenizer.convert_ids_to_tokens(best)
        if found not in (best, word, word.strip(), spelled):
            return False
    return True


def _gives_its_text(answer) -> bool:
    tokenizer = load_tokenizer(1024)
    model = random_model(1, 4, d_vocab=1024, tokenizer=tokenizer)
    best = model(model.to_tokens("import os"))[0, -1].argmax().item()
    return answer(model, "import os") == tokenizer.decode([best])


def _log_probability_of_one_token(answer) -> bool:
    """The same distribution everywhere and one token only: no shift matters."""
    table = torch.tensor([[0.2, 0.3, 0.5]]).log().expand(3, 3) + 2.0
    found = torch.as_tensor(answer(model_from_table(table), torch.full((1, 4), 2)))
    return torch.allclose(found.abs(), torch.tensor(0.5).log().abs().to(found))


def _next_token(answer) -> bool:
    return alike(answer(_model(), TOKENS), _losses(), torch.abs)


def _losses():
    log_probs = _model()(TOKENS).log_softmax(-1)
    return -log_probs[:, :-1].gather(-1, TOKENS[:, 1:, None])[..., 0]


def _model():
    return random_model(2, 1)


def _last_row(answer):
    """The last query sees all keys, so no mask is needed there."""
    true = _model().run_with_cache(TOKENS)[1]["pattern", 1][:, 2]
    return torch.as_tensor(answer(_model(), TOKENS, 1, 2))[:, -1], true[:, -1]


def _ranks_keys(answer) -> bool:
    return alike(*_last_row(answer), ranks)


def _scales(answer) -> bool:
    """As scores, or as shares of which the logarithm is taken."""
    found, true = _last_row(answer)
    shares = found.min() > 0 and alike(found.log(), true.log(), centred)
    return shares or alike(found, true.log(), centred)


STEPS = {
    "next_token": (
        Step("the likeliest token after the last position", _finds_the_likeliest),
        Step("its text", _gives_its_text),
    ),
    "per_token_loss": (
        Step("the logarithm of a token's probability", _log_probability_of_one_token),
        Step("of the token that comes next", _next_token),
        Step("the sign", lambda answer: alike(answer(_model(), TOKENS), _losses())),
    ),
    "attention_pattern": (
        Step("queries and keys", _ranks_keys),
        Step("the scaled scores", _scales),
        Step(
            "the mask and the softmax",
            lambda answer: alike(
                answer(_model(), TOKENS, 1, 2),
                _model().run_with_cache(TOKENS)[1]["pattern", 1][:, 2],
            ),
        ),
    ),
    "ablate_head": (
        Step(
            "the head writes zero",
            lambda answer: alike(
                answer(_model(), TOKENS, 0, 1),
                with_weights(_model(), without_head(_model(), 0, 1))(TOKENS),
            ),
        ),
        # In a text of one token only, a head's output is its mean everywhere.
        Step(
            "or its mean",
            lambda answer: alike(
                answer(_model(), torch.full((2, 4), 5), 0, 1, mean=True),
                _model()(torch.full((2, 4), 5)),
            ),
        ),
    ),
}
