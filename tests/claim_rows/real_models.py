"""Rows F-140, F-141 and F-148: MLPs, convolutions and norms, on the shipped GPT-2.

Besides the induction circuit in models with MLPs: F-84, F-107 and O-52. What is
measured on SmolLM2 needs it fetched; else its rows are "not measured".
"""

from functools import cache, partial

import torch
import torch.nn.functional as F

from solutions.ch5_induction_heads import repeated_tokens
from solutions.ch7_real_models import (
    composition_graph,
    fold_layer_norm,
    grouped_heads,
    induction_scores,
    mlp_path_terms,
)
from tests.claim_rows import Claim
from utils.models.real import load_real_model, start_id, weights_of
from utils.text.corpus import stdlib_corpus

__all__ = ["CLAIMS"]


@cache
def model(folded: bool = True):
    return load_real_model("small_gpt2", folded=folded)


def text():
    return stdlib_corpus(1024).rows("heldout", 128)[3:7, :60].long()


def mlp_paths() -> dict[str, float]:
    _, cached = model().run_with_cache(text())
    off = []
    for layer in range(model().cfg.n_layers):
        into = cached[f"blocks.{layer}.mlp.hook_pre"]
        terms = mlp_path_terms(model(), text(), layer)
        off.append(((terms.sum(0) - into).abs().max() / into.abs().max()).item())
    return {"off": max(off), "terms": len(terms)}


