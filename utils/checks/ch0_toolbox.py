"""Checks, hints, known mistakes and predictions of chapter 0."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from utils.checks import Check, Choice, Mistake, Prediction, expect
from utils.corpus import load_tokenizer
from utils.handmade import random_model

__all__ = ["CHECKS", "PREDICTIONS"]

# Rows of different texts; the start token opens each. No two axes are equally long.
TOKENS = [[0, 5, 12, 5, 1, 7], [0, 3, 3, 9, 11, 2]]
LAYER_AND_HEAD = ((0, 1), (1, 2), (1, 0))


def _shapes(tokens: Tensor, **more: int) -> dict[str, int]:
    return {"batch": tokens.shape[0], "pos": tokens.shape[1], **more}


def _run_hooked(model, tokens: Tensor, hooks: dict[str, Callable]) -> Tensor:
    """Logits with `change(activation)` applied at each named place."""
    pairs = [
        (name, lambda activation, hook, change=change: change(activation))
        for name, change in hooks.items()
    ]
    return model.run_with_hooks(tokens, fwd_hooks=pairs)


def _record(model, tokens: Tensor, name: str) -> Tensor:
    """One activation of an undisturbed run."""
    return model.run_with_cache(tokens)[1][name].clone()


# --- next_token ---------------------------------------------------------------------


def judge_next_token(answer) -> None:
    tokenizer = load_tokenizer(1024)
    cases = ((4, "import os"), (4, "def f(self)"), (11, "def f(self)"))
    for seed, text in cases:
        model = random_model(1, seed, d_vocab=1024, tokenizer=tokenizer)
        result = answer(model, text)
        expect.true(
            isinstance(result, str),
            f"The result should be a string. Yours is of type {type(result).__name__}.",
        )
        ids = [0] + tokenizer(text, add_special_tokens=False).input_ids
        logits = model(torch.tensor([ids]))[0, len(ids) - 1].tolist()
        best = tokenizer.decode([logits.index(max(logits))])
        expect.true(
            result == best,
            f"After {text!r} the test model finds {best!r} likeliest. Yours is "
            f"{result!r}.",
        )


def next_after_start(model, text):
    logits = model(model.to_tokens(text))
    return model.tokenizer.decode([logits[0, 0].argmax().item()])


def next_without_start(model, text):
    logits = model(model.to_tokens(text, prepend_bos=False))
    return model.tokenizer.decode([logits[0, -1].argmax().item()])


def next_as_id(model, text):
    return model(model.to_tokens(text))[0, -1].argmax().item()


def next_as_stored(model, text):
    best = model(model.to_tokens(text))[0, -1].argmax().item()
    return model.tokenizer.convert_ids_to_tokens([best])[0]


def next_stripped(model, text):
    best = model(model.to_tokens(text))[0, -1].argmax().item()
    return model.tokenizer.decode([best]).strip()


def next_is_the_last_read(model, text):
    return model.to_str_tokens(text)[-1]


NEXT_TOKEN = Check(
    name="next_token",
    judge=judge_next_token,
    hints=(
        "Turn the text into tokens, run the model, and look at the logits of one "
        "position. Which position has read the whole text?",
        "`model.to_tokens(text)` gives [batch, pos] and `model(tokens)` gives logits "
        "[batch, pos, d_vocab]. The last position has read everything. The place of "
        "its largest logit is a token id.",
        "`best = model(model.to_tokens(text))[0, -1].argmax().item()`, and "
        "`model.tokenizer.decode([best])` is the string.",
    ),
    mistakes=(
        Mistake(
            "first position",
            "You read the logits of the first position. It has seen the start token "
            "only. The prediction after the whole text stands at the last position.",
            next_after_start,
        ),
        Mistake(
            "no start token",
            "You left the start token out. The model never saw a text without it. Use "
            "`model.to_tokens(text)` as it is.",
            next_without_start,
        ),
        Mistake(
            "an id",
            "This is the token's id. Turn it into a string with "
            "`model.tokenizer.decode([id])`.",
            next_as_id,
        ),
        Mistake(
            "the tokenizer's spelling",
            "This is how the tokenizer spells the token inside its files, with Ġ for a "
            "space. `model.tokenizer.decode([id])` gives the text itself.",
            next_as_stored,
        ),
        Mistake(
            "space removed",
            "You removed the space. It belongs to the token: the one with a space in "
            "front is another token than the one without.",
            next_stripped,
        ),
        Mistake(
            "the last token read",
            "This is the last token of the text itself. The model's guess for the one "
            "after it comes from the logits.",
            next_is_the_last_read,
        ),
    ),
    passed=(
        "Checked on two random models and two texts. The logits at a position are the "
        "model's guess for the token after it, so the last position answers for the "
        "whole text."
    ),
)


# --- per_token_loss -----------------------------------------------------------------


def judge_per_token_loss(answer) -> None:
    for tokens, seed, d_vocab in (
        (torch.tensor(TOKENS), 1, 13),
        (torch.tensor([[0, 8, 8, 4, 6]]), 2, 9),
    ):
        model = random_model(1, seed, d_vocab=d_vocab)
        batch, length = tokens.shape
        result = answer(model, tokens)
        loss = expect.tensor(result, **{"batch": batch, "pos-1": length - 1})
        expect.true(
            loss.min() >= 0,
            "A loss is minus the log of a probability, so it is never negative. Your "
            f"smallest is {loss.min().item():.3g}.",
        )
        expect.close(
            loss,
            _loss_by_hand(model, tokens),
            "Some losses do not match a calculation by hand.",
        )


def _loss_by_hand(model, tokens: Tensor) -> Tensor:
    """The definition, one prediction at a time, from prefixes of the text."""
    rows = []
    for row in tokens.tolist():
        losses = []
        for end in range(1, len(row)):
            logits = model(torch.tensor([row[:end]]))[0, -1].double().tolist()
            total = sum(math.exp(value) for value in logits)
            losses.append(math.log(total) - logits[row[end]])
        rows.append(losses)
    return torch.tensor(rows, dtype=torch.float64)


def _gathered(values: Tensor, tokens: Tensor) -> Tensor:
    return values.gather(-1, tokens[..., None]).squeeze(-1)


def loss_of_current(model, tokens):
    return -_gathered(model(tokens).log_softmax(-1)[:, :-1], tokens[:, :-1])


def loss_of_previous(model, tokens):
    return -_gathered(model(tokens).log_softmax(-1)[:, 1:], tokens[:, :-1])


def loss_of_own_position(model, tokens):
    return -_gathered(model(tokens).log_softmax(-1)[:, 1:], tokens[:, 1:])


def loss_of_every_token_read(model, tokens):
    return -_gathered(model(tokens).log_softmax(-1), tokens)


def loss_without_minus(model, tokens):
    return _gathered(model(tokens).log_softmax(-1)[:, :-1], tokens[:, 1:])


def loss_in_bits(model, tokens):
    log_probs = model(tokens).log_softmax(-1)[:, :-1]
    return -_gathered(log_probs, tokens[:, 1:]) / math.log(2)


def loss_of_logits(model, tokens):
    return -_gathered(model(tokens)[:, :-1], tokens[:, 1:])


def loss_of_probs(model, tokens):
    return _gathered(model(tokens).softmax(-1)[:, :-1], tokens[:, 1:])


def loss_over_positions(model, tokens):
    return -_gathered(model(tokens).log_softmax(1)[:, :-1], tokens[:, 1:])


def loss_averaged(model, tokens):
    return -_gathered(model(tokens).log_softmax(-1)[:, :-1], tokens[:, 1:]).mean()


def loss_with_wrap(model, tokens):
    return -_gathered(model(tokens).log_softmax(-1), tokens.roll(-1, 1))


PER_TOKEN_LOSS = Check(
    name="per_token_loss",
    judge=judge_per_token_loss,
    hints=(
        "Turn the logits into log probabilities. Then, for each position, pick the "
        "entry of the token that really came next.",
        "`model(tokens).log_softmax(dim=-1)` are log probabilities [batch, pos, "
        "d_vocab]. Drop the last position of these and the first token of each row: "
        "what is left lines up, prediction with successor. `gather` picks.",
        "`log_probs[:, :-1].gather(-1, tokens[:, 1:, None]).squeeze(-1)` picks the "
        "right log probabilities. The loss is minus that.",
    ),
    mistakes=(
        Mistake(
            "the token just read",
            "You asked how likely the token is that the model has just read. Position "
            "i predicts token i + 1.",
            loss_of_current,
        ),
        Mistake(
            "the tokens just read, all of them",
            "You asked at every position how likely the token is that the model has "
            "just read. Position i predicts token i + 1, and the last one predicts "
            "nothing that is in the row.",
            loss_of_every_token_read,
        ),
        Mistake(
            "the token before",
            "You shifted the wrong way: yours is the probability of the token one "
            "before. Position i predicts token i + 1.",
            loss_of_previous,
        ),
        Mistake(
            "not shifted",
            "Your logits and tokens are not shifted against each other. The logits at "
            "position i belong to token i + 1, not to token i.",
            loss_of_own_position,
        ),
        Mistake(
            "sign",
            "These are log probabilities, all negative. The loss is minus that.",
            loss_without_minus,
        ),
        Mistake("bits", "This is in bits. The course counts in nats.", loss_in_bits),
        Mistake(
            "logits",
            "You took the logits as they are. They become log probabilities by "
            "log_softmax over the vocabulary.",
            loss_of_logits,
        ),
        Mistake(
            "probabilities",
            "These are probabilities. The loss is minus their logarithm.",
            loss_of_probs,
        ),
        Mistake(
            "softmax over positions",
            "Your softmax runs over positions. The probabilities of all tokens at one "
            "position sum to 1, so it runs over the last axis, d_vocab.",
            loss_over_positions,
        ),
        Mistake(
            "averaged",
            "You took the average. Here every token keeps its own loss.",
            loss_averaged,
        ),
        Mistake(
            "one column too many",
            "Your last column compares the end of the row with its beginning. The "
            "last token has no successor, so there is one column less.",
            loss_with_wrap,
        ),
    ),
    passed=(
        "Checked against a calculation by hand that shows the model one prefix at a "
        "time. One run gives all of them at once, because no position sees a later one."
    ),
)


# --- attention_pattern --------------------------------------------------------------


def judge_attention_pattern(answer) -> None:
    tokens = torch.tensor(TOKENS)
    for layer, head in LAYER_AND_HEAD:
        model = random_model(2, seed=3 + layer, scale=0.6)
        _judge_pattern(answer(model, tokens, layer, head), model, tokens, layer, head)
    model = random_model(1, seed=8, scale=0.6)
    true_pattern = _record(model, tokens, "blocks.0.attn.hook_pattern")
    name = "blocks.0.attn.hook_pattern"
    model.add_hook(name, lambda own, hook: torch.zeros_like(own), is_permanent=True)
    expect.close(
        expect.tensor(answer(model, tokens, 0, 2), batch=2, query=6, key=6),
        true_pattern[:, 2],
        "A hook changes this model's own pattern. Your result changed with it, so it "
        "is not computed from the weights.",
    )


def _judge_pattern(result, model, tokens: Tensor, layer: int, head: int) -> None:
    batch, length = tokens.shape
    pattern = expect.tensor(result, batch=batch, query=length, key=length)
    expect.close(
        pattern.triu(1),
        torch.zeros(batch, length, length),
        "Some position attends to a later one.",
    )
    expect.close(
        pattern.sum(-1),
        torch.ones(batch, length),
        "Each query's attention should sum to 1 over the keys.",
    )
    own = _record(model, tokens, f"blocks.{layer}.attn.hook_pattern")
    expect.close(
        pattern,
        own[:, head],
        f"In a test model the pattern of head {layer}.{head} is different.",
    )


def _placed(model, tokens, stream, on_query=True, on_key=True):
    """What W_Q and W_K read, with or without the position vectors."""
    pos = model.W_pos[: tokens.shape[1]]
    return stream + pos * on_query, stream + pos * on_key


def _scores(model, tokens, layer, head, stream="resid_pre", divide=None, **positions):
    cache = model.run_with_cache(tokens)[1]
    x = cache[stream] if stream == "hook_embed" else cache[stream, layer]
    for_q, for_k = _placed(model, tokens, x, **positions)
    q, k = for_q @ model.W_Q[layer, head], for_k @ model.W_K[layer, head]
    return q @ k.transpose(1, 2) / (model.cfg.d_head**0.5 if divide is None else divide)


def _masked(scores: Tensor) -> Tensor:
    later = torch.ones(scores.shape[1:]).triu(1).bool()
    return scores.masked_fill(later, -torch.inf)


def pattern_unscaled(model, tokens, layer, head):
    return _masked(_scores(model, tokens, layer, head, divide=1.0)).softmax(-1)


def pattern_by_d_head(model, tokens, layer, head):
    by = float(model.cfg.d_head)
    return _masked(_scores(model, tokens, layer, head, divide=by)).softmax(-1)


def pattern_by_d_model(model, tokens, layer, head):
    by = model.cfg.d_model**0.5
    return _masked(_scores(model, tokens, layer, head, divide=by)).softmax(-1)


def pattern_unmasked(model, tokens, layer, head):
    return _scores(model, tokens, layer, head).softmax(-1)


def pattern_masked_by_zero(model, tokens, layer, head):
    return _scores(model, tokens, layer, head).tril().softmax(-1)


def pattern_masked_late(model, tokens, layer, head):
    return _scores(model, tokens, layer, head).softmax(-1).tril()


def pattern_over_queries(model, tokens, layer, head):
    return _masked(_scores(model, tokens, layer, head)).softmax(1)


def pattern_swapped(model, tokens, layer, head):
    return _masked(_scores(model, tokens, layer, head).transpose(1, 2)).softmax(-1)


def pattern_no_positions(model, tokens, layer, head):
    scores = _scores(model, tokens, layer, head, on_query=False, on_key=False)
    return _masked(scores).softmax(-1)


def pattern_positions_on_queries(model, tokens, layer, head):
    return _masked(_scores(model, tokens, layer, head, on_key=False)).softmax(-1)


def pattern_positions_on_keys(model, tokens, layer, head):
    return _masked(_scores(model, tokens, layer, head, on_query=False)).softmax(-1)


def pattern_from_after(model, tokens, layer, head):
    scores = _scores(model, tokens, layer, head, stream="resid_post")
    return _masked(scores).softmax(-1)


def pattern_from_embedding(model, tokens, layer, head):
    scores = _scores(model, tokens, layer, head, stream="hook_embed")
    return _masked(scores).softmax(-1)


def pattern_from_hook(model, tokens, layer, head):
    return model.run_with_cache(tokens)[1]["pattern", layer][:, head]


def pattern_is_scores(model, tokens, layer, head):
    return _scores(model, tokens, layer, head).tril()


ATTENTION_PATTERN = Check(
    name="attention_pattern",
    judge=judge_attention_pattern,
    hints=(
        "Every position asks with a query and answers with a key. A score is the inner "
        "product of one query and one key. A softmax turns scores into shares.",
        "Add `model.W_pos[:length]` to the stream. Multiply the sum by "
        "`model.W_Q[layer, head]` for queries and by `model.W_K[layer, head]` for "
        "keys. Divide their inner products by sqrt(d_head), set the scores of later "
        "keys to minus infinity, and take the softmax over keys.",
        "With `q` and `k` [batch, pos, d_head]: `scores = q @ k.transpose(1, 2) / "
        "model.cfg.d_head**0.5`, then `later = torch.ones(length, length).triu(1)"
        ".bool()`, then `scores.masked_fill(later, -torch.inf).softmax(dim=-1)`.",
    ),
    mistakes=(
        Mistake(
            "not divided",
            "Your scores are not divided by sqrt(d_head). The paper's formula leaves "
            "this factor out, but its models have it, and so do these.",
            pattern_unscaled,
        ),
        Mistake(
            "divided by d_head",
            "You divided the scores by d_head. It is the square root of d_head.",
            pattern_by_d_head,
        ),
        Mistake(
            "divided by sqrt(d_model)",
            "You divided by sqrt(d_model). Queries and keys have d_head numbers, so it "
            "is sqrt(d_head).",
            pattern_by_d_model,
        ),
        Mistake(
            "no mask",
            "Your positions see later ones. Set the scores of later keys to minus "
            "infinity before the softmax.",
            pattern_unmasked,
        ),
        Mistake(
            "masked with zero",
            "You set the scores of later keys to 0. The softmax turns a score of 0 "
            "into exp(0) = 1, which is not nothing. Minus infinity is.",
            pattern_masked_by_zero,
        ),
        Mistake(
            "masked after the softmax",
            "You masked after the softmax, so the later keys already took their share "
            "and the rows no longer sum to 1. Mask the scores before it.",
            pattern_masked_late,
        ),
        Mistake(
            "softmax over queries",
            "Your softmax runs over queries. Each query has a whole of attention to "
            "give, so it runs over keys, the last axis.",
            pattern_over_queries,
        ),
        Mistake(
            "query and key swapped",
            "You swapped queries and keys. Rows belong to the position that asks "
            "(W_Q), columns to the one that is asked (W_K).",
            pattern_swapped,
        ),
        Mistake(
            "no positions",
            "The position vectors are missing. Add `model.W_pos` to what W_Q and W_K "
            "read; the stream itself does not hold it.",
            pattern_no_positions,
        ),
        Mistake(
            "positions on queries only",
            "The keys lack the position vectors. Both W_Q and W_K read the stream with "
            "`model.W_pos` added.",
            pattern_positions_on_queries,
        ),
        Mistake(
            "positions on keys only",
            "The queries lack the position vectors. Both W_Q and W_K read the stream "
            "with `model.W_pos` added.",
            pattern_positions_on_keys,
        ),
        Mistake(
            "the stream after the layer",
            "You started from the stream after the layer. The layer reads what enters "
            'it: `cache["resid_pre", layer]`.',
            pattern_from_after,
        ),
        Mistake(
            "the embedding",
            "You started from the embedding. That is right for layer 0 only: later "
            "layers read what earlier ones have added to the stream.",
            pattern_from_embedding,
        ),
        Mistake(
            "read from the cache",
            "You read the pattern that the model itself computed. Here you compute it "
            "from the stream and the weights, to know what is in it.",
            pattern_from_hook,
        ),
        Mistake(
            "no softmax",
            "These are the scores. A softmax over the keys turns them into shares.",
            pattern_is_scores,
        ),
    ),
    passed=(
        "Checked against the patterns of three heads in both layers of random models, "
        "and on a model whose own pattern a hook had changed. A pattern depends on the "
        "stream only through queries and keys, and on positions only through W_pos."
    ),
)


# --- head_outputs -------------------------------------------------------------------


def judge_head_outputs(answer) -> None:
    tokens = torch.tensor(TOKENS)
    for layer, seed in ((0, 5), (1, 6)):
        model = random_model(2, seed)
        n_heads, d_model = model.cfg.n_heads, model.cfg.d_model
        result = answer(model, tokens, layer)
        out = expect.tensor(result, **_shapes(tokens, head=n_heads, d_model=d_model))
        expect.close(
            out.sum(2),
            _record(model, tokens, f"blocks.{layer}.hook_attn_out"),
            "The sum over heads should be what the layer adds to the stream.",
        )
        for head in range(n_heads):
            expect.close(
                out[:, :, head],
                _only_head(model, tokens, layer, head),
                f"The sum is right, but head {layer}.{head} adds something else.",
            )


def _only_head(model, tokens: Tensor, layer: int, head: int) -> Tensor:
    """What the layer adds when its other heads are switched off."""
    found = []

    def silence_others(z: Tensor) -> Tensor:
        kept = torch.zeros_like(z)
        kept[:, :, head] = z[:, :, head]
        return kept

    def note(out: Tensor) -> Tensor:
        found.append(out.clone())
        return out

    prefix = f"blocks.{layer}"
    hooks = {f"{prefix}.attn.hook_z": silence_others, f"{prefix}.hook_attn_out": note}
    _run_hooked(model, tokens, hooks)
    return found[0]


def _through_w_o(z: Tensor, w_o: Tensor) -> Tensor:
    return torch.stack([z[:, :, h] @ w_o[h] for h in range(w_o.shape[0])], dim=2)


def outputs_summed(model, tokens, layer):
    return model.run_with_cache(tokens)[1]["attn_out", layer]


def outputs_before_w_o(model, tokens, layer):
    return model.run_with_cache(tokens)[1]["z", layer]


def outputs_unmixed(model, tokens, layer):
    return _through_w_o(model.run_with_cache(tokens)[1]["v", layer], model.W_O[layer])


def outputs_head_first(model, tokens, layer):
    z = model.run_with_cache(tokens)[1]["z", layer]
    return _through_w_o(z, model.W_O[layer]).permute(2, 0, 1, 3)


def outputs_with_stream(model, tokens, layer):
    cache = model.run_with_cache(tokens)[1]
    out = _through_w_o(cache["z", layer], model.W_O[layer])
    return out + cache["resid_pre", layer][:, :, None]


def outputs_of_first_layer(model, tokens, layer):
    return _through_w_o(model.run_with_cache(tokens)[1]["z", 0], model.W_O[0])


def outputs_through_first_w_o(model, tokens, layer):
    return _through_w_o(model.run_with_cache(tokens)[1]["z", layer], model.W_O[0])


def outputs_in_equal_parts(model, tokens, layer):
    out = model.run_with_cache(tokens)[1]["attn_out", layer]
    n_heads = model.cfg.n_heads
    return out[:, :, None].expand(-1, -1, n_heads, -1) / n_heads


def outputs_through_all_w_o(model, tokens, layer):
    z = model.run_with_cache(tokens)[1]["z", layer]
    return z @ model.W_O[layer].sum(0)


HEAD_OUTPUTS = Check(
    name="head_outputs",
    judge=judge_head_outputs,
    hints=(
        "A head mixes values into a vector of d_head numbers per position. Its own "
        "output matrix turns that into d_model numbers. Find both.",
        '`cache["z", layer]` [batch, pos, head, d_head] holds the mixed values and '
        "`model.W_O[layer]` [head, d_head, d_model] the output matrices. Multiply "
        "each head's by its own: sum over d_head, keep head.",
        'Return `einsum(cache["z", layer], model.W_O[layer], "batch pos head d_head, '
        'head d_head d_model -> batch pos head d_model")`.',
    ),
    mistakes=(
        Mistake(
            "already summed",
            "This is the sum over heads, all that the layer adds. Here the heads are "
            "kept apart.",
            outputs_summed,
        ),
        Mistake(
            "before W_O",
            "These are the mixed values, before the output matrix. W_O brings each "
            "head's d_head numbers back to the d_model numbers of the stream.",
            outputs_before_w_o,
        ),
        Mistake(
            "values not mixed",
            "You sent the values through W_O without mixing them by the pattern, so "
            "each position only writes about itself.",
            outputs_unmixed,
        ),
        Mistake(
            "head axis first",
            "The numbers are right, the axes are in another order. It should be "
            "[batch, pos, head, d_model].",
            outputs_head_first,
        ),
        Mistake(
            "stream included",
            "You added the stream to each head. A head's output is only what it adds.",
            outputs_with_stream,
        ),
        Mistake(
            "always layer 0",
            "You took layer 0 whatever `layer` says.",
            outputs_of_first_layer,
        ),
        Mistake(
            "W_O of layer 0",
            "You used the output matrices of layer 0 for every layer.",
            outputs_through_first_w_o,
        ),
        Mistake(
            "equal parts",
            "You divided the layer's output equally among the heads. They add "
            "different things.",
            outputs_in_equal_parts,
        ),
        Mistake(
            "heads mixed",
            "You sent every head through all output matrices. Each head has its own.",
            outputs_through_all_w_o,
        ),
    ),
    passed=(
        "Checked in both layers: the sum over heads is what the layer adds, and each "
        "head alone is what the model adds with the others switched off. Stacking the "
        "heads and multiplying by one big matrix is the same as adding them up."
    ),
)


# --- ablate_head --------------------------------------------------------------------


def judge_ablate_head(answer) -> None:
    tokens = torch.tensor(TOKENS)
    for layer, head in LAYER_AND_HEAD:
        model = random_model(2, seed=9 + head)
        for mean in (False, True):
            result = answer(model, tokens, layer, head, mean)
            shape = _shapes(tokens, d_vocab=model.cfg.d_vocab)
            by = "its mean" if mean else "zero"
            expect.close(
                expect.tensor(result, **shape),
                _without_head(model, tokens, layer, head, mean),
                f"With the output of head {layer}.{head} replaced by {by} the logits "
                "are different.",
            )


def _without_head(model, tokens, layer: int, head: int, mean: bool) -> Tensor:
    """The layer's output with one head's part taken out and its mean put in."""
    part = _only_head(model, tokens, layer, head)
    instead = part.mean((0, 1)) if mean else torch.zeros(part.shape[-1])
    place = f"blocks.{layer}.hook_attn_out"
    return _run_hooked(model, tokens, {place: lambda out: out - part + instead})


def _edit_z(model, tokens, layer, edit) -> Tensor:
    def change(z: Tensor) -> Tensor:
        z = z.clone()
        edit(z)
        return z

    return _run_hooked(model, tokens, {f"blocks.{layer}.attn.hook_z": change})


def _put(z: Tensor, head: int, mean, over=(0, 1)) -> None:
    own = z[:, :, head]
    z[:, :, head] = own.mean(over, keepdim=True) if mean else 0.0


def ablate_layer(model, tokens, layer, head, mean=False):
    def edit(z):
        z.copy_(z.mean((0, 1), keepdim=True) if mean else torch.zeros_like(z))

    return _edit_z(model, tokens, layer, edit)


def ablate_position(model, tokens, layer, head, mean=False):
    def edit(z):
        z[:, head] = z.mean((0, 1)) if mean else 0.0

    return _edit_z(model, tokens, layer, edit)


def ablate_next_head(model, tokens, layer, head, mean=False):
    other = (head - 1) % model.cfg.n_heads
    return _edit_z(model, tokens, layer, lambda z: _put(z, other, mean))


def ablate_first_layer(model, tokens, layer, head, mean=False):
    return _edit_z(model, tokens, 0, lambda z: _put(z, head, mean))


def ablate_only_zero(model, tokens, layer, head, mean=False):
    return _edit_z(model, tokens, layer, lambda z: _put(z, head, False))


def ablate_always_mean(model, tokens, layer, head, mean=False):
    return _edit_z(model, tokens, layer, lambda z: _put(z, head, True))


def ablate_mean_of_positions(model, tokens, layer, head, mean=False):
    return _edit_z(model, tokens, layer, lambda z: _put(z, head, mean, (1,)))


def ablate_mean_of_batch(model, tokens, layer, head, mean=False):
    return _edit_z(model, tokens, layer, lambda z: _put(z, head, mean, (0,)))


def ablate_mean_number(model, tokens, layer, head, mean=False):
    return _edit_z(model, tokens, layer, lambda z: _put(z, head, mean, (0, 1, 2)))


def ablate_nothing(model, tokens, layer, head, mean=False):
    return model(tokens)


def ablate_directly(model, tokens, layer, head, mean=False):
    z = model.run_with_cache(tokens)[1]["z", layer][:, :, head]
    part = z @ model.W_O[layer, head]
    instead = part.mean((0, 1)) if mean else 0.0
    return model(tokens) - (part - instead) @ model.W_U


def ablate_with_frozen_patterns(model, tokens, layer, head, mean=False):
    cache = model.run_with_cache(tokens)[1]
    hooks = {
        f"blocks.{i}.attn.hook_pattern": lambda own, i=i: cache["pattern", i]
        for i in range(model.cfg.n_layers)
    }

    def change(z: Tensor) -> Tensor:
        z = z.clone()
        _put(z, head, mean)
        return z

    return _run_hooked(model, tokens, {**hooks, f"blocks.{layer}.attn.hook_z": change})


def ablate_others(model, tokens, layer, head, mean=False):
    def edit(z):
        for other in range(model.cfg.n_heads):
            if other != head:
                _put(z, other, mean)

    return _edit_z(model, tokens, layer, edit)


ABLATE_HEAD = Check(
    name="ablate_head",
    judge=judge_ablate_head,
    hints=(
        "Run the model with a hook that changes one activation on the way. Choose one "
        "from which the head's output follows, and in which heads are still apart.",
        "In `blocks.{layer}.attn.hook_z` [batch, pos, head, d_head] stand the mixed "
        "values of each head. W_O comes after it and has no bias, so zero stays zero "
        "and a mean stays a mean. The hook returns the changed tensor.",
        "`def hook_function(z, hook):` copies `z`, sets `z[:, :, head]` to 0 or to "
        "`z[:, :, head].mean(dim=(0, 1))`, and returns it. Then "
        '`model.run_with_hooks(tokens, fwd_hooks=[(f"blocks.{layer}.attn.hook_z", '
        "hook_function)])`.",
    ),
    mistakes=(
        Mistake(
            "the whole layer",
            "You took away the whole layer. Only one head is meant.",
            ablate_layer,
        ),
        Mistake(
            "a position",
            "You replaced a position and not a head. The axes are [batch, pos, head, "
            "d_head], so the head is the third index: `z[:, :, head]`.",
            ablate_position,
        ),
        Mistake(
            "counted from 1",
            "You took away the head before the one that was asked for. Heads count "
            "from 0.",
            ablate_next_head,
        ),
        Mistake(
            "always layer 0",
            "You changed layer 0 whatever `layer` says.",
            ablate_first_layer,
        ),
        Mistake(
            "mean ignored",
            "You replace by zero also when `mean=True`.",
            ablate_only_zero,
        ),
        Mistake(
            "always the mean",
            "You replace by the mean also when `mean=False`. Without it the output "
            "becomes zero.",
            ablate_always_mean,
        ),
        Mistake(
            "mean over positions only",
            "Your mean is taken within each text. It should run over batch and "
            "positions together.",
            ablate_mean_of_positions,
        ),
        Mistake(
            "mean over the batch only",
            "Your mean is taken at each position by itself. It should run over batch "
            "and positions together.",
            ablate_mean_of_batch,
        ),
        Mistake(
            "mean over everything",
            "Your mean is one number for all dimensions. Keep the last axis: the mean "
            "of vectors is a vector.",
            ablate_mean_number,
        ),
        Mistake(
            "nothing changed",
            "These are the logits of the untouched model. A hook changes an activation "
            "by returning the new tensor; one that returns nothing only looks.",
            ablate_nothing,
        ),
        Mistake(
            "direct effect only",
            "You took the head's own part out of the logits and left everything after "
            "it alone. Later layers read what the head wrote, so run the model again.",
            ablate_directly,
        ),
        Mistake(
            "patterns frozen",
            "You kept the later attention patterns as they were. Here everything "
            "after the head is computed anew, patterns included.",
            ablate_with_frozen_patterns,
        ),
        Mistake(
            "the others",
            "You took away all heads of the layer but this one.",
            ablate_others,
        ),
    ),
    passed=(
        "Checked for three heads in both layers, with zero and with the mean, against "
        "taking the head's part out of what its layer adds. The hook sits before W_O, "
        "and because W_O has no bias nothing of the head is left."
    ),
)


# --- replace_pattern ----------------------------------------------------------------


def judge_replace_pattern(answer) -> None:
    tokens = torch.tensor(TOKENS)
    batch, length = tokens.shape
    for layer, head in LAYER_AND_HEAD:
        model = random_model(2, seed=14 + head, scale=0.8)
        generator = torch.Generator().manual_seed(layer + 10 * head)
        # Neither causal nor normalised, and another one for each row of the batch.
        pattern = torch.rand(batch, length, length, generator=generator)
        result = answer(model, tokens, layer, head, pattern)
        shape = _shapes(tokens, d_vocab=model.cfg.d_vocab)
        expect.close(
            expect.tensor(result, **shape),
            _with_pattern(model, tokens, layer, head, pattern),
            f"With the pattern of head {layer}.{head} replaced the logits are "
            "different.",
        )


def _with_pattern(model, tokens, layer: int, head: int, pattern: Tensor) -> Tensor:
    """The head's part exchanged for one that is added up source by source."""
    stream = _record(model, tokens, f"blocks.{layer}.hook_resid_pre")
    writes = stream @ model.W_V[layer, head] @ model.W_O[layer, head]
    part = torch.zeros_like(stream)
    for row in range(tokens.shape[0]):
        for query in range(tokens.shape[1]):
            for key in range(tokens.shape[1]):
                part[row, query] += pattern[row, query, key] * writes[row, key]
    before = _only_head(model, tokens, layer, head)
    place = f"blocks.{layer}.hook_attn_out"
    return _run_hooked(model, tokens, {place: lambda out: out - before + part})


