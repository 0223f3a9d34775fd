"""Checks, hints, known mistakes and predictions of chapter 2."""

import math

import torch
from torch import Tensor

from utils.checks import Check, Choice, Mistake, Prediction, expect
from utils.corpus import load_tokenizer
from utils.handmade import model_from_table, random_model

__all__ = ["CHECKS", "PREDICTIONS"]


# --- bigram_log_probs ---------------------------------------------------------------

SMALL_TEXT = [[0, 4, 1, 4, 1, 6, 2], [0, 1, 4, 4, 2, 2, 6], [0, 3, 4, 1, 5, 4, 1]]


def judge_bigram_log_probs(answer) -> None:
    text = torch.tensor(SMALL_TEXT)
    for d_vocab, pseudocount in ((7, 1.0), (9, 0.25)):
        result = answer(text, d_vocab, pseudocount)
        table = expect.tensor(result, current=d_vocab, next=d_vocab)
        expect.close(
            table.exp().sum(1),
            torch.ones(d_vocab),
            "Each row should hold log probabilities: their exponentials sum to 1.",
        )
        expect.close(
            table,
            _counted_by_hand(SMALL_TEXT, d_vocab, pseudocount),
            "Some log probabilities do not match a count by hand.",
        )


def _counted_by_hand(rows: list[list[int]], d_vocab: int, extra: float) -> Tensor:
    """The definition, one pair of neighbours at a time."""
    counts = [[extra] * d_vocab for _ in range(d_vocab)]
    for row in rows:
        for here, after in zip(row, row[1:], strict=False):
            counts[here][after] += 1
    table = [[math.log(c / sum(row)) for c in row] for row in counts]
    return torch.tensor(table, dtype=torch.float64)


def _counts(tokens: Tensor, d_vocab: int) -> Tensor:
    pairs = tokens[:, :-1].flatten() * d_vocab + tokens[:, 1:].flatten()
    return torch.bincount(pairs, minlength=d_vocab**2).view(d_vocab, d_vocab).float()


def bigrams_transposed(tokens, d_vocab, pseudocount=1.0):
    counts = _counts(tokens, d_vocab).T + pseudocount
    return (counts / counts.sum(1, keepdim=True)).log()


def bigrams_over_columns(tokens, d_vocab, pseudocount=1.0):
    counts = _counts(tokens, d_vocab) + pseudocount
    return (counts / counts.sum(0, keepdim=True)).log()


def bigrams_without_log(tokens, d_vocab, pseudocount=1.0):
    counts = _counts(tokens, d_vocab) + pseudocount
    return counts / counts.sum(1, keepdim=True)


def bigrams_without_pseudocount(tokens, d_vocab, pseudocount=1.0):
    counts = _counts(tokens, d_vocab)
    return (counts / counts.sum(1, keepdim=True)).log()


def bigrams_across_rows(tokens, d_vocab, pseudocount=1.0):
    counts = _counts(tokens.reshape(1, -1), d_vocab) + pseudocount
    return (counts / counts.sum(1, keepdim=True)).log()


def bigrams_joint(tokens, d_vocab, pseudocount=1.0):
    counts = _counts(tokens, d_vocab) + pseudocount
    return (counts / counts.sum()).log()


