"""Chapter 2: wrong answers that once passed, or were told something untrue."""

import pytest
import torch

import solutions.ch2_zero_layer as chapter
from tests.chapters.wrong_answers import changed
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


def kneser_ney_by_tables(fallback, occurrences):
    """A whole table at once; c(v) from all places of v, or those with a follower."""

    def kneser_ney_loss(train, heldout, d_vocab, discount=0.75):
        counts = torch.zeros(d_vocab, d_vocab)
        for row in train.tolist():
            for v, w in zip(row, row[1:], strict=False):
                counts[v, w] += 1
        total = counts.sum(1) if not occurrences else train.flatten().bincount()
        total = torch.nn.functional.pad(total, (0, d_vocab - len(total)))[:, None]
        kinds, n = (counts > 0).sum(1, keepdim=True), (counts > 0).sum(0)
        kept = (n - discount).clamp(min=0) / n.sum()
        p_word = kept + discount * (n > 0).sum() / n.sum() / d_vocab
        p = ((counts - discount).clamp(min=0) + discount * kinds * p_word) / total
        p = torch.where(total > 0, p, p_word) if fallback else p
        return -p[heldout[:, :-1], heldout[:, 1:]].log().mean().item()

    return kneser_ney_loss


@pytest.mark.parametrize(
    ("fallback", "occurrences", "mistake", "held"),
    [(False, False, "no follower", 2), (True, True, "every occurrence", 0)],
)
def test_kneser_ney_with_a_wrong_share_of_pairs(fallback, occurrences, mistake, held):
    result = run_check("kneser_ney_loss", kneser_ney_by_tables(fallback, occurrences))
    assert (result.mistake, result.steps_held) == (mistake, held)
    right = run_check("kneser_ney_loss", kneser_ney_by_tables(True, False))
    assert right.status == "passed"


def test_row_sums_without_their_axis_are_told_so():
    def bigram_log_probs(tokens, d_vocab, pseudocount=1.0):
        counts = torch.zeros(d_vocab, d_vocab)
        pairs = torch.stack([tokens[:, :-1].flatten(), tokens[:, 1:].flatten()])
        for v, w in pairs.T.tolist():
            counts[v, w] += 1
        counts += pseudocount
        return (counts / counts.sum(dim=1)).log()

    result = run_check("bigram_log_probs", bigram_log_probs)
    assert (result.mistake, result.steps_held) == ("sums along the wrong axis", 1)


def test_counts_across_rows_have_not_reached_the_first_step():
    def bigram_log_probs(tokens, d_vocab, pseudocount=1.0):
        counts = torch.full((d_vocab, d_vocab), pseudocount)
        text = tokens.flatten().tolist()
        for v, w in zip(text, text[1:], strict=False):
            counts[v, w] += 1
        return (counts / counts.sum(dim=0)).log()

    assert run_check("bigram_log_probs", bigram_log_probs).steps_held == 0


@pytest.mark.parametrize(
    ("mean", "mistake", "held"),
    [(False, "unweighted", 2), (True, "mean over entries", 1)],
)
def test_a_divergence_without_weights_is_told_the_step_it_lacks(mean, mistake, held):
    def kl_to_bigram(model, log_probs, frequencies):
        mine = (model.W_E @ model.W_U).log_softmax(1)
        if mean:
            return (log_probs.exp() * (log_probs - mine)).mean()
        return (log_probs.exp() * (log_probs - mine)).sum(1).mean()

    result = run_check("kl_to_bigram", kl_to_bigram)
    assert (result.mistake, result.steps_held) == (mistake, held)


def test_the_row_of_the_start_token_is_told_so():
    def top_bigrams(model, token, k=5):
        start = model.to_tokens(token)[0, 0]
        best, ids = (model.W_E[start] @ model.W_U).softmax(0).topk(k)
        words = [model.tokenizer.decode([i]) for i in ids.tolist()]
        return list(zip(words, best.tolist(), strict=True))

    assert run_check("top_bigrams", top_bigrams).mistake == "the start token"


@pytest.mark.parametrize(
    ("right", "mistake"),
    [
        ("(before - discount).clamp(min=0)", "P1 below zero"),
        ("(counts[v, w] - discount).clamp(min=0)", "below zero"),
    ],
)
def test_a_discount_that_does_not_stop_at_zero_is_told_where(right, mistake):
    wrong = right.removesuffix(".clamp(min=0)")
    answer = changed(chapter, "kneser_ney_loss", right, wrong)
    assert run_check("kneser_ney_loss", answer).mistake == mistake
