"""Chapter 0, `head_outputs`: judge, known mistakes and hints."""

import torch
from torch import Tensor

from utils.checks import Check, Mistake, expect
from utils.checks.ch0_toolbox import shared

__all__ = ["CHECK"]


def judge_head_outputs(answer) -> None:
    for model, tokens, layer, _ in shared.cases(seed=5):
        n_heads, d_model = model.cfg.n_heads, model.cfg.d_model
        result = answer(model, tokens, layer)
        out = expect.tensor(
            result, **shared.shapes(tokens, head=n_heads, d_model=d_model)
        )
        expect.close(
            out.sum(2),
            shared.record(model, tokens, f"blocks.{layer}.hook_attn_out"),
            "The sum over heads should be what the layer adds to the stream.",
        )
        for head in range(n_heads):
            expect.close(
                out[:, :, head],
                shared.only_head(model, tokens, layer, head),
                f"The sum is right, but head {layer}.{head} adds something else.",
            )


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


CHECK = Check(
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
            swap=("-> batch pos head d_model", "-> batch pos d_model"),
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
            swap=('cache["z", layer]', 'cache["v", layer]'),
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