BIGRAM_LOG_PROBS = Check(
    name="bigram_log_probs",
    judge=judge_bigram_log_probs,
    hints=(
        "You need a d_vocab by d_vocab table of counts. Every token and its right-hand "
        "neighbour add one to a cell.",
        "`tokens[:, :-1]` are the current tokens and `tokens[:, 1:]` their followers. "
        "Number the cells row by row: cell (i, j) is number `i * d_vocab + j`. Then "
        "`torch.bincount` counts all pairs at once.",
        "`pairs = current * d_vocab + following`, then "
        "`counts = torch.bincount(pairs, minlength=d_vocab**2).view(d_vocab, d_vocab) "
        "+ pseudocount`. Divide each row by its sum and take the log.",
    ),
    mistakes=(
        Mistake(
            "transposed",
            "Your table is transposed. Row i should be the distribution of the token "
            "after token i; yours holds what came before it.",
            bigrams_transposed,
        ),
        Mistake(
            "normalised over columns",
            "You divided each column by its sum. A column collects different current "
            "tokens; each row has to sum to 1.",
            bigrams_over_columns,
        ),
        Mistake(
            "no log",
            "These are the probabilities. Take their logarithm.",
            bigrams_without_log,
        ),
        Mistake(
            "no pseudocount",
            "The pseudocount is missing. A pair that was never seen gets probability "
            "zero, whose log is minus infinity.",
            bigrams_without_pseudocount,
        ),
        Mistake(
            "across rows",
            "You counted the last token of a row and the first of the next as "
            "neighbours. Rows are separate pieces of text.",
            bigrams_across_rows,
        ),
        Mistake(
            "joint",
            "You divided by the number of all pairs, which gives P(current, next). For "
            "P(next | current) divide each row by its own sum.",
            bigrams_joint,
        ),
    ),
    passed=(
        "Checked against a count by hand, for two vocabulary sizes and two "
        "pseudocounts. Dividing a row by its sum turns counts into P(next | current), "
        "and that is all a model can know that sees one token."
    ),
)


# --- direct_path --------------------------------------------------------------------


def judge_direct_path(answer) -> None:
    for d_vocab, d_model, seed in ((13, 10, 0), (9, 14, 1)):
        model = random_model(0, seed, d_vocab=d_vocab, d_model=d_model)
        result = answer(model)
        path = expect.tensor(result, current=d_vocab, next=d_vocab)
        tokens = torch.arange(d_vocab)[:, None]
        expect.close(
            path,
            model(tokens)[:, 0],
            "Row i should hold the logits that the model gives after token i.",
        )


def path_transposed(model):
    return (model.W_E @ model.W_U).T


def path_in_paper_order(model):
    return model.W_U @ model.W_E


def path_as_log_probs(model):
    return (model.W_E @ model.W_U).log_softmax(-1)


def path_as_probs(model):
    return (model.W_E @ model.W_U).softmax(-1)


def path_tied(model):
    return model.W_E @ model.W_E.T


DIRECT_PATH = Check(
    name="direct_path",
    judge=judge_direct_path,
    hints=(
        "Follow one token: it becomes a row of W_E, nothing happens to it, and W_U "
        "turns it into logits.",
        "Looking up a row of W_E is multiplying a one-hot vector by W_E. Doing that "
        "for all tokens at once leaves the product of two matrices.",
        "`model.W_E` is [d_vocab, d_model] and `model.W_U` is [d_model, d_vocab]. "
        "Return `model.W_E @ model.W_U`.",
    ),
    mistakes=(
        Mistake(
            "transposed",
            "Your matrix is transposed: its rows are output tokens. Row i should hold "
            "what token i says about the next token.",
            path_transposed,
        ),
        Mistake(
            "order of the paper",
            "The paper writes W_U W_E, with vectors as columns. TransformerLens "
            "multiplies on the right, so here it is W_E first, then W_U.",
            path_in_paper_order,
        ),
        Mistake(
            "log probabilities",
            "These are log probabilities. The direct path is the logits themselves, "
            "before any softmax.",
            path_as_log_probs,
        ),
        Mistake(
            "probabilities",
            "These are probabilities. The direct path is the logits themselves, "
            "before any softmax.",
            path_as_probs,
        ),
        Mistake(
            "tied weights",
            "You used W_E twice. In this model W_U is a matrix of its own and not the "
            "transpose of W_E.",
            path_tied,
        ),
    ),
    passed=(
        "Checked against the logits that the model itself gives after each token, for "
        "two shapes. With no layers there is nothing between embedding and "
        "unembedding, so the product of the two matrices is the whole model."
    ),
)


# --- kl_to_bigram -------------------------------------------------------------------


def _random_table(d_vocab: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(d_vocab, d_vocab, generator=generator)).log_softmax(1)