def _force(model, tokens, layer, edit, **more_hooks) -> Tensor:
    def change(own: Tensor) -> Tensor:
        own = own.clone()
        edit(own)
        return own

    place = f"blocks.{layer}.attn.hook_pattern"
    return _run_hooked(model, tokens, {**more_hooks, place: change})


def _force_head(model, tokens, layer, head, pattern, **more) -> Tensor:
    def edit(own):
        own[:, head] = pattern

    return _force(model, tokens, layer, edit, **more)


def replace_transposed(model, tokens, layer, head, pattern):
    return _force_head(model, tokens, layer, head, pattern.transpose(1, 2))


def replace_masked(model, tokens, layer, head, pattern):
    return _force_head(model, tokens, layer, head, pattern.tril())


def replace_normalised(model, tokens, layer, head, pattern):
    shares = pattern / pattern.sum(-1, keepdim=True)
    return _force_head(model, tokens, layer, head, shares)


def replace_masked_and_normalised(model, tokens, layer, head, pattern):
    shares = pattern.tril() / pattern.tril().sum(-1, keepdim=True)
    return _force_head(model, tokens, layer, head, shares)


def replace_softmaxed(model, tokens, layer, head, pattern):
    return _force_head(model, tokens, layer, head, pattern.softmax(-1))


