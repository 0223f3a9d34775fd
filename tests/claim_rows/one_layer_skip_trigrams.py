"""Rows F-62 to F-66: what skip-trigrams the one-layer model has, tested on text."""

from functools import cache

import torch

from solutions.ch3_one_layer import (
    full_ov_circuit,
)
from tests.claim_rows import Claim
from tests.claim_rows.one_layer import NAME, heads, model
from tests.claim_rows.shared import rows
from tests.claim_rows.skip_trigrams import (
    is_copying,
    token_frequencies,
    verified_skip_trigrams,
)
from utils.text.corpus import START_ID

__all__ = ["CLAIMS"]


@cache
def common_words(least: float = 1e-4) -> list[int]:
    """Tokens with letters that make up at least this share of the training text."""
    frequent = (token_frequencies() >= least).nonzero()[:, 0].tolist()
    words = {i: model().tokenizer.decode([i]) for i in frequent}
    return [i for i, word in words.items() if word.strip().isalpha() and len(word) > 2]


def copying_rows() -> dict[str, float]:
    """Share of common words that stand, in a variant, on top of their own list."""
    common = (token_frequencies() >= 1e-4).nonzero()[:, 0]
    names = [model().tokenizer.decode([i]) for i in common.tolist()]
    ov = [full_ov_circuit(model(), 0, head) for head in heads()]
    tops = []
    for source in common_words():
        raised = torch.stack([c.A[source] @ (c.B[:, common]) for c in ov])
        raised = raised - raised.mean(1, keepdim=True)
        word = model().tokenizer.decode([source])
        best = raised[raised.amax(1).argmax()].topk(5).indices.tolist()
        tops.append(any(is_copying(word, names[i]) for i in best))
    return {"share": sum(tops) / len(tops), "words": len(tops)}


def split_tokens() -> dict[str, float]:
    """F-64: gain in log P(second piece) when the whole word stands 19 tokens before."""
    tokenizer, gains = model().tokenizer, {}
    contexts = rows("heldout", 128)[::40, :40]
    for whole in common_words():
        word = tokenizer.decode([whole])
        pieces = [i for i in tokenizer(word[1:]).input_ids if i != START_ID]
        if word[0] != " " or len(pieces) != 2:
            continue
        without = contexts.clone()
        without[:, -1] = pieces[0]
        with_word = without.clone()
        with_word[:, 20] = whole
        ends = [
            model().original_model.final_stream(t)[:, -1] for t in (with_word, without)
        ]
        logs = [(e @ model().W_U).log_softmax(-1)[:, pieces[1]] for e in ends]
        gains[word] = (logs[0] - logs[1]).mean().item()
    strong = [word for word, gain in gains.items() if gain >= 1]
    return {
        "strong": len(strong),
        "words": len(gains),
        "best": max(gains.values()),
        "positive": sum(gain > 0 for gain in gains.values()) / len(gains),
    }


def interventions() -> dict[str, float]:
    tested = verified_skip_trigrams(NAME)
    good = [each for each in tested if each.holds]
    effects = [each.effect for each in good] or [0.0]
    return {
        "tested": len(tested),
        "good": len(good),
        "mean": sum(effects) / len(effects),
        "control": sum(each.control for each in good) / max(1, len(good)),
        "best": max(effects),
    }


CLAIMS = (
    Claim(
        row="F-62",
        statement="Most rows of the skip-trigram table are copying: the source or a "
        "variant is among its own top five outputs.",
        paper="six rows shown, all copying",
        measure=copying_rows,
        ours="{share:.0%} of {words:.0f} common words, each in its strongest head",
        conditions={
            "at least half": lambda n: n["share"] >= 0.5,
            "at least ten rows": lambda n: n["words"] >= 10,
        },
        reason="In code, names come back more than anything else.",
        needs=(NAME,),
    ),
    Claim(
        row="F-64",
        statement="A word that is one token with a space and two without is copied "
        "through its second piece.",
        paper="five names shown",
        measure=split_tokens,
        ours="{strong:.0f} of {words:.0f} words gain at least 1 nat, {positive:.0%} "
        "gain at all, the best {best:.1f} nats",
        conditions={"at least five words gain 1 nat": lambda n: n["strong"] >= 5},
        reason="A single occurrence among 39 tokens is tested, on held-out contexts.",
        needs=(NAME,),
    ),
    Claim(
        row="F-66",
        statement="Other skip-trigrams, such as Python's own, do what the weights say "
        "when the source is taken out of real text.",
        paper="listed from weights, not tested",
        measure=interventions,
        ours="{good:.0f} of {tested:.0f} hold on held-out text: log P(out) falls by "
        "{mean:.2f} nats on average (control {control:.2f}), at most {best:.2f}",
        conditions={"at least 20 hold": lambda n: n["good"] >= 20},
        reason="The text is Python only, so no markup and no English is tested.",
        needs=(NAME,),
        rests_on="draws",
    ),
)