def judge_kl_to_bigram(answer) -> None:
    table = _random_table(8, seed=3)
    frequencies = torch.tensor([0.3, 0.2, 0.15, 0.1, 0.1, 0.08, 0.05, 0.02])
    # A constant added to a row of logits changes no probability.
    offsets = torch.linspace(-2, 3, 8)[:, None]
    same = expect.number(answer(model_from_table(table + offsets), table, frequencies))
    expect.close(
        same,
        0.0,
        "A model whose logits are the table plus a constant per row gives the same "
        "probabilities as the table, so its divergence is 0.",
    )
    for d_vocab, seed in ((13, 4), (9, 5)):
        model = random_model(0, seed, d_vocab=d_vocab)
        table = _random_table(d_vocab, seed)
        weights = torch.linspace(1, 4, d_vocab)
        weights = weights / weights.sum()
        expect.close(
            expect.number(answer(model, table, weights)),
            _kl_by_hand(model, table, weights),
            "The divergence does not match a sum by hand.",
        )


def _kl_by_hand(model, table: Tensor, frequencies: Tensor) -> float:
    """The definition, one cell of the table at a time."""
    total = 0.0
    for i, share in enumerate(frequencies.tolist()):
        logits = model(torch.tensor([[i]]))[0, 0].tolist()
        norm = math.log(sum(math.exp(x) for x in logits))
        for j, log_p in enumerate(table[i].tolist()):
            total += share * math.exp(log_p) * (log_p - (logits[j] - norm))
    return total


def _path_log_probs(model) -> Tensor:
    return (model.W_E @ model.W_U).log_softmax(1)


def kl_reversed(model, log_probs, frequencies):
    mine = _path_log_probs(model)
    return (frequencies * (mine.exp() * (mine - log_probs)).sum(1)).sum().item()


def kl_unweighted(model, log_probs, frequencies):
    mine = _path_log_probs(model)
    return (log_probs.exp() * (log_probs - mine)).sum(1).mean().item()


def kl_without_softmax(model, log_probs, frequencies):
    mine = model.W_E @ model.W_U
    return (frequencies * (log_probs.exp() * (log_probs - mine)).sum(1)).sum().item()


def kl_cross_entropy(model, log_probs, frequencies):
    mine = _path_log_probs(model)
    return -(frequencies * (log_probs.exp() * mine).sum(1)).sum().item()


def kl_in_bits(model, log_probs, frequencies):
    mine = _path_log_probs(model)
    divergence = (log_probs.exp() * (log_probs - mine)).sum(1)
    return (frequencies * divergence).sum().item() / math.log(2)


KL_TO_BIGRAM = Check(
    name="kl_to_bigram",
    judge=judge_kl_to_bigram,
    hints=(
        "Turn the direct path into log probabilities first. Then compare it with the "
        "table, row by row.",
        "For one row the divergence is a sum over next tokens: the table's probability "
        "times the difference of the two log probabilities, the table's first.",
        "`q = direct_path(model).log_softmax(dim=1)`, then "
        "`d = (log_probs.exp() * (log_probs - q)).sum(dim=1)`, then the sum of "
        "`frequencies * d` as a float.",
    ),
    mistakes=(
        Mistake(
            "reversed",
            "You measured from the model to the table. The divergence is not "
            "symmetric: here the table's probabilities weigh the differences.",
            kl_reversed,
        ),
        Mistake(
            "unweighted",
            "You gave every current token the same weight. Weigh the rows by "
            "`frequencies`: what the model does after a rare token matters little.",
            kl_unweighted,
        ),
        Mistake(
            "no softmax",
            "You compared logits with log probabilities. Logits are only fixed up to a "
            "constant per row, so take their log_softmax first.",
            kl_without_softmax,
        ),
        Mistake(
            "cross-entropy",
            "This is the cross-entropy. The divergence is the cross-entropy minus the "
            "entropy of the table, so that equal distributions give 0.",
            kl_cross_entropy,
        ),
        Mistake("bits", "This is in bits. The course counts in nats.", kl_in_bits),
    ),
    passed=(
        "Checked on a model that equals the table up to a constant per row (0 nats) "
        "and against sums by hand on two random models. The constant per row drops "
        "out in the softmax, so W_E W_U can equal the log table only up to it."
    ),
)


