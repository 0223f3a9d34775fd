"""Chapter 2: its analyses against slow oracles, and what its prose says."""

import numpy as np
import pytest
import torch

from solutions.ch2_zero_layer import (
    bigram_log_probs,
    direct_path,
    kl_to_bigram,
    kneser_ney_loss,
    top_bigrams,
)
from tests import oracles
from utils.exercises.engine import run_check
from utils.models.attention_only import (
    load_model,
)
from utils.models.handmade import model_from_table, random_model
from utils.text.corpus import stdlib_corpus

D_VOCAB = 4096


def some_text(length: int, d_vocab: int, seed: int) -> list[int]:
    weights = 1 / np.arange(1, d_vocab + 1)
    random = np.random.default_rng(seed)
    return random.choice(d_vocab, size=length, p=weights / weights.sum()).tolist()


# --- the analyses -------------------------------------------------------------------


@pytest.mark.parametrize("discount", [0.75, 0.3])
def test_kneser_ney_equals_a_plain_loop(discount):
    train_text, heldout = some_text(700, 40, 1), some_text(300, 43, 2)
    expected = oracles.kneser_ney_cross_entropy(train_text, heldout, 43, discount)
    one_row = torch.tensor([train_text]), torch.tensor([heldout])
    assert kneser_ney_loss(*one_row, 43, discount) == pytest.approx(expected, abs=1e-5)


def test_counts_plus_one_equal_a_plain_loop():
    train_text, heldout = some_text(700, 30, 3), some_text(200, 30, 4)
    table = bigram_log_probs(torch.tensor([train_text]), 30)
    loss = -table[heldout[:-1], heldout[1:]].mean().item()
    expected = oracles.add_one_cross_entropy(train_text, heldout, 30)
    assert loss == pytest.approx(expected, abs=1e-5)


def test_direct_path_is_the_whole_model():
    """F-40: looking up a row and running the model are the same."""
    model = random_model(0, seed=3, d_vocab=17, d_model=6)
    tokens = torch.randint(17, (5, 9))
    assert torch.allclose(direct_path(model)[tokens], model(tokens), atol=1e-6)


def test_divergence_of_a_model_that_is_the_table():
    table = bigram_log_probs(torch.tensor([some_text(300, 12, 5)]), 12)
    frequencies = torch.full((12,), 1 / 12)
    assert abs(kl_to_bigram(model_from_table(table), table, frequencies)) < 1e-6
    shifted = model_from_table(table + torch.arange(12.0)[:, None])
    assert abs(kl_to_bigram(shifted, table, frequencies)) < 1e-5


def test_context_does_not_matter():
    model = load_model("zero_layer")
    one = model("def forward(self, x")[0, -1]
    two = model("print(y, x")[0, -1]
    assert torch.equal(one, two)


# --- other ways to write a right answer -----------------------------------------------


def counts_by_loop(tokens, d_vocab, pseudocount=1.0):
    counts = np.full((d_vocab, d_vocab), pseudocount)
    for row in tokens.tolist():
        for here, after in zip(row, row[1:], strict=False):
            counts[here, after] += 1
    return np.log(counts / counts.sum(1, keepdims=True))


def counts_by_index_put(tokens, d_vocab, pseudocount=1.0):
    counts = torch.zeros(d_vocab, d_vocab, dtype=torch.float64)
    index = (tokens[:, :-1].reshape(-1), tokens[:, 1:].reshape(-1))
    counts.index_put_(index, torch.ones(len(index[0])).double(), accumulate=True)
    return torch.log_softmax((counts + pseudocount).log(), dim=-1)


@pytest.mark.parametrize("answer", [counts_by_loop, counts_by_index_put])
def test_other_ways_to_count_pass(answer):
    assert run_check("bigram_log_probs", answer).status == "passed"


def test_divergence_by_torch_passes():
    def answer(model, log_probs, frequencies):
        mine = torch.log_softmax(torch.matmul(model.W_E, model.W_U), -1)
        rows = torch.nn.functional.kl_div(
            mine, log_probs, reduction="none", log_target=True
        ).sum(1)
        return torch.dot(frequencies, rows)

    assert run_check("kl_to_bigram", answer).status == "passed"


def test_kneser_ney_as_a_table_passes():
    def answer(train, heldout, d_vocab, discount=0.75):
        text = [train.tolist(), heldout.tolist()]
        seen = {}
        for row in text[0]:
            for v, w in zip(row, row[1:], strict=False):
                seen[v, w] = seen.get((v, w), 0) + 1
        kinds = torch.zeros(d_vocab, d_vocab, dtype=torch.float64)
        for (v, w), count in seen.items():
            kinds[v, w] = count
        n = (kinds > 0).sum(0)
        base = (n - discount).clamp(min=0) / n.sum()
        base = base + discount * (n > 0).sum() / n.sum() / d_vocab
        total = kinds.sum(1, keepdim=True)
        table = (kinds - discount).clamp(min=0) / total
        table = table + discount * (kinds > 0).sum(1, keepdim=True) / total * base
        table = torch.where(total > 0, table, base)
        pairs = [p for row in text[1] for p in zip(row, row[1:], strict=False)]
        return float(-np.mean([np.log(table[v, w].item()) for v, w in pairs]))

    assert run_check("kneser_ney_loss", answer).status == "passed"


# --- what the chapter says, measured ------------------------------------------------


@pytest.fixture(scope="module")
def corpus_rows():
    corpus = stdlib_corpus()
    return corpus.rows("train"), corpus.rows("heldout")


@pytest.mark.slow
def test_shipped_model_is_close_to_kneser_ney(corpus_rows):
    """F-41: within 0.15 nats of the held-out cross-entropy of Kneser-Ney bigrams."""
    train_rows, heldout_rows = corpus_rows
    pairs = heldout_rows[:, :-1], heldout_rows[:, 1:]
    table = direct_path(load_model("zero_layer")).log_softmax(1)
    loss = -table[pairs].mean().item()
    floor = kneser_ney_loss(train_rows, heldout_rows, D_VOCAB)
    add_one = -bigram_log_probs(train_rows, D_VOCAB)[pairs].mean().item()
    assert loss - floor < 0.15
    assert loss < add_one - 0.3


def test_tokens_do_not_predict_themselves():
    """F-43: W_U is not the inverse of W_E."""
    path = direct_path(load_model("zero_layer"))
    itself = (path.argmax(dim=1) == torch.arange(D_VOCAB)).float().mean()
    assert itself < 0.1


def test_after_import_comes_a_name():
    words = [word for word, _ in top_bigrams(load_model("zero_layer"), " import", k=5)]
    assert " import" not in words
    names = [word.strip() for word in words if word.strip() not in ("(", "*", "\\")]
    assert len(names) >= 3 and all(name.isidentifier() for name in names)
