"""Chapter 5, `ideal_pattern_recovery`: judge, known mistakes and hints."""

import torch

from utils.checks import Check, Mistake, expect
from utils.checks.ch5_induction_heads import shared
from utils.models.handmade import (
    random_model,
)

__all__ = ["CHECK"]


def judge_ideal_pattern_recovery(answer) -> None:
    generator = torch.Generator().manual_seed(1)
    # A pattern of its own for every row.
    drawn = torch.rand(3, 11, 11, generator=generator).tril()
    drawn = drawn / drawn.sum(-1, keepdim=True)
    back = torch.eye(11).roll(-1, 1).expand(3, -1, -1)
    # The first five shares are about 1.0, 2.2, -0.4, -1.1 and 0.3: not bounded.
    cases = (
        (2, 3, 3, 4, {(0, 1): back}, 1),
        (2, 3, 4, 4, {(0, 1): back, (1, 2): drawn, (1, 0): back}, 7),
        (3, 3, 16, 5, {(2, 0): drawn, (1, 2): drawn.flip(0)}, 3),
        (2, 3, 4, 3, {(0, 1): back}, 1),
        (2, 3, 3, 4, {(1, 1): drawn[:1]}, 4),
        (1, 2, 5, 4, {(0, 1): back[:2]}, 2),
    )
    for n_layers, n_heads, seed, d_head, patterns, first in cases:
        model = random_model(n_layers, seed, d_vocab=13, n_heads=n_heads, d_head=d_head)
        batch = len(next(iter(patterns.values())))
        tokens = shared.rows(13, 5, 2, batch=batch, seed=seed)
        if first == 1:
            share = expect.number(answer(model, tokens, patterns))
        else:
            share = expect.number(answer(model, tokens, patterns, first))
        nothing = {place: torch.zeros(batch, 11, 11) for place in patterns}
        as_it_is, as_told, without = (
            shared.losses(shared.by_hand(model, tokens, forced=forced)[0], tokens)[
                :, first - 1 :
            ].mean()
            for forced in ({}, patterns, nothing)
        )
        expect.close(
            share,
            ((without - as_told) / (without - as_it_is)).item(),
            f"With {len(patterns)} heads and first={first} the share does not match a "
            "forward pass by hand.",
            rtol=1e-3,
        )


def _told(model, tokens, patterns, factor, first=1, by_layer=False, late=""):
    hooks = []
    last_head, last_pattern = [*patterns][-1][1], [*patterns.values()][-1]
    for (layer, head), pattern in patterns.items():
        head = last_head if "head" in late else head
        pattern = last_pattern if "pattern" in late else pattern

        def attend(own, hook, head=head, pattern=pattern):
            forced = own.clone()
            heads = slice(None) if by_layer else slice(head, head + 1)
            forced[:, heads] = factor * pattern[:, None]
            return forced

        hooks.append((f"blocks.{layer}.attn.hook_pattern", attend))
    logits = model.run_with_hooks(tokens, fwd_hooks=hooks)
    return shared.losses(logits, tokens)[:, first - 1 :].mean()


def _plain(model, tokens, first=1):
    return shared.losses(model(tokens), tokens)[:, first - 1 :].mean()


def recovery_upside_down(model, tokens, patterns, first=1):
    told = _told(model, tokens, patterns, 1.0, first)
    without = _told(model, tokens, patterns, 0.0, first)
    return (without - _plain(model, tokens, first)) / (without - told)


def recovery_lost(model, tokens, patterns, first=1):
    told, plain = (
        _told(model, tokens, patterns, 1.0, first),
        _plain(model, tokens, first),
    )
    return (told - plain) / (_told(model, tokens, patterns, 0.0, first) - plain)


def recovery_as_ratio(model, tokens, patterns, first=1):
    return _plain(model, tokens, first) / _told(model, tokens, patterns, 1.0, first)


def recovery_whole_layer(model, tokens, patterns, first=1):
    told = _told(model, tokens, patterns, 1.0, first, by_layer=True)
    without = _told(model, tokens, patterns, 0.0, first, by_layer=True)
    return (without - told) / (without - _plain(model, tokens, first))