# --- kneser_ney_loss ----------------------------------------------------------------

TRAIN_TEXT = [[0, 3, 1, 3, 1, 2, 5], [0, 1, 3, 3, 2, 5, 2], [0, 4, 3, 1, 2, 3, 1]]
HELDOUT_TEXT = [[0, 3, 1, 2, 5], [0, 6, 3, 4, 1]]


def judge_kneser_ney_loss(answer) -> None:
    train, heldout = torch.tensor(TRAIN_TEXT), torch.tensor(HELDOUT_TEXT)
    for d_vocab, discount in ((8, 0.75), (10, 0.4)):
        result = answer(train, heldout, d_vocab, discount)
        expect.close(
            expect.number(result),
            _kneser_ney_by_hand(TRAIN_TEXT, HELDOUT_TEXT, d_vocab, discount),
            "The loss does not match a calculation by hand.",
        )


def _kneser_ney_by_hand(train, heldout, d_vocab: int, d: float) -> float:
    """The definition, with dictionaries and one pair of neighbours at a time."""
    followers: dict[int, dict[int, int]] = {}
    for row in train:
        for v, w in zip(row, row[1:], strict=False):
            counts = followers.setdefault(v, {})
            counts[w] = counts.get(w, 0) + 1
    before = [sum(w in f for f in followers.values()) for w in range(d_vocab)]
    spread, known = sum(before), sum(n > 0 for n in before)
    p1 = [max(n - d, 0) / spread + d * known / spread / d_vocab for n in before]

    def p(w: int, v: int) -> float:
        if v not in followers:
            return p1[w]
        total = sum(followers[v].values())
        kept = max(followers[v].get(w, 0) - d, 0) / total
        return kept + d * len(followers[v]) / total * p1[w]

    pairs = [(v, w) for row in heldout for v, w in zip(row, row[1:], strict=False)]
    return -sum(math.log(p(w, v)) for v, w in pairs) / len(pairs)


def _kneser_ney(train, heldout, d_vocab, discount, base="spread", freed=True) -> float:
    """The calculation with one step left out, for the known mistakes."""
    counts = _counts(train, d_vocab)
    before = (counts > 0).sum(0).float() if base == "spread" else counts.sum(0)
    reserved = discount * (before > 0).sum() / before.sum()
    p_word = (before - discount).clamp(min=0) / before.sum() + reserved / d_vocab
    v, w = heldout[:, :-1].flatten(), heldout[:, 1:].flatten()
    total = counts.sum(1)[v]
    kept = (counts[v, w] - discount).clamp(min=0)
    share = discount * (counts > 0).sum(1)[v] if freed else 0
    p_pair = (kept + share * p_word[w]) / total.clamp(min=1)
    p_pair = torch.where(total > 0, p_pair, p_word[w])
    return -p_pair.log().mean().item()


def kn_by_frequency(train, heldout, d_vocab, discount=0.75):
    return _kneser_ney(train, heldout, d_vocab, discount, base="frequency")


def kn_on_train(train, heldout, d_vocab, discount=0.75):
    return _kneser_ney(train, train, d_vocab, discount)


def kn_not_interpolated(train, heldout, d_vocab, discount=0.75):
    return _kneser_ney(train, heldout, d_vocab, discount, freed=False)


def kn_fixed_discount(train, heldout, d_vocab, discount=0.75):
    return _kneser_ney(train, heldout, d_vocab, 0.75)


def kn_in_bits(train, heldout, d_vocab, discount=0.75):
    return _kneser_ney(train, heldout, d_vocab, discount) / math.log(2)


