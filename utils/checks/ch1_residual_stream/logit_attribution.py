"""Chapter 1, `logit_attribution`: judge, known mistakes and hints."""

import torch
from torch import Tensor

from utils.checks import Check, Mistake, expect
from utils.checks.ch1_residual_stream import shared
from utils.models.handmade import random_model

__all__ = ["CHECK"]


def judge_logit_attribution(answer) -> None:
    for texts, n_layers, n_heads, centred, seed in (
        (shared.TEXTS, 2, 3, True, 2),
        (shared.FULL_TEXTS, 3, 2, False, 3),
        (shared.ONE_TEXT, 1, 4, True, 4),
    ):
        tokens = torch.tensor(texts)
        model = random_model(n_layers, seed, n_heads=n_heads)
        result = answer(model, tokens, centred)
        sizes = {"component": 1 + n_layers * n_heads, "batch": len(tokens)}
        sizes["pos-1"] = tokens.shape[1] - 1
        found = expect.tensor(result, **sizes)
        what = "the logit minus the mean logit" if centred else "the logit"
        expect.close(
            found.sum(0),
            _target_logits(model(tokens).double(), tokens, centred),
            f"With centred={centred} the components should sum to {what} of the token "
            "that comes next.",
        )
        expected = [
            _target_logits(_logits_of(model, tokens, part), tokens, centred)
            for part in shared.components(model, tokens)
        ]
        expect.close(
            found,
            torch.stack(expected),
            "The sum is right, but some component's share is not the logit that this "
            "component gives when it stands alone in the stream.",
        )
    usual = expect.tensor(answer(model, tokens), **sizes)
    expect.close(usual, found, "Without a third argument `centred` should be True.")


def _logits_of(model, tokens, part: Tensor) -> Tensor:
    """The logits when the final stream is replaced by one component."""
    alone = (shared.final_name(model), lambda stream, hook: part.to(stream.dtype))
    return model.run_with_hooks(tokens, fwd_hooks=[alone]).double()


def _target_logits(logits: Tensor, tokens: Tensor, centred: bool) -> Tensor:
    """Logit of the next token at every position but the last, one by one."""
    rows = []
    for row, text in zip(logits, tokens.tolist(), strict=True):
        values = [row[p, text[p + 1]] for p in range(len(text) - 1)]
        if centred:
            values = [value - row[p].mean() for p, value in enumerate(values)]
        rows.append(torch.stack(values))
    return torch.stack(rows)


def _attributed(model, tokens, centred=True, *, shift=1, ahead=0, axis=1, W_U=None):
    """The calculation with one step changed, for the known mistakes."""
    W_U = model.W_U if W_U is None else W_U
    if centred:
        W_U = W_U - W_U.mean(axis, keepdim=True)
    length = tokens.shape[1]
    targets = tokens[:, shift : length - 1 + shift]
    parts = shared.right_components(model, tokens)[:, :, ahead : length - 1 + ahead]
    return (parts * W_U.T[targets]).sum(-1)


def attribution_of_present(model, tokens, centred=True):
    return _attributed(model, tokens, centred, shift=0)


def attribution_uncentred(model, tokens, centred=True):
    return _attributed(model, tokens, False)


def attribution_centred_over_stream(model, tokens, centred=True):
    return _attributed(model, tokens, centred, axis=0)


def attribution_from_later(model, tokens, centred=True):
    return _attributed(model, tokens, centred, ahead=1)


def attribution_tied(model, tokens, centred=True):
    return _attributed(model, tokens, centred, W_U=model.W_E.T)


def attribution_log_probs(model, tokens, centred=True):
    parts = shared.right_components(model, tokens)[:, :, :-1]
    logs = (parts @ model.W_U).log_softmax(-1)
    targets = tokens[:, 1:].expand(logs.shape[:-1])
    return logs.gather(-1, targets[..., None])[..., 0]


def attribution_by_subset_mean(model, tokens, centred=True):
    raw = _attributed(model, tokens, False)
    return raw - raw.mean(0, keepdim=True) if centred else raw