def convolution() -> dict[str, float]:
    """A kernel of five, as five heads that each look a fixed way back."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 7, generator=generator, dtype=torch.float64)
    kernel = torch.randn(5, 7, 3, generator=generator, dtype=torch.float64)
    padded = F.pad(x.T[None], (4, 0))
    theirs = F.conv1d(padded, kernel.permute(2, 1, 0).flip(-1))[0].T
    ours = torch.zeros_like(theirs)
    for back, W in enumerate(kernel):
        A = torch.eye(40, dtype=torch.float64).roll(back, dims=0).tril()
        ours += A @ x @ W
    return {"off": (ours - theirs).abs().max().item()}


def folding() -> dict[str, float]:
    raw, folded = model(folded=False), model()
    log_probs = [m(text()).log_softmax(-1) for m in (raw, folded)]
    ours, theirs = fold_layer_norm(weights_of(raw)), weights_of(folded)
    # The library also moves value biases into b_O and takes the mean off W_U's rows.
    others = ours.keys() - {"b_V", "b_O", "W_U", "b_U"}
    whole = _loss(folded)
    return {
        "off": (log_probs[0] - log_probs[1]).abs().max().item(),
        "weights": max((ours[n] - theirs[n]).abs().max().item() for n in others),
        "frozen": _loss(folded, freeze=True) - whole,
        "whole": whole,
    }


def _loss(m, freeze: bool = False) -> float:
    hooks = []
    if freeze:
        names = [name for name in m.hook_dict if name.endswith("hook_scale")]
        hooks = [(name, lambda s, hook: s.mean((0, 1), True) + 0 * s) for name in names]
    log_probs = m.run_with_hooks(text(), fwd_hooks=hooks)[:, :-1].log_softmax(-1)
    return -log_probs.gather(-1, text()[:, 1:, None]).mean().item()


# --- the circuit (F-84, F-107, O-52) --------------------------------------------------

Place = tuple[int, int]
SPAN = 40


@cache
def real(name: str):
    return model() if name == "small_gpt2" else load_real_model(name, folded=True)


def repeats(m, batch: int) -> torch.Tensor:
    rows = repeated_tokens(m.cfg.d_vocab, SPAN, batch=batch)
    rows[:, 0] = start_id(m)
    return rows


@cache
def matching(name: str, batch: int) -> torch.Tensor:
    """`induction_scores` on that many repeats."""
    return induction_scores(real(name), repeats(real(name), batch))


def second_copy(m, rows, hooks=()) -> float:
    log_probs = m.run_with_hooks(rows, fwd_hooks=list(hooks))[:, :-1].log_softmax(-1)
    losses = -log_probs.gather(-1, rows[:, 1:, None]).squeeze(-1)
    return losses[:, SPAN + 1 :].mean().item()


def written_by(m, rows, source: Place) -> torch.Tensor:
    name = f"blocks.{source[0]}.attn.hook_z"
    _, cached = m.run_with_cache(rows, names_filter=name)
    return cached[name][:, :, source[1]] @ weights_of(m)["W_O"][source]


def hidden(m, rows, source: Place, targets: list[Place], into: str):
    """Hooks: W_Q or W_K of the targets' groups does not see what the source wrote."""
    written, W = written_by(m, rows, source), weights_of(m)[f"W_{into.upper()}"]
    size = m.cfg.n_heads // W.shape[1]
    scales = {layer: f"blocks.{layer}.ln1.hook_scale" for layer, _ in targets}
    _, cached = m.run_with_cache(
        rows, names_filter=lambda name: name in scales.values()
    )

    def without(values, hook, layer, own):
        kept = values.clone()
        for group in own:
            kept[:, :, group] -= written / cached[scales[layer]] @ W[layer, group]
        return kept

    return [
        (
            f"blocks.{layer}.attn.hook_{into}",
            partial(
                without,
                layer=layer,
                own={h // size for at, h in targets if at == layer},
            ),
        )
        for layer in scales
    ]


def hidden_from_mlps(m, rows, source: Place, last: int):
    written = written_by(m, rows, source)
    return [
        (f"blocks.{layer}.ln2.hook_in", lambda stream, hook: stream - written)
        for layer in range(source[0], last)
    ]


def silent(place: Place):
    def cut(z, hook):
        kept = z.clone()
        kept[:, :, place[1]] = 0.0
        return kept

    return [(f"blocks.{place[0]}.attn.hook_z", cut)]


def best_before(values: torch.Tensor, layer: int) -> Place:
    """The head with the largest score in earlier layers."""
    return divmod(int(values[:layer].argmax()), values.shape[1])


def three_ways() -> dict[str, float]:
    """By which way small_gpt2's induction heads hear what stood before a key."""
    m = real("small_gpt2")
    rows, scores = repeats(m, 8), matching("small_gpt2", 8)
    heads = [tuple(at) for at in (scores[0] > scores[0].max() / 2).nonzero().tolist()]
    first = min(heads)[0]
    carrier, copies = (best_before(scores[i], first) for i in (1, 2))
    whole = sum(scores[0][at] for at in heads).item()

    def kept(hooks) -> float:
        with m.hooks(fwd_hooks=hooks):
            left = induction_scores(m, rows)[0]
        return sum(left[at] for at in heads).item() / whole

    return {
        "key": kept(hidden(m, rows, carrier, heads, "k")),
        "query": kept(hidden(m, rows, copies, heads, "q")),
        "mlps": kept(hidden_from_mlps(m, rows, carrier, max(heads)[0])),
    }


def named_from_weights() -> dict[str, float]:
    """The strongest sender of SmolLM2's induction heads, and what its cut does."""
    m = real("smollm2")
    rows, scores = repeats(m, 2), matching("smollm2", 2)
    heads = [tuple(at) for at in (scores[0] > scores[0].max() / 2).nonzero().tolist()]
    graph = composition_graph(grouped_heads(weights_of(m)), "k")
    toward = torch.stack([graph[:, :, a, b] for a, b in heads]).mean(0)
    sender = best_before(toward, len(toward))
    later = [at for at in heads if at[0] > sender[0]]
    best = graph[:, :, 17, 3].flatten().topk(2).values
    base, below = second_copy(m, rows), [at for at in ((16, 4), (14, 3), (11, 1))]
    return {
        "layer": sender[0],
        "head": sender[1],
        "rank": int((scores[1] > scores[1][sender]).sum()) + 1,
        "ratio": (best[0] / best[1]).item(),
        "base": base,
        "cut": second_copy(m, rows, silent(sender)),
        "keys": second_copy(m, rows, hidden(m, rows, sender, later, "k")),
        "controls": max(second_copy(m, rows, silent(at)) for at in below),
    }


def copying_by_behaviour(m, place: Place) -> float:
    """`copying_head_score` of chapter 5, also where heads share their values."""
    layer, head = place
    rows = repeats(m, 2)[:, : SPAN + 1]
    name = f"blocks.{layer}.attn.hook_v"
    _, cached = m.run_with_cache(rows, names_filter=name)
    size = m.cfg.n_heads // cached[name].shape[2]
    W_U = weights_of(m)["W_U"]
    W_U = W_U[:, rows.unique()] - W_U.mean(dim=1, keepdim=True)
    values = cached[name][:, 1:, head // size]
    raised = (values @ weights_of(m)["W_O"][place] @ W_U).clamp(min=0)
    columns = torch.searchsorted(rows.unique(), rows.contiguous())
    raised = raised.gather(-1, columns[:, None, 1:].expand(-1, SPAN, -1))
    return (raised.diagonal(dim1=1, dim2=2).sum() / raised.sum()).item()


def copy_and_match(name: str, batch: int, n_best: int) -> dict[str, float]:
    """Both scores of the heads that match prefixes best, by behaviour."""
    m = real(name)
    looked = matching(name, batch)[0]
    best = looked.flatten().topk(n_best + 4).indices.tolist()
    ranked = [divmod(at, m.cfg.n_heads) for at in best]
    places, following = ranked[:n_best], ranked[n_best:]
    found = [copying_by_behaviour(m, place) for place in places]
    others = [(layer, 0) for layer in range(0, m.cfg.n_layers, 3)]
    others = [copying_by_behaviour(m, at) for at in others if at not in ranked]
    return {
        "matching": min(looked[at].item() for at in places),
        "top": looked.max().item(),
        "lowest": min(found),
        "highest": max(found),
        "next": max(copying_by_behaviour(m, place) for place in following),
        "others": max(others),
        "chance": 1 / SPAN,
    }


CLAIMS = (
    Claim(
        row="F-84",
        statement="In SmolLM2 too the largest K-composition with the induction heads "
        "is that of a previous-token head, and induction needs it.",
        paper="two layers: one first-layer head, into some second-layer heads",
        measure=named_from_weights,
        ours="weights name {layer:.0f}.{head:.0f}, previous-token rank {rank:.0f} of "
        "270, {ratio:.1f} times the next for 17.3; second copy {base:.2f} nats, "
        "without it {cut:.2f}, hidden from keys only {keys:.2f}, controls at most "
        "{controls:.2f}",
        conditions={
            "the sender looks one back most of all": lambda n: n["rank"] == 1,
            "twice the next for head 17.3": lambda n: n["ratio"] > 2,
            "its cut costs 4 nats": lambda n: n["cut"] > n["base"] + 4,
            "so does the K edge alone": lambda n: n["keys"] > n["base"] + 4,
            "controls cost less than 1": lambda n: n["controls"] < n["base"] + 1,
        },
        reason="Norms are folded, rotary positions left aside. The weights are those "
        "of a model that nobody here trained, rounded to 4 bits.",
        needs=("smollm2",),
        rests_on="draws",
    ),
    Claim(
        row="F-107",
        statement="With positions in the stream and MLPs a third way is open: what "
        "stood before a key reaches it through MLPs.",
        paper="K-composition, or pointer arithmetic by Q-composition",
        measure=three_ways,
        ours="prefix matching kept in small_gpt2: {key:.0%} with the previous-token "
        "head hidden from keys, {query:.0%} with the duplicate-token head hidden from "
        "queries, {mlps:.0%} with the former hidden from MLPs",
        conditions={
            "the key's edge is not needed": lambda n: n["key"] > 0.75,
            "nor is the query's, no pointer": lambda n: n["query"] > 0.75,
            "the way through MLPs is": lambda n: n["mlps"] < 0.25,
        },
        reason="One shipped model; another training may choose another way.",
        rests_on="draws",
    ),
    Claim(
        row="O-52",
        statement="The heads that match prefixes best also copy, by behaviour.",
        paper="large models: copying / matching .89/.75 (literal), .20/.85 "
        "(translation), .69/.94 (pattern)",
        measure=partial(copy_and_match, "small_gpt2", 8, n_best=4),
        ours="small_gpt2, its four best: matching from {matching:.2f} to {top:.2f}, "
        "copying {lowest:.2f} to {highest:.2f}; others at most {others:.2f}, chance "
        "{chance:.2f}",
        conditions={
            "matching over .5": lambda n: n["matching"] > 0.5,
            "copying of each over .5": lambda n: n["lowest"] > 0.5,
        },
        reason="Taught for large models. Copying here is what a head adds to the "
        "attended token's logit on its own, as its share of all it raises: several "
        "times chance, and less than half. W_U is read behind no further layer.",
        expected="partly",
        rests_on="draws",
    ),
    Claim(
        row="O-52",
        statement="In SmolLM2 the three heads that match prefixes best do not copy by "
        "this measure, and of the next four none copies by half.",
        paper="as above: matching heads that hardly copy literally are reported",
        measure=partial(copy_and_match, "smollm2", 8, n_best=3),
        ours="its three best: matching from {matching:.2f} to {top:.2f}, copying "
        "{lowest:.2f} to {highest:.2f}; the next four copy {next:.2f} at most, others "
        "{others:.2f}, chance {chance:.2f}",
        conditions={
            "matching over .5": lambda n: n["matching"] > 0.5,
            "copying of each under .2": lambda n: n["highest"] < 0.2,
            "copying of the next under .5": lambda n: n["next"] < 0.5,
        },
        reason="The model does continue repeats, so copying happens, but what a head "
        "writes passes later layers, and the measure reads W_U at once. Which head is "
        "fourth depends on the draw: five match half the time, and two of those copy "
        "by a sixth and a quarter. No head was tried on translations or patterns.",
        needs=("smollm2",),
        rests_on="draws",
    ),
    Claim(
        row="F-140",
        statement="What enters an MLP's nonlinearity is a sum over paths.",
        paper="exact",
        measure=mlp_paths,
        ours="{terms:.0f} terms in the last layer, off by {off:.0e} of the largest",
        conditions={"off by less than 1e-4": lambda n: n["off"] < 1e-4},
        reason="Everything up to the nonlinearity is linear, with the scales of the "
        "text held.",
    ),
    Claim(
        row="F-141",
        statement="A convolution is a sum of heads with fixed patterns.",
        paper="exact (Cordonnier et al.)",
        measure=convolution,
        ours="off by {off:.0e}",
        conditions={"off by less than 1e-6": lambda n: n["off"] < 1e-6},
        reason="Each entry of the kernel is a head that looks a fixed way back.",
        rests_on="draws",
    ),
    Claim(
        row="F-148",
        statement="All of LayerNorm but its division folds into the weights.",
        paper="all but the variance scaling",
        measure=folding,
        ours="log-probabilities {off:.0e} apart, weights {weights:.0e} from the "
        "library's; with all scales frozen {frozen:+.2f} nats on {whole:.2f}",
        conditions={
            "log-probabilities less than 1e-3 apart": lambda n: n["off"] < 1e-3,
            "the library's weights, to 1e-4": lambda n: n["weights"] < 1e-4,
            "freezing the division costs something": lambda n: n["frozen"] > 0.1,
        },
        reason="The identity is exact; float32 rounds in another order. The division "
        "depends on the text, so no weight can take it up.",
    ),
)
