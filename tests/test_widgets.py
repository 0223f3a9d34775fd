"""The explorers: what they compute, what they draw, and what they say to bad input."""

import re
import threading
import time
from html.parser import HTMLParser

import pytest
import torch
from transformer_lens import FactoredMatrix

from utils import widgets
from utils.models.handmade import induction_model, random_model
from utils.pictures import view_parts
from utils.text.tokenizer import load_tokenizer
from utils.widgets import (
    circuits,
    composition,
    dials,
    ledgers,
    microscope,
    parts,
    patterns,
    typed,
)

TEXT = "def add(self, name):\n    self.name = name"
HOSTILE = "</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def model():
    """Two layers of random weights that read Python with a small vocabulary."""
    tokenizer = load_tokenizer(1024)
    return random_model(2, seed=3, d_vocab=1024, n_ctx=40, tokenizer=tokenizer)


@pytest.fixture(scope="module")
def bare():
    """A model without a tokenizer: its tokens are numbers."""
    return random_model(2, seed=4)


def qk(model, layer, head):
    left = model.W_E @ model.W_Q[layer, head]
    return FactoredMatrix(left, model.W_K[layer, head].T @ model.W_E.T)


def ov(model, layer, head):
    left = model.W_E @ model.W_V[layer, head]
    return FactoredMatrix(left, model.W_O[layer, head] @ model.W_U)


def decompose(model, tokens):
    _, cache = model.run_with_cache(tokens)
    parts = [cache["hook_embed"]]
    for layer in range(model.cfg.n_layers):
        for head in range(model.cfg.n_heads):
            z = cache["z", layer][:, :, head]
            parts.append(z @ model.W_O[layer, head])
    return torch.stack(parts)


def k_scores(model):
    """Norms of products, pair by pair."""
    table = torch.zeros(model.cfg.n_heads, model.cfg.n_heads)
    for i in range(model.cfg.n_heads):
        for j in range(model.cfg.n_heads):
            first = model.W_V[0, i] @ model.W_O[0, i]
            table[i, j] = (first @ model.W_K[1, j]).norm()
    return table


def v_scores(model):
    layers, heads = model.cfg.n_layers, model.cfg.n_heads
    numbers = torch.arange(float(layers * heads * layers * heads))
    return numbers.view(layers, heads, layers, heads) / len(numbers)


def path_terms(model, tokens):
    """Every path of two layers, with the model's own patterns held fixed."""
    _, cache = model.run_with_cache(tokens)
    heads = range(model.cfg.n_heads)

    def through(layer, head, x):
        moved = cache["pattern", layer][:, head] @ x
        return moved @ model.W_V[layer, head] @ model.W_O[layer, head]

    x = cache["hook_embed"]
    first = [through(0, i, x) for i in heads]
    both = [through(1, j, f) for f in first for j in heads]
    second = [through(1, j, x) for j in heads]
    return torch.stack([x, *first, *second, *both]) @ model.W_U


ALL = ["circuit", "pattern", "ledger", "dials", "composition", "paths", "microscope"]
WITH_TEXT = ALL[1:]


