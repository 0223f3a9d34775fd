"""One diagram of every kind and size, with tokens that would break a page.

Called by the tests of the diagrams, on paper and in a browser.
"""

from types import SimpleNamespace

import torch

from utils.pictures import diagrams

__all__ = ["DRAWN", "HOSTILE", "cfg", "normal", "pattern"]

HOSTILE = [
    "</script>",
    "<b>",
    '"&',
    "\n",
    "",
    "数据",
    "a" * 60,
    " x",
    "]]>",
    "{",
    "_{E}",
    "y",
]


def cfg(layers=1, heads=8, model=256, head=32, vocab=4096):
    return SimpleNamespace(
        n_layers=layers, n_heads=heads, d_model=model, d_head=head, d_vocab=vocab
    )


def real_cfg(norm="RMS", heads=9, groups=3, layers=30, **more):
    """A language model's config: SmolLM2's sizes, unless told otherwise."""
    sizes = vars(cfg(layers, heads, 576, 64, 49_152))
    sizes |= {"normalization_type": norm, "n_key_value_heads": groups}
    sizes |= {"positional_embedding_type": "rotary", "d_mlp": 1536}
    sizes |= {"gated_mlp": True, "attn_only": False}
    return SimpleNamespace(**sizes | more)


def pattern(n: int, seed: int = 0):
    scores = torch.rand(n, n, generator=torch.Generator().manual_seed(seed)) * 6
    hidden = torch.ones(n, n).triu(1).bool()
    return scores.masked_fill(hidden, -1e9).softmax(-1)


