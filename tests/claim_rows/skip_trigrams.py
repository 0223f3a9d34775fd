"""Skip-trigrams of the shipped one-layer model: found in its weights, then tested.

Candidates come from weights and from how often they can be tested at all; they are
picked by their effect on training text. What is reported is measured on held-out text
only. Used by the rows on one layer.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens import FactoredMatrix
from transformer_lens.model_bridge import TransformerBridge

from solutions.ch3_one_layer import full_ov_circuit, full_qk_circuit
from tests.claim_rows.shared import rows, shipped

__all__ = [
    "Verified",
    "as_frequent",
    "interval",
    "is_copying",
    "stream_at",
    "token_frequencies",
    "verified_skip_trigrams",
]

LEAST, MOST = 20, 60  # held-out rows that are asked for, and that are used
N_CTX = 128  # tokens per row; a source competes with about half of them
SHORTLIST, KEPT = 160, 40
MATCHES = 3  # tokens of about the same frequency that take a source's place

Triple = tuple[int, int, int]  # source, destination, out


@dataclass(frozen=True)
class Verified:
    """A skip-trigram "source ... destination -> out" and what taking it away does.

    `effect` is the mean fall of log P(out), in nats, when every occurrence of the
    source before the destination is replaced by a token of about the same frequency,
    over `count` held-out rows; `low` and `high` bound it with 95 % (bootstrap over
    rows). The control does the same to another token of each context, which stands
    there about as often.
    """

    source: str
    destination: str
    out: str
    count: int
    effect: float
    low: float
    high: float
    control: float
    control_low: float
    control_high: float

    @property
    def holds(self) -> bool:
        """Half a nat or more for the source, and clearly less for the control."""
        enough = self.count >= LEAST and self.effect >= 0.5 and self.low > 0
        return enough and self.control_high < min(0.5, self.low)


@cache
def verified_skip_trigrams(name: str = "one_layer") -> tuple[Verified, ...]:
    """The candidates of a shipped model, tested on held-out text."""
    model = shipped(name)
    return tuple(_test(model, triple) for triple in _candidates(name))


def is_copying(source: str, out: str) -> bool:
    """Whether one token is the other, or a part or a variant of it."""
    one, two = source.strip().lower(), out.strip().lower()
    return one == two or bool(one and two and (one in two or two in one))


@cache
def _candidates(name: str) -> tuple[Triple, ...]:
    """Non-copying triples: scored by weights, tried on training text, best first."""
    model = shipped(name)
    scored = sorted(_scored(model), reverse=True)
    found = []
    for _, triple in _spread(scored, 4)[:SHORTLIST]:
        tokens, places = _occurrences(rows("train", N_CTX)[::4], triple, LEAST)
        if len(tokens) >= LEAST:
            now = _log_probs(model, tokens, places, triple[2])
            effect = _source_effects(model, tokens, places, triple, now, matches=1)
            found.append((effect.mean().item(), triple))
    return tuple(t for _, t in _spread(sorted(found, reverse=True), 2)[:KEPT])


def _spread(scored: list[tuple[float, Triple]], most: int) -> list:
    """The list without what a source has beyond its first `most` entries."""
    kept, used = [], {}
    for score, triple in scored:
        used[triple[0]] = used.get(triple[0], 0) + 1
        if used[triple[0]] <= most:
            kept.append((score, triple))
    return kept


# --- reading weights ----------------------------------------------------------------


def _scored(model: TransformerBridge) -> Iterator[tuple[float, Triple]]:
    """Triples that occur in enough held-out rows, with a score from the weights.

    The score is the sum over heads of the attention that one source draws among
    half a row, times what it then adds to the out token's logit.
    """
    text, heads = rows("heldout", N_CTX), range(model.cfg.n_heads)
    words = [model.tokenizer.decode([i]) for i in range(model.cfg.d_vocab)]
    W_U = model.W_U - model.W_U.mean(dim=1, keepdim=True)
    read = torch.stack([full_ov_circuit(model, 0, head).A for head in heads])
    write = torch.stack([model.W_O[0, head] @ W_U for head in heads])
    last, attention = None, None
    for destination, out, where in _frequent_pairs(text):
        if destination != last:
            last, attention = destination, _attention(model, destination)
        score = (attention * (read @ write[:, :, out, None])[..., 0]).sum(0)
        score[_rows_with_source(text, where, len(words)) < LEAST] = 0
        score[destination] = 0
        for source in score.topk(12).indices.tolist():
            if score[source] > 0 and not is_copying(words[source], words[out]):
                yield score[source].item(), (source, destination, out)


def _attention(model, destination: int) -> Float[Tensor, "head key"]:
    """What one occurrence of each key draws among half a row, positions aside."""
    frequencies = token_frequencies()
    scores = []
    for qk in _qk_circuits(model):
        score = qk.A[destination] @ qk.B / model.cfg.d_head**0.5
        scores.append(score - (score + frequencies.log()).logsumexp(0))
    factor = torch.stack(scores).exp()
    return factor / (factor + N_CTX / 2)


@cache
def _qk_circuits(model: TransformerBridge) -> list[FactoredMatrix]:
    return [full_qk_circuit(model, 0, head) for head in range(model.cfg.n_heads)]


@cache
def token_frequencies() -> Float[Tensor, "d_vocab"]:
    """Share of each token in the training text; unseen ones count as seen once."""
    text = rows("train")[:, 1:].flatten()
    counts = text.bincount(minlength=shipped("one_layer").cfg.d_vocab).clamp(min=1)
    return counts / counts.sum()


def _frequent_pairs(text: Tensor) -> Iterator[tuple[int, int, Tensor]]:
    """Each pair of neighbours that stands in at least LEAST rows, with its places."""
    width = text.shape[1]
    d_vocab = int(text.max()) + 1
    codes = (text[:, 2:-1] * d_vocab + text[:, 3:]).flatten()
    order = codes.argsort(stable=True)
    pairs, counts = codes[order].unique_consecutive(return_counts=True)
    for code, where in zip(pairs.tolist(), order.split(counts.tolist()), strict=True):
        if len(where) < LEAST:
            continue
        row, place = where // (width - 3), where % (width - 3) + 2
        first = torch.ones_like(row, dtype=torch.bool)
        first[1:] = row[1:] != row[:-1]
        if first.sum() >= LEAST:
            places = torch.stack([row[first], place[first]], 1)[: 3 * MOST]
            yield code // d_vocab, code % d_vocab, places


def _rows_with_source(text: Tensor, where: Tensor, d_vocab: int) -> Tensor:
    """In how many of these places each token stands before, but not right before."""
    row, place = where.T
    contexts = text[row]
    far = torch.arange(text.shape[1]) < place[:, None] - 1
    there = torch.zeros(len(row), d_vocab, dtype=torch.bool)
    there.scatter_(1, torch.where(far, contexts, 0), True)
    there[torch.arange(len(row)), contexts[torch.arange(len(row)), place - 1]] = False
    there[:, 0] = False
    return there.sum(0)


# --- testing on text ----------------------------------------------------------------


def _occurrences(
    text: Tensor, triple: Triple, most: int
) -> tuple[Int[Tensor, "row pos"], Int[Tensor, "row"]]:
    """Rows with the source somewhere, a gap, the destination and the out token.

    One place per row, the first; the source does not stand right before it.
    """
    source, destination, out = triple
    here = (text[:, 2:-1] == destination) & (text[:, 3:] == out)
    possible = here.any(1).nonzero()[:, 0]
    text, here = text[possible], here[possible]
    seen = (text == source).cumsum(1)[:, :-3] > 0
    here &= seen & (text[:, 1:-2] != source)
    chosen = here.any(1).nonzero()[:, 0]
    # Spread over the text, so that one file does not decide.
    chosen = chosen[:: max(1, len(chosen) // most)][:most]
    return text[chosen], here[chosen].int().argmax(1) + 2


def _log_probs(model, tokens, places, out: int) -> Float[Tensor, "row"]:
    """log P(out) at one place of each row."""
    logits = stream_at(model, tokens, places) @ model.W_U
    return logits[:, out] - logits.logsumexp(dim=-1)


def stream_at(
    model: TransformerBridge, tokens: Int[Tensor, "row pos"], places: Int[Tensor, "row"]
) -> Float[Tensor, "row d_model"]:
    """The last stream of a one-layer model at one place of each row.

    One layer reads embeddings, so what a token asks, answers and gives stands in
    tables, and only one query is looked at: a thousandth of a whole forward pass.
    """
    of_token, of_place, given = _tables(model)
    last = model.W_E[tokens[torch.arange(len(tokens)), places]]
    placed = last + model.W_pos[places]
    queries = torch.einsum("rd,hde->rhe", placed, model.W_Q[0])
    keys = of_token[tokens] + of_place[: tokens.shape[1]]
    scores = torch.einsum("rhe,rphe->rhp", queries, keys) / model.cfg.d_head**0.5
    later = torch.arange(tokens.shape[1]) > places[:, None]
    pattern = scores.masked_fill(later[:, None], -torch.inf).softmax(-1)
    z = torch.einsum("rhp,rphe->rhe", pattern, given[tokens])
    return last + torch.einsum("rhe,hed->rd", z, model.W_O[0])


@cache
def _tables(model: TransformerBridge) -> tuple[Tensor, Tensor, Tensor]:
    """Keys of each token and of each place, values of each token, of all heads."""
    one, two = "td,hde->the", (model.W_K[0], model.W_V[0])
    keys, values = (torch.einsum(one, model.W_E, weight) for weight in two)
    return keys, torch.einsum(one, model.W_pos, model.W_K[0]), values


def as_frequent(token: int, forbidden: set[int], count: int) -> list[int]:
    """The tokens whose frequency in the training text is nearest to this one's."""
    logs = token_frequencies().log()
    distance = (logs - logs[token]).abs()
    distance[[token, *forbidden]] = torch.inf
    return distance.argsort(stable=True)[:count].tolist()


