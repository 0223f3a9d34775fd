"""Chapter 2: wrong answers that once passed, or were told something untrue."""

import pytest
import torch

from utils.exercises.engine import run_check


def path_by_running(model):
    return model(torch.arange(model.cfg.d_vocab)[:, None])[:, 0]


def test_the_direct_path_is_not_read_off_a_run():
    def direct_path(model):
        return path_by_running(model)

    result = run_check("direct_path", direct_path)
    assert result.status == "failed" and "runs the model" in result.message


def test_the_divergence_is_not_read_off_a_run():
    def kl_to_bigram(model, log_probs, frequencies):
        mine = path_by_running(model).log_softmax(1)
        rows = (log_probs.exp() * (log_probs - mine)).sum(1)
        return (frequencies * rows).sum().item()

    result = run_check("kl_to_bigram", kl_to_bigram)
    assert result.status == "failed" and "runs the model" in result.message


def test_the_likeliest_tokens_are_not_read_off_a_run():
    def top_bigrams(model, token, k=5):
        row = model(torch.tensor([[model.to_single_token(token)]]))[0, 0].softmax(0)
        best, ids = row.topk(k)
        words = [model.tokenizer.decode([i]) for i in ids.tolist()]
        return list(zip(words, best.tolist(), strict=True))

    result = run_check("top_bigrams", top_bigrams)
    assert result.status == "failed" and "runs the model" in result.message


def test_counting_with_lists_of_indices_is_told_what_it_loses():
    def bigram_log_probs(tokens, d_vocab, pseudocount=1.0):
        counts = torch.full((d_vocab, d_vocab), pseudocount)
        counts[tokens[:, :-1].flatten(), tokens[:, 1:].flatten()] += 1
        return counts.log() - counts.sum(1, keepdim=True).log()

    assert run_check("bigram_log_probs", bigram_log_probs).mistake == "each pair once"


def kneser_ney(train, heldout, d_vocab, discount, below):
    """A dictionary of pairs; `below` says what stands in for P1."""
    pairs = {}
    for row in train.tolist():
        for v, w in zip(row, row[1:], strict=False):
            pairs[v, w] = pairs.get((v, w), 0) + 1
    losses = []
    for row in heldout.tolist():
        for v, w in zip(row, row[1:], strict=False):
            counts = {b: n for (a, b), n in pairs.items() if a == v}
            total = sum(counts.values())
            p = below(pairs, w)
            if total:
                kept = max(counts.get(w, 0) - discount, 0)
                p = (kept + discount * len(counts) * p) / total
            losses.append(-torch.tensor(p).log())
    return torch.stack(losses).mean().item()


@pytest.mark.parametrize(
    ("below", "mistake"),
    [
        (
            lambda pairs, w: sum(b == w for _, b in pairs) / len(pairs),
            "P1 not discounted",
        ),
        (
            lambda pairs, w: (
                sum(n for (_, b), n in pairs.items() if b == w) / sum(pairs.values())
            ),
            "plain frequencies, not discounted",
        ),
    ],
)
def test_kneser_ney_with_a_raw_distribution_below_is_told_so(below, mistake):
    def kneser_ney_loss(train, heldout, d_vocab, discount=0.75):
        return kneser_ney(train, heldout, d_vocab, discount, below)

    assert run_check("kneser_ney_loss", kneser_ney_loss).mistake == mistake