KNESER_NEY_LOSS = Check(
    name="kneser_ney_loss",
    judge=judge_kneser_ney_loss,
    hints=(
        "Build the table of pair counts first, without pseudocount. All other numbers "
        "of the formula are sums over its rows or columns.",
        "With `counts` [d_vocab, d_vocab]: c(v) is a row sum, |{w: c(v, w) > 0}| the "
        "number of positive cells in a row, n(w) the number of positive cells in a "
        "column. Look the pairs of `heldout` up with `counts[v, w]`.",
        "`p_word = (n - D).clamp(min=0) / N + D * (n > 0).sum() / N / d_vocab`; "
        "`p_pair = ((counts[v, w] - D).clamp(min=0) + D * kinds[v] * p_word[w]) / "
        "total[v]`; where `total[v]` is 0 use `p_word[w]`. Return the mean of "
        "`-p_pair.log()` as a float.",
    ),
    mistakes=(
        Mistake(
            "plain frequencies",
            "Your P1 uses how often a token occurs. Kneser-Ney uses after how many "
            "different tokens it occurs: a word that only ever follows one other word "
            "is no good guess anywhere else.",
            kn_by_frequency,
        ),
        Mistake(
            "measured on the training text",
            "You measured on the training text, where every pair has been counted. "
            "Look up the pairs of `heldout`.",
            kn_on_train,
        ),
        Mistake(
            "freed probability lost",
            "The discount takes probability away from seen pairs, and you did not give "
            "it to the others. Pairs never seen have probability 0, so the loss is "
            "infinite or the rows do not sum to 1.",
            kn_not_interpolated,
        ),
        Mistake(
            "fixed discount",
            "You used 0.75 whatever `discount` says.",
            kn_fixed_discount,
        ),
        Mistake("bits", "This is in bits. The course counts in nats.", kn_in_bits),
    ),
    passed=(
        "Checked against a calculation by hand with two discounts, including a token "
        "that never had a follower in training. This is about the best that counting "
        "pairs can do on text it has not seen."
    ),
)


# --- top_bigrams --------------------------------------------------------------------


def judge_top_bigrams(answer) -> None:
    tokenizer = load_tokenizer(1024)
    model = random_model(0, seed=6, d_vocab=1024, d_model=10, tokenizer=tokenizer)
    for token, k in ((" self", 4), ("return", 3)):
        result = answer(model, token, k)
        row = model(torch.tensor([[model.to_single_token(token)]]))[0, 0].double()
        order = row.argsort(descending=True)[:k]
        words = [tokenizer.decode([int(i)]) for i in order]
        _expect_pairs(result, k)
        expect.true(
            [word for word, _ in result] == words,
            f"After {token!r} the {k} likeliest tokens of the test model are {words}. "
            f"Yours are {[word for word, _ in result]}.",
        )
        values = torch.tensor([float(p) for _, p in result])
        expect.close(
            values,
            row.softmax(0)[order],
            "The tokens are right, their probabilities are not.",
        )


def _expect_pairs(result, k: int) -> None:
    expect.true(
        isinstance(result, list | tuple) and len(result) == k,
        f"The result should be a list of {k} pairs (token, probability).",
    )
    for pair in result:
        expect.true(
            isinstance(pair, list | tuple)
            and len(pair) == 2
            and isinstance(pair[0], str),
            "Each entry should be a pair of a token's string and its probability.",
        )
        expect.number(pair[1])


def _pairs(model, values: Tensor, k: int) -> list[tuple[str, float]]:
    best, ids = values.topk(k)
    words = [model.tokenizer.decode([i]) for i in ids.tolist()]
    return list(zip(words, best.tolist(), strict=True))


def top_by_column(model, token, k=5):
    column = model.W_E @ model.W_U[:, model.to_single_token(token)]
    return _pairs(model, column.softmax(0), k)


def top_logits(model, token, k=5):
    return _pairs(model, model.W_E[model.to_single_token(token)] @ model.W_U, k)


def top_similar(model, token, k=5):
    similar = model.W_E @ model.W_E[model.to_single_token(token)]
    return _pairs(model, similar.softmax(0), k)