def _source_effects(
    model, tokens, places, triple: Triple, now: Tensor, matches: int = MATCHES
) -> Float[Tensor, "row"]:
    """How far log P(out) falls from `now` without the source, mean of replacements."""
    source, _, out = triple
    before = torch.arange(tokens.shape[1]) < places[:, None]
    hit = before & (tokens == source)
    falls = [
        now - _log_probs(model, torch.where(hit, other, tokens), places, out)
        for other in as_frequent(source, {0, *triple}, matches)
    ]
    return torch.stack(falls).mean(0)


def _control_effects(
    model, tokens, places, triple: Triple, now: Tensor
) -> Float[Tensor, "row"]:
    """The same when another token is replaced, one that stands there as often."""
    changed = tokens.clone()
    for i, place in enumerate(places.tolist()):
        context = tokens[i, :place]
        other = _bystander(context, triple)
        (replacement,) = as_frequent(other, {0, *triple}, 1)
        changed[i, :place] = torch.where(context == other, replacement, context)
    return now - _log_probs(model, changed, places, triple[2])


def _bystander(context: Int[Tensor, "pos"], triple: Triple) -> int:
    """A token of the context that is about as common as the source, here and overall.

    Not the last one before the destination, which bigrams and trigrams depend on.
    """
    ids, counts = context[1:-1].unique(return_counts=True)
    free = torch.tensor([t not in {0, *triple, int(context[-1])} for t in ids.tolist()])
    if not free.any():
        return int(context[-1])
    ids, counts = ids[free], counts[free]
    logs = token_frequencies().log()
    times = (context == triple[0]).sum()
    distance = (counts.log() - times.log()).abs() + (logs[ids] - logs[triple[0]]).abs()
    return int(ids[distance.argmin()])


def interval(values: Float[Tensor, "row"], n: int = 2000) -> tuple[float, float]:
    """A 95 % bootstrap interval of the mean."""
    generator = torch.Generator().manual_seed(0)
    picks = torch.randint(len(values), (n, len(values)), generator=generator)
    low, high = values[picks].mean(1).quantile(torch.tensor([0.025, 0.975])).tolist()
    return low, high


def _test(model: TransformerBridge, triple: Triple) -> Verified:
    tokens, places = _occurrences(rows("heldout", N_CTX), triple, MOST)
    now = _log_probs(model, tokens, places, triple[2])
    effect = _source_effects(model, tokens, places, triple, now)
    control = _control_effects(model, tokens, places, triple, now)
    return Verified(
        *(model.tokenizer.decode([i]) for i in triple),
        len(tokens),
        effect.mean().item(),
        *interval(effect),
        control.mean().item(),
        *interval(control),
    )