class Tags(HTMLParser):
    """The tags of a page and the words between them."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.words = [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)


def controls(explorer):
    return {
        c.description: c
        for row in explorer.rows
        for c in row
        if hasattr(c, "description")
    }


def make_all(model):
    return {
        "circuit": widgets.circuit_browser(model, qk, ov, source="self"),
        "pattern": widgets.pattern_browser(model, TEXT),
        "ledger": widgets.residual_ledger(model, decompose, TEXT),
        "dials": widgets.head_dials(model, TEXT),
        "composition": widgets.composition_browser(
            model, {"K": k_scores, "V": v_scores}, TEXT
        ),
        "paths": widgets.path_ledger(model, path_terms, TEXT),
        "microscope": widgets.induction_microscope(model, 1, 2, TEXT),
    }


# --- what they compute ---------------------------------------------------------------


@pytest.mark.parametrize("dense", [False, True])
def test_a_head_dump_is_found_by_looking_at_every_entry(bare, dense):
    circuits_ = [function(bare, 1, 2) for function in (qk, ov)]
    given = [m.AB for m in circuits_] if dense else circuits_
    dump = circuits.head_dump(*given, source=5, k=4)
    table_qk, table_ov = (m.AB.double() for m in circuits_)
    d_vocab = len(table_qk)
    drawn = {}
    for query in range(d_vocab):
        mean = sum(float(table_qk[query, key]) for key in range(d_vocab)) / d_vocab
        drawn[query] = float(table_qk[query, 5]) - mean
    written = {out: float(table_ov[5, out]) for out in range(d_vocab)}
    best = sorted(drawn, key=drawn.get, reverse=True)[:4]
    assert [i for i, _ in dump.destinations] == best
    assert [v for _, v in dump.destinations] == pytest.approx(
        [drawn[i] for i in best], abs=1e-4
    )
    outs = sorted(written, key=written.get, reverse=True)
    assert [i for i, _ in dump.outputs] == outs[:4]
    mean = sum(written.values()) / d_vocab
    assert dump.outputs[0][1] == pytest.approx(written[outs[0]] - mean, abs=1e-4)
    assert dump.own_rank == outs.index(5) + 1


def test_a_dump_among_some_tokens_keeps_their_values(bare):
    whole = circuits.head_dump(qk(bare, 1, 2), ov(bare, 1, 2), 5, k=13)
    some = torch.tensor([12, 3, 7, 0])
    few = circuits.head_dump(qk(bare, 1, 2), ov(bare, 1, 2), 5, k=13, among=some)
    for all_, kept in (
        (whole.destinations, few.destinations),
        (whole.outputs, few.outputs),
    ):
        assert kept == [pair for pair in all_ if pair[0] in some.tolist()]
    assert few.own_rank == whole.own_rank


def test_a_shift_of_a_query_row_changes_no_dump(bare):
    table, outputs = qk(bare, 0, 1).AB, ov(bare, 0, 1)
    shift = 50 * torch.randn(len(table), 1)
    before = circuits.head_dump(table, outputs, 3)
    after = circuits.head_dump(table + shift, outputs, 3)
    assert [i for i, _ in before.destinations] == [i for i, _ in after.destinations]
    raw = (table + shift)[:, 3].topk(10).indices.tolist()
    assert raw != [i for i, _ in before.destinations]  # the misconception shows here


def test_the_full_circuit_is_never_built(model, monkeypatch):
    def refuse(self):
        raise AssertionError("d_vocab x d_vocab was built")

    monkeypatch.setattr(FactoredMatrix, "AB", property(refuse))
    explorer = widgets.circuit_browser(model, qk, ov, source="self")
    assert "Head 0.0 and the source token self" in explorer.description


def test_patterns_of_a_layer_by_hook_and_by_function(bare):
    tokens = torch.tensor([[0, 4, 9, 2, 2]])

    def by_hand(model, tokens, layer, head):
        _, cache = model.run_with_cache(tokens)
        x = cache["resid_pre", layer] + model.W_pos[:5]
        scores = (x @ model.W_Q[layer, head]) @ (x @ model.W_K[layer, head]).mT / 2
        return scores.masked_fill(torch.ones(5, 5).triu(1) > 0, -1e9).softmax(-1)

    own = patterns.layer_patterns(bare, tokens, 1)
    given = patterns.layer_patterns(bare, tokens, 1, by_hand)
    assert own.shape == (3, 5, 5)
    torch.testing.assert_close(own, given)


def test_a_ledger_adds_up_to_the_logit(bare):
    tokens = torch.tensor([[0, 4, 9, 2]])
    logits = bare(tokens)[0]
    stack = decompose(bare, tokens)[:, 0]
    reading = ledgers.Reading(tokens[0], list("abcd"), stack, logits)
    entry = ledgers.ledger_entry(reading, bare.W_U, position=2, token=7)
    values = [float(x) for x in logits[2].double()]
    over_mean = values[7] - sum(values) / len(values)
    assert float(entry.parts.sum()) == pytest.approx(over_mean, abs=1e-4)
    assert entry.rest == pytest.approx(0, abs=1e-4)
    assert entry.rank == sorted(values, reverse=True).index(values[7]) + 1
    total = sum(torch.tensor(v).exp().item() for v in values)
    assert entry.probability == pytest.approx(
        torch.tensor(values[7]).exp().item() / total, rel=1e-4
    )
    for part in range(len(stack)):
        to_each = [float(stack[part, 2] @ bare.W_U[:, t]) for t in range(13)]
        expected = to_each[7] - sum(to_each) / 13
        assert float(entry.parts[part]) == pytest.approx(expected, abs=1e-4)


def test_a_ledger_shows_what_a_decomposition_leaves_out(model):
    whole = widgets.residual_ledger(model, decompose, TEXT)
    short = widgets.residual_ledger(model, lambda m, t: decompose(m, t)[1:], TEXT)
    assert "unexplained" not in whole.html
    assert "unexplained" in short.html


@pytest.mark.parametrize(
    "scales", [{(0, 1): 0.0}, {(0, 2): 0.3, (1, 0): 0.0}, {}, {(1, 2): 1.0}]
)
def test_turned_down_heads_against_weights_turned_down(bare, scales):
    from utils.models.handmade import with_weights

    tokens = torch.tensor([[0, 4, 9, 2, 7]])
    factors, W_O = torch.ones(2, 3), bare.W_O.clone()
    for (layer, head), value in scales.items():
        factors[layer, head] = value
        W_O[layer, head] = W_O[layer, head] * value
    expected = with_weights(bare, {"W_O": W_O})(tokens)
    before = bare(tokens)
    got = dials.scaled_run(bare, tokens, factors)
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)
    assert torch.equal(bare(tokens), before)  # no hook stays behind


def test_an_outcome_is_the_loss_of_each_token(bare):
    tokens = torch.tensor([0, 4, 9, 2])
    logits = bare(tokens[None])[0]
    got = dials.outcome(logits, tokens, position=1, k=3)
    for i in range(3):
        shares = logits[i].double().exp() / logits[i].double().exp().sum()
        expected = -shares[tokens[i + 1]].log()
        assert float(got.losses[i]) == pytest.approx(float(expected), abs=1e-4)
    shares = (logits[1].double().exp() / logits[1].double().exp().sum()).tolist()
    best = sorted(range(13), key=shares.__getitem__, reverse=True)[:3]
    assert [i for i, _ in got.guesses] == best
    assert [p for _, p in got.guesses] == pytest.approx([shares[i] for i in best])


def test_blue_is_a_loss_that_rose_and_orange_one_that_fell():
    """As in every figure: blue is more of the number that the legend names."""
    losses = torch.tensor([1.0, 1.0, 1.0])
    before = dials.Outcome(losses, [(0, 0.5)])
    after = dials.Outcome(losses + torch.tensor([2.0, -2.0, 0.0]), [(0, 0.5)])
    names = {0: "a"}
    page = dials.draw_outcome(before, after, ["0.1"], list("abcd"), 0, names)
    colors = re.findall(r"background:#(\w\w)(\w\w)(\w\w)", page.html)[1:4]
    red_less_blue = [int(red, 16) - int(blue, 16) for red, _, blue in colors]
    assert red_less_blue[0] < 0 < red_less_blue[1] and red_less_blue[2] == 0
    assert "Blue: it rose" in page.html and "Orange: it fell" in page.html


def test_paths_add_up_to_the_logit(bare):
    tokens = torch.tensor([[0, 4, 9, 2]])
    terms, logits = path_terms(bare, tokens)[:, 0, 2], bare(tokens)[0, 2]
    entry = ledgers.path_entry(terms, logits, token=7)
    assert entry.parts.shape == (1 + 2 * 3 + 9,) and abs(entry.rest) < 1e-4
    for part, row in zip(entry.parts.tolist(), terms.tolist(), strict=True):
        assert part == pytest.approx(row[7] - sum(row) / len(row), abs=1e-4)
    missing = ledgers.path_entry(terms[1:], logits, token=7)
    assert missing.rest == pytest.approx(float(entry.parts[0]), abs=1e-4)


def test_path_names_follow_the_order_of_the_terms(bare):
    names = ledgers.path_names(bare)
    assert len(names) == len(path_terms(bare, torch.tensor([[0, 4]])))
    assert names[:2] == ["direct", "0.0"] and names[6] == "1.2"
    assert names[7:11] == ["0.0>1.0", "0.0>1.1", "0.0>1.2", "0.1>1.0"]
    assert ledgers.path_names(random_model(1)) == ["direct", "0.0", "0.1", "0.2"]


def test_small_paths_are_added_up():
    entry = ledgers.Entry(torch.tensor([0.5, -3.0, 0.25, 2.0]), 0.0, 0.1, 3)
    page = ledgers.draw_entry(entry, list("abcd"), ["x", "y"], 1, "t", most=2)
    words = Tags(page.html).words
    assert "others" in words and "b" in words and "d" in words
    assert "a" not in words and "c" not in words
    assert "logit is -0.25 over the mean: d adds most (+2.00)" in page.description


def test_scores_on_two_axes_and_on_four():
    two = torch.arange(9.0).view(3, 3)
    full = composition.as_four_axes(two, 3)
    for i in range(3):
        for j in range(3):
            assert full[0, i, 1, j] == two[i, j]
    assert int(torch.isfinite(full).sum()) == 9
    four = composition.as_four_axes(torch.ones(3, 2, 3, 2), 2)
    for a, b in ((0, 0), (1, 0), (2, 1)):
        assert not torch.isfinite(four[a, :, b]).any()
    assert int(torch.isfinite(four).sum()) == 3 * 2 * 2
    for shape in ((3, 2), (2, 3, 1, 3), (9,)):
        with pytest.raises(typed.Ask, match="must have the shape"):
            composition.as_four_axes(torch.ones(shape), 3)


@pytest.mark.parametrize("floor", [0.0625, 0.0221, 0.002, 0.31, 0.0])
def test_the_threshold_can_come_back_to_the_floor(floor):
    """A slider stands on whole steps only; the floor has to be one of them."""
    slider = composition._threshold(floor)
    steps = (floor - slider.min) / slider.step
    assert steps == pytest.approx(round(steps), abs=1e-9)
    assert 0 < slider.step <= 0.0075 and slider.value == floor


def test_the_strongest_pair_is_shown_first(model):
    explorer = widgets.composition_browser(model, k_scores, TEXT)
    table = k_scores(model)
    best = max((float(table[i, j]), i, j) for i in range(3) for j in range(3))
    assert f"From 0.{best[1]} to 1.{best[2]}: {best[0]:.3g}." in explorer.description
    assert "9 of 9 pairs" in explorer.description
    above = sorted(table.flatten().tolist())
    controls(explorer)["Threshold"].value = (above[5] + above[6]) / 2
    assert "3 of 9 pairs" in explorer.description


def test_one_chosen_head_brings_its_strongest_partner(model):
    explorer = widgets.composition_browser(model, k_scores, TEXT)
    table = k_scores(model)
    for i in range(3):
        controls(explorer)["From head"].value = f"0.{i}"
        best = max(range(3), key=lambda j: float(table[i, j]))
        assert f"From 0.{i} to 1.{best}:" in explorer.description
    controls(explorer)["From head"].value = composition.STRONGEST
    controls(explorer)["To head"].value = "1.2"
    best = max(range(3), key=lambda i: float(table[i, 2]))
    assert f"From 0.{best} to 1.2:" in explorer.description
    controls(explorer)["To head"].value = "0.2"
    assert "has no partner" in explorer.description


def click(explorer, name):
    """What the page sends when the part of this name is clicked."""
    page = explorer._page
    page._handle_custom_msg({"pick": name}, [])


def test_clicking_the_graph_chooses_heads(model):
    explorer = widgets.composition_browser(model, k_scores, TEXT)
    table = k_scores(model)
    marks = {
        tag[1]["data-pick"] for tag in Tags(explorer.html).tags if "data-pick" in tag[1]
    }
    pairs = {f"0.{i}>1.{j}" for i in range(3) for j in range(3)}
    assert marks == pairs | {f"{i}.{j}" for i in range(2) for j in range(3)}
    for name in sorted(pairs):
        i, j = int(name[2]), int(name[-1])
        click(explorer, name)
        assert f"From 0.{i} to 1.{j}: {float(table[i, j]):.3g}." in explorer.description
    click(explorer, "0.1")
    best = int(table[1].argmax())
    assert f"From 0.1 to 1.{best}:" in explorer.description
    click(explorer, "1.0")
    assert "From 0.1 to 1.0:" in explorer.description
    lists = controls(explorer)
    assert (lists["From head"].value, lists["To head"].value) == ("0.1", "1.0")


def test_the_still_graph_has_nothing_to_click(model):
    explorer = widgets.composition_browser(model, k_scores, TEXT)
    live, still = Tags(explorer.html).tags, Tags(explorer._still).tags
    assert len(live) == len(still)
    for name in ("data-pick", "tabindex", "cursor"):
        assert any(name in attributes for _, attributes in live)
        assert not any(name in attributes for _, attributes in still)
    roles = [a["role"] for _, a in live if "role" in a]
    assert set(roles) - {"button"} == {a["role"] for _, a in still if "role" in a}


def test_only_the_chosen_pair_is_marked_in_the_graph(model):
    explorer = widgets.composition_browser(model, k_scores, TEXT)
    for pair in ("0.2>1.0", "0.0>1.1"):
        click(explorer, pair)
        marked = {
            attributes["data-pick"]
            for _, attributes in Tags(explorer.html).tags
            if composition.CHOSEN in attributes.get("style", "")
        }
        assert marked == {pair, *pair.split(">")}


@pytest.mark.parametrize(
    ("picked", "first", "after"),
    [
        ("0.1>2.0", "1.1", ("0.1", "2.0")),
        ("0.1", composition.STRONGEST, ("0.1", composition.STRONGEST)),
        ("1.1", composition.STRONGEST, ("1.1", composition.STRONGEST)),
        ("2.1", composition.STRONGEST, (composition.STRONGEST, "2.1")),
        ("1.1", "0.0", ("0.0", "1.1")),
        ("1.1", "1.0", ("1.1", composition.STRONGEST)),
        ("0.1", "1.0", ("0.1", composition.STRONGEST)),
    ],
)
def test_a_click_on_a_dot_in_a_model_of_three_layers(picked, first, after):
    assert composition._after_click(picked, first, 3) == after


def test_both_patterns_of_a_pair(bare):
    tokens = torch.tensor([[0, 4, 9, 2]])
    _, cache = bare.run_with_cache(tokens)
    got = composition.pair_patterns(bare, tokens, (0, 2), (1, 1))
    torch.testing.assert_close(got[0], cache["pattern", 0][0, 2])
    torch.testing.assert_close(got[1], cache["pattern", 1][0, 1])


def test_the_microscope_on_a_head_built_for_induction():
    """On repeats the head of a hand-made model looks one step after the last match."""
    model = induction_model()
    row = [0, 5, 2, 9, 7, 5, 2, 9]
    seen = microscope.sight(model, torch.tensor([row]), 1, 2, position=6)
    assert (seen.target, seen.matches) == (3, True)
    assert seen.weights[3] > 0.9 and seen.outputs[0][0] == 9
    assert 0 < seen.copied <= seen.added + 1e-4
    first = microscope.sight(model, torch.tensor([row]), 1, 2, position=3)
    assert not first.matches


def test_the_microscope_against_the_model_with_one_key_left(bare):
    """What a key adds, by hand: everything but its value is taken away."""
    tokens, position = torch.tensor([[0, 4, 9, 2, 7]]), 3
    seen = microscope.sight(bare, tokens, 1, 0, position)
    _, cache = bare.run_with_cache(tokens)
    pattern = cache["pattern", 1][0, 0, position]
    assert seen.weights.tolist() == pytest.approx(pattern[:4].tolist())
    assert seen.target == max(range(1, 4), key=lambda key: float(pattern[key]))

    def head_logits(change):
        def edit(z, hook):
            out = torch.zeros_like(z)
            out[:, position, 0] = change(z)
            return out

        with_head = bare.run_with_hooks(
            tokens, fwd_hooks=[("blocks.1.attn.hook_z", edit)]
        )
        nothing = bare.run_with_hooks(
            tokens, fwd_hooks=[("blocks.1.attn.hook_z", lambda z, hook: z * 0)]
        )
        return (with_head - nothing)[0, position]

    own = int(tokens[0, seen.target])
    whole = head_logits(lambda z: z[:, position, 0])
    assert seen.added == pytest.approx(float(whole[own] - whole.mean()), abs=1e-4)
    value = pattern[seen.target] * cache["v", 1][0, seen.target, 0]
    one = head_logits(lambda z: value)
    assert seen.copied == pytest.approx(float(one[own] - one.mean()), abs=1e-4)
    assert [i for i, _ in seen.outputs] == whole.topk(6).indices.tolist()


def test_the_microscope_shows_given_tokens_until_a_text_is_typed(model):
    tokens = torch.tensor([[0, 400, 500, 400, 500, 400]])
    explorer = widgets.induction_microscope(model, 1, 0, tokens=tokens)
    word = model.tokenizer.decode([500])
    assert f"at position 4, ‘{word}’," in explorer.description.replace("·", " ")
    controls(explorer)["Text"].value = "import os"
    assert controls(explorer)["Position"].max == 2


# --- what they draw ------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_every_control_has_a_label_and_the_page_a_sentence(model, name):
    explorer = make_all(model)[name]
    for row in explorer.rows:
        assert all(control.description for control in row)
    assert explorer.description.endswith(".")
    assert repr(explorer) == explorer.description
    groups = [a for _, a in Tags(explorer.html).tags if a.get("role") == "group"]
    assert groups[0]["aria-label"] == explorer.description
    assert "course-problem" not in explorer.html
    assert len(explorer.html.encode()) < 60_000


@pytest.mark.parametrize("name", WITH_TEXT)
def test_hostile_text_adds_no_tag(model, name):
    explorer = make_all(model)[name]
    controls(explorer)["Text"].value = HOSTILE
    assert "course-problem" not in explorer.html
    for tag, attributes in Tags(explorer.html).tags:
        assert tag != "script"
        assert not any(key.startswith("on") for key in attributes)
        assert tag != "img" or attributes["src"].startswith("data:image/png")


def test_a_dump_escapes_its_tokens():
    dump = circuits.HeadDump([(1, 2.0)], [(1, 1.0)], own_rank=3)
    page = circuits.draw_dump(dump, "0.1", HOSTILE, {1: HOSTILE})
    assert not {"script", "img"} & {tag for tag, _ in Tags(page.html).tags}
    assert "".join(Tags(page.html).words).count(HOSTILE.replace(" ", "·")) >= 4


def test_controls_change_what_is_drawn(model):
    explorers = make_all(model)
    weakest = divmod(int(k_scores(model).argmin()), 3)
    moves = {
        "circuit": [("Head", "1"), ("Layer", "1"), ("Source token", "·name")],
        "pattern": [("Layer", "1"), ("Text", "import os")],
        "ledger": [("Position", 3), ("Token", ledgers.GUESS), ("Text", "import os")],
        "dials": [("1.2", 0.0), ("0.1", 0.5), ("Position", 2), ("Text", "import os")],
        "composition": [
            ("Threshold", 1.0),
            ("From head", f"0.{weakest[0]}"),
            ("To head", f"1.{weakest[1]}"),
            ("Text", "import os"),
            ("Composition", "V"),
        ],
        "paths": [("Position", 3), ("Token", ledgers.GUESS), ("Text", "import os")],
        "microscope": [("Position", 3), ("Layer", "0"), ("Head", "1")],
    }
    for name, steps in moves.items():
        for label, value in steps:
            before = explorers[name].html
            controls(explorers[name])[label].value = value
            assert explorers[name].html != before, (name, label)
            assert "course-problem" not in explorers[name].html


def test_the_typed_token_is_the_one_in_the_ledger(model):
    explorer = widgets.residual_ledger(model, decompose, TEXT)
    controls(explorer)["Token"].value = ledgers.TYPED
    assert "Type one token" in explorer.description
    controls(explorer)["Typed token"].value = "·name"
    assert "the token ‘·name’ has" in explorer.description


def test_the_end_of_a_text_has_no_next_token(model):
    explorer = widgets.residual_ledger(model, decompose, TEXT)
    slider = controls(explorer)["Position"]
    slider.value = slider.max
    assert "no token comes next" in explorer.description
    controls(explorer)["Token"].value = ledgers.GUESS
    assert "rank 1" in explorer.description


def test_a_shorter_text_brings_the_slider_back(model):
    for name in ("ledger", "dials"):
        explorer = make_all(model)[name]
        if name == "ledger":
            controls(explorer)["Token"].value = ledgers.GUESS
        controls(explorer)["Text"].value = "import os"
        assert controls(explorer)["Position"].max == 2
        assert controls(explorer)["Position"].value <= 2


def test_all_dials_to_zero_and_back(model):
    explorer = widgets.head_dials(model, TEXT)
    whole = explorer.html
    runs = []
    draw = explorer.draw
    explorer.draw = lambda: runs.append(1) or draw()
    controls(explorer)["All to 0"].click()
    assert len(runs) == 1  # not once per dial
    # Without heads only the direct path is left.
    tokens = model.to_tokens(TEXT)
    direct = model.W_E[tokens[0]] @ model.W_U
    log_probs = direct.log_softmax(-1)
    loss = -sum(log_probs[i, t] for i, t in enumerate(tokens[0, 1:].tolist()))
    loss = loss / (tokens.shape[1] - 1)
    assert f"The loss is {loss:.3f} nats" in explorer.description
    controls(explorer)["All to 1"].click()
    assert explorer.html == whole


def test_show_reads_changed_weights(bare):
    copy = random_model(2, seed=4)
    explorer = widgets.head_dials(copy, "4 9 2")
    before = explorer.html
    copy.W_U.data.mul_(2)
    controls(explorer)["Show"].click()
    assert explorer.html != before


# --- bad input -----------------------------------------------------------------------


@pytest.mark.parametrize("name", WITH_TEXT)
@pytest.mark.parametrize(
    ("text", "words"), [("", "Type some text"), ("x = 1\n" * 30, "at most 40")]
)
def test_texts_that_do_not_fit_get_a_sentence(model, name, text, words):
    explorer = make_all(model)[name]
    controls(explorer)["Text"].value = text
    assert words in explorer.description
    assert 'role="alert"' in explorer.html
    controls(explorer)["Text"].value = TEXT
    assert 'role="alert"' not in explorer.html


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("", "Type one token"),
        ("self.name", "is no token by itself"),
        ("é", "is no token by itself"),
        (HOSTILE, "is no token by itself"),
    ],
)
def test_tokens_that_do_not_exist_get_a_sentence(model, typed, words):
    explorer = widgets.circuit_browser(model, qk, ov, source=typed)
    assert words in explorer.description
    assert not {"img", "script"} & {tag for tag, _ in Tags(explorer.html).tags}


def test_a_token_can_be_typed_in_several_ways(model):
    ids = {typed.read_token(model, word) for word in (" name", "·name")}
    assert ids == {model.to_single_token(" name")}
    ends = {typed.read_token(model, word) for word in ("\n", "\\n", "⏎")}
    assert ends == {model.to_single_token("\n")}
    assert typed.read_token(model, "<|start|>") == 0


def test_a_model_without_a_tokenizer_reads_numbers(bare):
    assert typed.read_text(bare, "4 9").tolist() == [[0, 4, 9]]
    assert typed.read_text(bare, "0 4").tolist() == [[0, 4]]
    explorer = widgets.circuit_browser(bare, qk, ov, source="12")
    assert "source token 12" in explorer.description
    for word in ("13", "-1", "²", "name"):
        controls(explorer)["Source token"].value = word
        assert "a token is a number from 0 to 12" in explorer.description


def test_a_model_without_layers_gets_a_sentence():
    model = random_model(0)
    explorers = [
        widgets.circuit_browser(model, qk, ov, source="3"),
        widgets.pattern_browser(model, "4 9"),
        widgets.head_dials(model, "4 9"),
        widgets.induction_microscope(model, 0, 0, "4 9"),
    ]
    assert all("no attention layer" in e.description for e in explorers)
    one_layer = widgets.composition_browser(random_model(1), k_scores, "4 9")
    assert "needs two layers" in one_layer.description
    ledger = widgets.residual_ledger(model, decompose, "4 9")
    assert "embed adds most" in ledger.description


def stops(*_):
    raise RuntimeError("not written yet")


def test_a_plugged_in_function_that_fails_is_named(model):
    cases = {
        "qk": widgets.circuit_browser(model, stops, ov, source="self"),
        "ov": widgets.circuit_browser(model, qk, lambda *_: None, source="self"),
        "decompose": widgets.residual_ledger(model, stops, TEXT),
        "run": widgets.head_dials(model, TEXT, run=lambda m, t, s: m(t)[0]),
        "scores (V)": widgets.composition_browser(model, {"V": stops}, TEXT),
        "path_terms": widgets.path_ledger(model, decompose, TEXT),
        "attention_pattern": widgets.pattern_browser(
            model, TEXT, attention_pattern=lambda m, t, i, j: m(t)
        ),
    }
    for name, explorer in cases.items():
        assert name in explorer.description
        assert 'role="alert"' in explorer.html
    assert "RuntimeError: not written yet" in cases["qk"].description


# --- beside a running cell -----------------------------------------------------------


def test_the_private_copy_shares_parameters_and_nothing_else(model):
    copy = parts.private_copy(model)
    mine, theirs = list(model.parameters()), list(copy.parameters())
    assert all(a is b for a, b in zip(mine, theirs, strict=True))
    seen = []
    with model.hooks([("blocks.0.attn.hook_z", lambda z, hook: seen.append(1))]):
        copy(copy.to_tokens("import os"))
        assert not seen
        model(model.to_tokens("import os"))
    assert seen == [1]


def test_callbacks_on_other_threads_beside_a_running_cell(model):
    """Four threads move controls while this one runs the model with hooks."""
    explorers = make_all(model)
    expected = {}
    for name, explorer in explorers.items():
        expected[name] = explorer.html
    problems = []

    def move(name, label, values):
        with torch.enable_grad():  # a thread's own grad mode must not matter
            for value in values:
                controls(explorers[name])[label].value = value
                if "course-problem" in explorers[name].html:
                    problems.append(explorers[name].description)

    moves = {
        "circuit": ("Head", ["1", "2"] * 3 + ["0"]),
        "pattern": ("Layer", ["1", "0"] * 3),
        "ledger": (
            "Position",
            [2, 5, 9, controls(explorers["ledger"])["Position"].value],
        ),
        "dials": ("1.1", [0.2, 0.4, 0.6, 1.0]),
    }
    threads = [
        threading.Thread(target=move, args=(name, *what))
        for name, what in moves.items()
    ]
    for thread in threads:
        thread.start()
    tokens = model.to_tokens(TEXT)
    sizes = set()
    while any(thread.is_alive() for thread in threads):
        _, cache = model.run_with_cache(tokens)
        sizes.add(cache["z", 0].shape[1])
    assert problems == []
    assert sizes <= {tokens.shape[1]}
    assert {name: e.html for name, e in explorers.items()} == expected


@pytest.mark.parametrize("name", ALL)
def test_what_is_stored_holds_the_first_state(model, monkeypatch, name):
    """A still picture first, which the live page hides where widgets run."""
    import IPython.display

    shown = []
    monkeypatch.setattr(
        IPython.display, "display", lambda *args, **_: shown.extend(args)
    )
    explorer = make_all(model)[name]
    explorer._ipython_display_()
    still, box = shown
    words = "".join(Tags(still["text/html"]).words)
    assert words == "".join(Tags(explorer.html).words) != ""
    assert "data-course-view" not in still["text/html"]
    assert still["text/plain"] == explorer.description
    mark = Tags(still["text/html"]).tags[0][1]["id"]
    assert f"#{mark}{{display:none}}" in box.children[-1].value
    assert len(still["text/html"].encode()) < 30_000


def test_nothing_is_sent_outside_a_notebook(model):
    widgets.pattern_browser(model, TEXT)
    assert view_parts._loader is None


# --- how fast ------------------------------------------------------------------------


@pytest.mark.slow
def test_sliders_answer_within_200_ms():
    """Processor time of one move, with the shipped models' sizes and a full context."""
    tokenizer = load_tokenizer()
    sizes = {"d_vocab": 4096, "d_model": 256, "n_heads": 8, "d_head": 32}
    large = random_model(2, n_ctx=256, scale=0.3, tokenizer=tokenizer, **sizes)
    explorers = make_all(large)
    long = "x = y\n" * 62
    for name in ("ledger", "dials", "composition", "microscope"):
        controls(explorers[name])["Text"].value = long
    moves = {
        "circuit": ("Head", "1234567"),
        "ledger": ("Position", range(3, 9)),
        "dials": ("0.3", [0.1, 0.2, 0.3, 0.4, 0.5]),
        "composition": ("Threshold", [0.1, 0.2, 0.3, 0.4, 0.5]),
        "microscope": ("Position", range(3, 9)),
        "paths": ("Position", range(3, 9)),
    }
    for name, (label, values) in moves.items():
        took = []
        for value in values:
            start = time.process_time()
            controls(explorers[name])[label].value = value
            took.append(time.process_time() - start)
        assert "course-problem" not in explorers[name].html
        assert sorted(took)[len(took) // 2] < 0.2, (name, took)