def normal(*shape: int, seed: int = 0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def induction(tokens, n_before=4):
    """A row in which the last token stood `n_before` places earlier."""
    n = len(tokens)
    return diagrams.induction_circuit(
        tokens, pattern(n), pattern(n, 1), n - 1, ("0.11", "1.10")
    )


REPEATED = [*HOSTILE[:6], *HOSTILE[:6]]
DRAWN = {
    "no layer": lambda: diagrams.model_diagram(cfg(0, 0)),
    "one head": lambda: diagrams.model_diagram(cfg(1, 1, 64, 64, 100)),
    "one layer": lambda: diagrams.model_diagram(cfg()),
    "two layers": lambda: diagrams.model_diagram(cfg(2, 12, 768, 64, 50_257)),
    "four layers": lambda: diagrams.model_diagram(cfg(4, 128, 12_288, 128, 250_000)),
    "own title": lambda: diagrams.model_diagram(cfg(), "<b>" * 60),
    "bus": lambda: diagrams.stream_bus(cfg(2, 8, 12_288, 128), "0.11", "1.10"),
    "halves": lambda: diagrams.head_halves(cfg(2, 8, 12_288, 128), "1.10"),
    "halves, small": lambda: diagrams.head_halves(cfg(1, 1, 4, 2), "h"),
    "tensor product": lambda: diagrams.tensor_product(
        pattern(3), normal(3, 2), normal(2, 2)
    ),
    "tensor product, large": lambda: diagrams.tensor_product(
        pattern(5), -90 * normal(5, 4), normal(4, 3)
    ),
    "product": lambda: diagrams.product(normal(3, 2), normal(2, 4)),
    "product, large": lambda: diagrams.product(
        99 * normal(5, 5), normal(5, 5), ["W_{E}" * 9, "b", "<c>"], "t", "note " * 60
    ),
    "virtual head": lambda: diagrams.virtual_head(pattern(9), pattern(9, 1)),
    "virtual head, long": lambda: diagrams.virtual_head(
        pattern(40), pattern(40, 1), ("0.11" * 9, "1.10")
    ),
    "two patterns": lambda: diagrams.pattern_pair(
        torch.stack([pattern(12), pattern(12, 1)]), HOSTILE, ["0.1", "0.2"], "Two", "n"
    ),
    "two long patterns": lambda: diagrams.pattern_pair(
        [pattern(24), pattern(24, 1)], [*HOSTILE, *HOSTILE], ["a" * 99, "b"], "Two"
    ),
    "paths": lambda: diagrams.paths_to_logit(
        ["direct", "0.0", "0.1"], HOSTILE[:3], torch.tensor([1.0, -2, 0]), "<b>"
    ),
    "many paths": lambda: diagrams.paths_to_logit(
        ["direct", *(f"0.{i}" for i in range(30))],
        ["a" * 40] * 31,
        -99 * normal(31),
        "b" * 80,
    ),
    "lattice": lambda: diagrams.path_lattice(8, [(), ("0.3", "1.2"), ("1.7",)]),
    "lattice, one head": lambda: diagrams.path_lattice(1, [("0.0",)]),
    "lattice, unlit": lambda: diagrams.path_lattice(12),
    "compositions": lambda: diagrams.compositions("0.11", "1.10"),
    "compositions, scored": lambda: diagrams.compositions(
        "0.1", "1.2" * 30, {"Q": 0.01, "K": 0.2, "V": -0.031}
    ),
    "induction": lambda: induction(REPEATED),
    "induction, long": lambda: induction([*"abcdefghijklmnopqrstuvwxyz" * 2]),
    "induction, short": lambda: induction(["a", "a"]),
    "bigram and copy": lambda: diagrams.bigram_and_copy(
        "a" * 30, "<b>", -123.4, "</script>", "0.3", 7.1, 0.32
    ),
    "token flow": lambda: diagrams.token_flow(
        HOSTILE[:8], [100_000 + i for i in range(8)], normal(8, 256)
    ),
    "token flow, one": lambda: diagrams.token_flow(["a"], [0], normal(1, 3)),
    "strips": lambda: diagrams.curve_strips(
        range(100),
        {"<loss>": normal(100), "b" * 60: -1000 * normal(100).abs()},
        (40, 60),
    ),
    "language model": lambda: diagrams.real_layer(real_cfg()),
    "GPT-2": lambda: diagrams.real_layer(
        real_cfg(
            "LNPre",
            16,
            None,
            1,
            d_model=12_288,
            d_mlp=49_152,
            gated_mlp=False,
            positional_embedding_type="standard",
        )
    ),
    "attention only": lambda: diagrams.real_layer(
        real_cfg("LN", 8, None, attn_only=True, d_mlp=None)
    ),
    "LayerNorm folded": lambda: diagrams.norm_folding(real_cfg("LNPre")),
    "RMSNorm folded": lambda: diagrams.norm_folding(real_cfg()),
    "groups": lambda: diagrams.shared_keys(real_cfg()),
    "many groups": lambda: diagrams.shared_keys(real_cfg(heads=16, groups=8)),
    "more heads than fit": lambda: diagrams.shared_keys(real_cfg(heads=32, groups=8)),
    "one group": lambda: diagrams.shared_keys(real_cfg(heads=5, groups=1)),
    "no groups": lambda: diagrams.shared_keys(real_cfg(heads=16, groups=None)),
    "into an MLP": lambda: diagrams.into_mlp(
        ["the embedding", "<b>" * 30, "MLP 14", "head 3.1", "c", "all others"],
        [0.5, -0.21, 0.3, 0.02, 0.0, 0.39],
        "nonlinearity" * 3,
    ),
    "into an MLP, one": lambda: diagrams.into_mlp(["all"], [1.0], "GELU"),
    "strips, flat": lambda: diagrams.curve_strips(
        [0, 5000], {str(i): [0.0, 0.0] for i in range(6)}, (0, 9)
    ),
    "chain": lambda: diagrams.chain(
        [[("stream", "x"), ("ov", "W_{V}"), ("token", "value", "d_head numbers")]],
        "What a head writes",
    ),
    "chain, long": lambda: diagrams.chain(
        [[("head", "</script>" * 9, "_{E}" * 30)] * 6, [("qk", "", "")] * 2],
        "<b>" * 60,
        "note " * 60,
    ),
    "token row": lambda: diagrams.token_row(
        HOSTILE,
        "A row",
        (11, 1, "looks, as <b> came before"),
        [(1, 4, "a"), (5, 9, "b")],
    ),
    "token row, many": lambda: diagrams.token_row(["a" * 40] * 16, "t"),
    "matrices": lambda: diagrams.matrices(
        [normal(3, 2), -90 * normal(5, 4)], ["x", "W_{OV}"], ["stream", "ov"], "Two"
    ),
}