def attribution_with_reactions(model, tokens, centred=True):
    """Total effects: what the logit loses when a component is missing from the start.

    The embedding is taken away where it is made, a head where it writes.
    """
    whole = model(tokens)
    missing = [("hook_embed", lambda value, hook: torch.zeros_like(value))]
    for layer in range(model.cfg.n_layers):
        for head in range(model.cfg.n_heads):
            missing.append((f"blocks.{layer}.attn.hook_z", _without(head)))
    changes = [whole - model.run_with_hooks(tokens, fwd_hooks=[h]) for h in missing]
    return torch.stack([_target_logits(c, tokens, centred) for c in changes])


def _without(head: int):
    def silence(z, hook):
        kept = z.clone()
        kept[:, :, head] = 0.0
        return kept

    return silence


def takes_heads_out(answer) -> bool:
    """Whether the heads' entries are total effects, whatever the embedding's is."""
    model, tokens = random_model(2, 5), torch.tensor(shared.TEXTS)
    found = torch.as_tensor(answer(model, tokens)).float()
    heads = attribution_with_reactions(model, tokens)[1:]
    return torch.allclose(found[1:], heads, atol=1e-3)


CHECK = Check(
    name="logit_attribution",
    judge=judge_logit_attribution,
    hints=(
        "The logit of token t is the final stream times column t of W_U. The stream is "
        "a sum, so the logit is a sum too, with one term for each component.",
        "The columns you need are those of the next tokens: "
        "`model.W_U.T[tokens[:, 1:]]` is [batch, pos-1, d_model]. For centring, "
        "subtract from every column of W_U the mean of all columns.",
        "`W_U = model.W_U - model.W_U.mean(dim=1, keepdim=True)` if centred, "
        "`columns = W_U.T[tokens[:, 1:]]`, `parts = decompose_residual(model, tokens)"
        "[:, :, :-1]`, then `(parts * columns).sum(-1)`.",
    ),
    mistakes=(
        Mistake(
            "present token",
            "You read the logit of the token that stands at each position. The model "
            "is judged on the one that comes next, `tokens[:, 1:]`.",
            attribution_of_present,
            swap=("W_U.T[tokens[:, 1:]]", "W_U.T[tokens[:, :-1]]"),
        ),
        Mistake(
            "not centred",
            "You did not centre when `centred` is True. A part that raises every logit "
            "alike changes no probability, so the mean over the vocabulary goes.",
            attribution_uncentred,
        ),
        Mistake(
            "centred over d_model",
            "You took the mean over d_model. Centring is over the vocabulary, the "
            "second axis of W_U: the mean of all its columns.",
            attribution_centred_over_stream,
            swap=("W_U.mean(dim=1, keepdim=True)", "W_U.mean(dim=0, keepdim=True)"),
        ),
        Mistake(
            "stream one too late",
            "You used the stream at p + 1 for the token at p + 1. It is predicted one "
            "position earlier, from the stream at p.",
            attribution_from_later,
        ),
        Mistake(
            "W_E for W_U",
            "You unembedded with W_E. In this model W_U is a matrix of its own and not "
            "the transpose of W_E.",
            attribution_tied,
        ),
        Mistake(
            "log probabilities",
            "You took log probabilities of each component. The softmax is not linear, "
            "so they do not add up. Logits do.",
            attribution_log_probs,
        ),
        Mistake(
            "mean over components",
            "You subtracted the mean over components. Centring subtracts the mean "
            "over the vocabulary, separately for each component.",
            attribution_by_subset_mean,
        ),
        Mistake(
            "total effect",
            "You ran the model without each component, and later layers reacted to "
            "what was missing. That is a total effect, and these do not add up. Here "
            "the direct one is asked for: what the component wrote, times W_U.",
            attribution_with_reactions,
            takes_heads_out,
        ),
    ),
    passed=(
        "Checked with and without centring: each entry is the logit that the component "
        "gives when it alone stands in the stream, and together they give the model's "
        "logit. It works because unembedding is linear."
    ),
)