def replace_all_heads(model, tokens, layer, head, pattern):
    def edit(own):
        own[:] = pattern[:, None]

    return _force(model, tokens, layer, edit)


def replace_next_head(model, tokens, layer, head, pattern):
    other = (head - 1) % model.cfg.n_heads
    return _force_head(model, tokens, layer, other, pattern)


def replace_first_layer(model, tokens, layer, head, pattern):
    return _force_head(model, tokens, 0, head, pattern)


def replace_first_row(model, tokens, layer, head, pattern):
    return _force_head(model, tokens, layer, head, pattern[0])


def replace_nothing(model, tokens, layer, head, pattern):
    return model(tokens)


def replace_directly(model, tokens, layer, head, pattern):
    cache = model.run_with_cache(tokens)[1]
    change = pattern - cache["pattern", layer][:, head]
    part = change @ cache["v", layer][:, :, head] @ model.W_O[layer, head]
    return model(tokens) + part @ model.W_U


def replace_with_frozen_patterns(model, tokens, layer, head, pattern):
    cache = model.run_with_cache(tokens)[1]
    hooks = {
        f"blocks.{i}.attn.hook_pattern": lambda own, i=i: cache["pattern", i]
        for i in range(model.cfg.n_layers)
    }
    return _force_head(model, tokens, layer, head, pattern, **hooks)