def top_least(model, token, k=5):
    row = (model.W_E[model.to_single_token(token)] @ model.W_U).softmax(0)
    values, ids = row.topk(k, largest=False)
    words = [model.tokenizer.decode([i]) for i in ids.tolist()]
    return list(zip(words, values.tolist(), strict=True))


TOP_BIGRAMS = Check(
    name="top_bigrams",
    judge=judge_top_bigrams,
    hints=(
        "You need one row of the direct path, turned into probabilities, and its k "
        "largest entries.",
        "`model.to_single_token(token)` gives the row's number. `torch.topk` gives the "
        "largest values and their places, and the places are token ids.",
        "`row = (model.W_E[i] @ model.W_U).softmax(dim=0)`, "
        "`values, ids = row.topk(k)`, and `model.tokenizer.decode([j])` for each j of "
        "`ids.tolist()` gives the string.",
    ),
    mistakes=(
        Mistake(
            "a column",
            "You read a column: which tokens this one is likely to follow. What comes "
            "next stands in the row.",
            top_by_column,
        ),
        Mistake(
            "logits",
            "These are logits. Take the softmax of the row first.",
            top_logits,
        ),
        Mistake(
            "similar embeddings",
            "You compared embeddings with each other. That finds tokens like this one; "
            "what comes next needs W_U.",
            top_similar,
        ),
        Mistake(
            "smallest",
            "These are the unlikeliest tokens. Sort the other way round.",
            top_least,
        ),
    ),
    passed=(
        "Checked against the logits of a random model for two tokens. The whole table "
        "is never needed: one row of W_E times W_U answers the question."
    ),
)


CHECKS = (BIGRAM_LOG_PROBS, DIRECT_PATH, KL_TO_BIGRAM, KNESER_NEY_LOSS, TOP_BIGRAMS)


PREDICTIONS = (
    Prediction(
        name="zero_layer_sees",
        question=(
            "A zero-layer model reads `def forward(self, x` and predicts the next "
            "token. Which of the tokens before it can change the prediction?"
        ),
        choices=(
            Choice(
                "All of them.",
                "Nothing in this model moves information between positions. Attention "
                "would do that, and there is none.",
            ),
            Choice(
                "Only the last one, ` x`.",
                "Each position is computed from its own token alone.",
            ),
            Choice(
                "The last two.",
                "That would be a trigram model. It needs a way to look one position "
                "back, and without attention there is none.",
            ),
            Choice(
                "None, it always predicts the commonest token.",
                "It would, if it did not read its own position's token. It does: "
                "W_E turns that token into a vector.",
            ),
        ),
        right=1,
    ),
    Prediction(
        name="narrow_model",
        question=(
            "The bigram table of our planted language has 128 rows. What will a "
            "zero-layer model with d_model = 4 learn, compared with d_model = 64?"
        ),
        choices=(
            Choice(
                "The same table, only more slowly.",
                "W_E W_U is a product through d_model numbers, so its rank is at most "
                "d_model. Training longer does not raise it.",
            ),
            Choice(
                "A table of rank at most 4, so a blurred version with a higher loss.",
                "A product through four numbers has rank at most 4. The loss stays "
                "above the floor however long you train.",
            ),
            Choice(
                "Nothing, because 4 is less than 128.",
                "Rank 4 is far from nothing: it can tell apart a few groups of tokens, "
                "and that already lowers the loss.",
            ),
        ),
        right=1,
    ),
    Prediction(
        name="after_import",
        question=(
            "The shipped zero-layer model was trained on Python source. By its weights "
            "alone, which token is likeliest after ` import`?"
        ),
        choices=(
            Choice(
                "` import` itself.",
                "That would need large numbers on the diagonal of W_E W_U. A word "
                "rarely follows itself in Python.",
            ),
            Choice(
                "The start of a module's or a class's name.",
                "After ` import` a name follows. Which one comes first is decided by "
                "how often each was imported in the training text.",
            ),
            Choice(
                "It depends on whether ` from` came before.",
                "It would in real code, but this model cannot see what came before.",
            ),
        ),
        right=1,
    ),
)