def recovery_shifted(model, tokens, patterns, first=1):
    return _recovery(model, tokens, patterns, first + 1)


def recovery_everywhere(model, tokens, patterns, first=1):
    return _recovery(model, tokens, patterns, 1) + 0.0 * first


def recovery_bound_late(model, tokens, patterns, first=1):
    """Every hook of the loop finds the loop's last head and pattern."""
    return _recovery(model, tokens, patterns, first, late="head and pattern")


def binds_late(answer) -> bool:
    """Whether head, pattern or both are the loop's last ones in every hook."""
    model = random_model(2, 4, d_vocab=13)
    tokens = shared.rows(13, 5, 2, batch=2, seed=4)
    drawn = torch.rand(2, 11, 11, generator=torch.Generator().manual_seed(3)).tril()
    drawn = drawn / drawn.sum(-1, keepdim=True)
    patterns = {(0, 1): drawn, (0, 0): drawn.flip(0), (1, 2): drawn**2}
    found = float(answer(model, tokens, patterns, 3))
    return any(
        abs(found - _recovery(model, tokens, patterns, 3, late).item()) < 1e-3
        for late in ("head and pattern", "head", "pattern")
    )


def _recovery(model, tokens, patterns, first, late=""):
    without = _told(model, tokens, patterns, 0.0, first, late=late)
    told = _told(model, tokens, patterns, 1.0, first, late=late)
    return (without - told) / (without - _plain(model, tokens, first))


CHECK = Check(
    name="ideal_pattern_recovery",
    judge=judge_ideal_pattern_recovery,
    hints=(
        "Run the model three times: untouched, with the patterns you were given, and "
        "with those heads silent.",
        "A hook on `blocks.{layer}.attn.hook_pattern` gets [batch, head, query, key]. "
        "Return a copy in which one head's pattern is replaced. A pattern of zeros "
        "makes a head write nothing. All named heads change in the same run.",
        "For each head append `(name, hook)` to a list and call "
        "`model.run_with_hooks(tokens, fwd_hooks=hooks)`. Inside a loop give the hook "
        "its values as defaults: `def attend(own, hook, head=head, pattern=pattern)`. "
        "Token `first` is column `first - 1` of the losses.",
    ),
    mistakes=(
        Mistake(
            "upside down",
            "Your fraction is upside down. What the ideal pattern gives back stands on "
            "top, what the real heads give below.",
            recovery_upside_down,
            swap=(
                "(without - as_told) / (without - as_it_is)",
                "(without - as_it_is) / (without - as_told)",
            ),
        ),
        Mistake(
            "what is lost",
            "This is the share that is lost. Its complement is asked for: 1 when the "
            "ideal pattern is as good as the real one.",
            recovery_lost,
        ),
        Mistake(
            "ratio of losses",
            "You divided two losses. A loss has no natural zero here; compare gains "
            "over the model without these heads.",
            recovery_as_ratio,
        ),
        Mistake(
            "whole layer",
            "You changed every head of the layer. Only the named heads attend as told.",
            recovery_whole_layer,
        ),
        Mistake(
            "one column late",
            "You begin one token late. Token number `first` is column `first - 1` of "
            "the losses.",
            recovery_shifted,
            swap=("first - 1 :]", "first:]"),
        ),
        Mistake(
            "all tokens",
            "You average over all tokens. Only tokens[:, first:] count.",
            recovery_everywhere,
        ),
        Mistake(
            "the last one in every hook",
            "Your hooks are made in a loop and all use its last head or pattern: a "
            "function looks such a name up when it runs, and then the loop is over. "
            "Hand the values over: `def attend(own, hook, head=head, "
            "pattern=pattern)`.",
            recovery_bound_late,
            binds_late,
        ),
    ),
    passed=(
        "Checked against a forward pass by hand, with one head and with three heads in "
        "two layers. It turns the sentence 'this head just does so and so' into a "
        "number."
    ),
)