def replace_only_head(model, tokens, layer, head, pattern):
    def edit(own):
        own.zero_()
        own[:, head] = pattern

    return _force(model, tokens, layer, edit)


REPLACE_PATTERN = Check(
    name="replace_pattern",
    judge=judge_replace_pattern,
    hints=(
        "This is the same kind of intervention as `ablate_head`, at another place on "
        "the way.",
        "`blocks.{layer}.attn.hook_pattern` is [batch, head, query, key]. Your hook "
        "returns a copy in which one head's part is the given pattern. Note that the "
        "head is the second axis here.",
        "`def hook_function(own, hook):` copies `own`, sets `own[:, head] = pattern`, "
        "and returns it. Then `model.run_with_hooks(tokens, fwd_hooks=[("
        'f"blocks.{layer}.attn.hook_pattern", hook_function)])`.',
    ),
    mistakes=(
        Mistake(
            "transposed",
            "You transposed the pattern. Rows are queries, columns are keys, in the "
            "given pattern as in the model's.",
            replace_transposed,
        ),
        Mistake(
            "masked",
            "You masked the pattern. Here it is used as it is given.",
            replace_masked,
        ),
        Mistake(
            "normalised",
            "You divided the rows by their sums. Here the pattern is used as it is "
            "given, so that one can also switch attention off.",
            replace_normalised,
        ),
        Mistake(
            "masked and normalised",
            "You masked the pattern and made its rows sum to 1. Here it is used as it "
            "is given.",
            replace_masked_and_normalised,
        ),
        Mistake(
            "softmax again",
            "A softmax comes after your pattern. It holds shares already, not scores; "
            "its place is `hook_pattern`, after the softmax.",
            replace_softmaxed,
        ),
        Mistake(
            "all heads",
            "You gave the pattern to all heads of the layer. Only one is meant.",
            replace_all_heads,
        ),
        Mistake(
            "counted from 1",
            "You changed the head before the one that was asked for. Heads count from "
            "0.",
            replace_next_head,
        ),
        Mistake(
            "always layer 0",
            "You changed layer 0 whatever `layer` says.",
            replace_first_layer,
        ),
        Mistake(
            "first text for all",
            "You gave every text the pattern of the first one. Row i of `pattern` "
            "belongs to row i of `tokens`.",
            replace_first_row,
        ),
        Mistake(
            "nothing changed",
            "These are the logits of the untouched model. A hook changes an activation "
            "by returning the new tensor; one that returns nothing only looks.",
            replace_nothing,
        ),
        Mistake(
            "direct effect only",
            "You changed the head's own part of the logits and left everything after "
            "it alone. Later layers read what the head wrote, so run the model again.",
            replace_directly,
        ),
        Mistake(
            "later patterns frozen",
            "You kept the other layers' patterns as they were. Here everything after "
            "the head is computed anew.",
            replace_with_frozen_patterns,
        ),
        Mistake(
            "other heads switched off",
            "You set the other heads' patterns to zero. They keep their own.",
            replace_only_head,
        ),
    ),
    passed=(
        "Checked for three heads in both layers with patterns that no softmax would "
        "give, against a sum over sources by hand. Once the pattern is fixed, a head "
        "is linear: it adds up what it reads, weighted by the numbers you gave."
    ),
)


CHECKS = (
    NEXT_TOKEN,
    PER_TOKEN_LOSS,
    ATTENTION_PATTERN,
    HEAD_OUTPUTS,
    ABLATE_HEAD,
    REPLACE_PATTERN,
)


PREDICTIONS = (
    Prediction(
        name="self_and_space_self",
        question=(
            "`self` and ` self` (with a space in front) are two tokens of our "
            "vocabulary. What does a model know about the two before it is trained?"
        ),
        choices=(
            Choice(
                "That they are the same word.",
                "A token is a number in a list. Nothing in the numbers says that two "
                "tokens are spelled alike.",
            ),
            Choice(
                "Nothing: they are two numbers as different as any others.",
                "Each has a row of its own in W_E, filled at random before training. "
                "Whatever they have in common the model has to learn from text.",
            ),
            Choice(
                "That ` self` is `self` after a space.",
                "The space is inside the token. The model sees one number, not two "
                "parts.",
            ),
        ),
        right=1,
    ),
    Prediction(
        name="know_nothing_loss",
        question=(
            "A model knows nothing and gives the same probability to each of 4,096 "
            "tokens. What is its loss per token, in nats?"
        ),
        choices=(
            Choice(
                "0.",
                "A loss of 0 means a probability of 1 for the right token. That is a "
                "model that knows everything.",
            ),
            Choice("About 0.7.", "ln 2 = 0.69 is the loss of guessing between two."),
            Choice(
                "About 8.3.",
                "Minus the log of 1/4096 is ln 4096 = 8.32. Every model that has "
                "learned something stays below this on average.",
            ),
            Choice(
                "4,096.",
                "Guessing among 4,096 equally likely tokens is hard, but the loss "
                "counts in logarithms: ln 4096.",
            ),
        ),
        right=2,
    ),
    Prediction(
        name="first_row",
        question=(
            "Row 0 of an attention pattern belongs to the first position, the start "
            "token. What does it look like, for any head and any weights?"
        ),
        choices=(
            Choice(
                "A 1 in column 0 and zeros after it.",
                "The first position sees itself only, and its row sums to 1. So it "
                "has no choice.",
            ),
            Choice(
                "The same share for all keys.",
                "That would be so without the mask and with equal scores. Later keys "
                "are masked.",
            ),
            Choice(
                "It depends on the head's W_Q and W_K.",
                "The weights decide how attention is shared. With one key to see "
                "there is nothing to share.",
            ),
            Choice(
                "All zeros, the first position has nothing before it.",
                "A position sees itself too, and every row sums to 1.",
            ),
        ),
        right=0,
    ),
    Prediction(
        name="same_layer",
        question=(
            "Heads 0.0 and 0.1 are in the same layer. At some position, does head 0.1 "
            "see what head 0.0 has just written there?"
        ),
        choices=(
            Choice(
                "Yes, the heads write one after the other.",
                "Only the numbering suggests an order. All heads of a layer read the "
                "stream as it entered the layer.",
            ),
            Choice(
                "Yes, but only what was written at earlier positions.",
                "Positions are not written one after the other either. A layer reads "
                "the whole stream first, and then all its heads write.",
            ),
            Choice(
                "No, both read the stream as it entered the layer.",
                "So heads of a layer cannot work on each other's results, and what the "
                "layer adds is simply the sum of what they add.",
            ),
        ),
        right=2,
    ),
    Prediction(
        name="removing_a_head",
        question=(
            "You set one head's output to zero and measure the loss on held-out text. "
            "You do so for each head in turn. What will you see?"
        ),
        choices=(
            Choice(
                "The same rise for every head: they were trained together.",
                "Heads of one layer start alike and end up doing different work. How "
                "much the loss depends on each is something to measure.",
            ),
            Choice(
                "No rise: the other heads take over.",
                "Nothing takes over while the model runs. Heads of one layer do not "
                "even see each other's output.",
            ),
            Choice(
                "Rises of very different size.",
                "Training gave the heads different work. Some of it matters on many "
                "tokens, some on few.",
            ),
        ),
        right=2,
    ),
    Prediction(
        name="what_stays",
        question=(
            "You force a head's pattern. Which of the head's weight matrices still "
            "have any influence on the logits?"
        ),
        choices=(
            Choice(
                "All four.",
                "W_Q and W_K work through the pattern alone, and you have replaced it.",
            ),
            Choice(
                "W_V and W_O.",
                "They decide what is read at a source and written at the destination. "
                "W_Q and W_K only decide from where, and you did that for them.",
            ),
            Choice(
                "W_Q and W_K.",
                "These made the pattern that you threw away.",
            ),
            Choice(
                "None, the pattern is all there is.",
                "The pattern says from where to read. What is read and written is "
                "another question.",
            ),
        ),
        right=1,
    ),
)
