"""The head gallery: a dot for each head, and what a choice shows, by other means."""

import numpy as np
import pytest
import torch

from tests.test_widgets import Tags
from utils.models.handmade import random_model
from utils.text.tokenizer import load_tokenizer
from utils.widgets import gallery, gallery_points, head_gallery

HOSTILE = "</script><img src=x onerror=alert(1)>"
N_LAYERS, N_HEADS = 2, 3


@pytest.fixture(scope="module")
def model():
    tokenizer = load_tokenizer(1024)
    return random_model(N_LAYERS, seed=3, d_vocab=1024, n_ctx=40, tokenizer=tokenizer)


@pytest.fixture(scope="module")
def rows():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(1, 1024, (3, 14), generator=generator)


@pytest.fixture(scope="module")
def scores():
    generator = torch.Generator().manual_seed(1)
    first, second, third = torch.randn(3, N_LAYERS, N_HEADS, generator=generator)
    return {"first": first, "second": second.abs(), "third": third}


class MadeUp:
    """Thirty layers of nine heads whose patterns are drawn; it counts its runs."""

    class cfg:
        n_layers, n_heads = 30, 9

    tokenizer = None

    def __init__(self):
        self.runs = 0

    def run_with_hooks(self, tokens, fwd_hooks):
        self.runs += 1
        generator = torch.Generator().manual_seed(self.runs)
        batch, length = tokens.shape
        future = torch.ones(length, length).triu(1) > 0
        for _, hook in fwd_hooks:
            drawn = torch.randn(batch, 9, length, length, generator=generator)
            hook(drawn.masked_fill(future, -1e9).softmax(-1), None)


@pytest.fixture
def many():
    """A gallery of 270 heads, its model, and what its pairs were asked for."""
    made, asked = MadeUp(), []
    generator = torch.Generator().manual_seed(2)
    drawn = torch.rand(3, 30, 9, generator=generator) ** 4

    def pairs(layer, head):
        asked.append((layer, head))
        return torch.arange(4.0), torch.arange(4), torch.arange(4) + 5

    explorer = head_gallery(
        made,
        {"a": drawn[0], "b": drawn[1], "c": drawn[2] - 0.2},
        torch.randint(1, 500, (8, 81), generator=generator),
        torch.randint(1, 500, (4, 101), generator=generator),
        {"OV": pairs},
        color="c",
    )
    return explorer, made, asked


def controls(explorer):
    return {c.description: c for row in explorer.rows for c in row}


def click(explorer, name):
    explorer._page._handle_custom_msg({"pick": name}, [])


def dots(html):
    return [a["data-pick"] for _, a in Tags(html).tags if "data-pick" in a]


# --- what it computes ----------------------------------------------------------------


def test_kept_patterns_are_the_models_own(model, rows):
    got = gallery.kept_patterns(model, rows)
    assert got.dtype == torch.float16
    assert got.shape == (2, N_LAYERS, N_HEADS, 14, 14)
    _, cache = model.run_with_cache(rows)
    for layer in range(N_LAYERS):
        for row in range(2):
            expected = cache["pattern", layer][row]
            assert (got[row, layer].float() - expected).abs().max() < 1e-3


@pytest.mark.parametrize(("n_rows", "length"), [(1, 30), (2, 14), (1, 6), (2, 3)])
def test_places_by_tenths_against_a_loop(n_rows, length):
    generator = torch.Generator().manual_seed(length)
    drawn = torch.rand(n_rows, length, length, generator=generator).tril()
    drawn[:, :, 0] += 5  # most attention rests on the first position
    found = []
    for row in range(n_rows):
        for query in range(1, length):
            keys = [(float(drawn[row, query, key]), key) for key in range(1, query + 1)]
            weight, key = max(keys)
            found.append((weight, row, query, key))
    found.sort(reverse=True)
    parts = min(10, len(found))
    firsts = [found[part * len(found) // parts] for part in range(parts)]
    got = gallery.places_by_tenths(drawn)
    assert [(p.weight, p.row, p.query, p.key) for p in got] == firsts
    assert [p.tenth for p in got] == list(range(1, parts + 1))


def test_no_place_without_a_second_token():
    assert gallery.places_by_tenths(torch.ones(2, 1, 1)) == []


# --- what it shows -------------------------------------------------------------------


def test_every_head_is_a_dot_where_its_scores_say(model, rows, scores):
    explorer = head_gallery(model, scores, rows)
    circles = [a for _, a in Tags(explorer.html).tags if "data-pick" in a]
    names = [f"{i}.{j}" for i in range(N_LAYERS) for j in range(N_HEADS)]
    assert [a["data-pick"] for a in circles] == names
    for axis, name, sign in (("cx", "first", 1), ("cy", "second", -1)):
        places = np.array([float(a[axis]) for a in circles])
        line = np.polyfit(scores[name].flatten().numpy(), places, 1)
        assert line[0] * sign > 0
        fitted = np.polyval(line, scores[name].flatten().numpy())
        assert np.abs(fitted - places).max() < 0.2
    assert all(a["tabindex"] == "0" and a["role"] == "button" for a in circles)


def test_a_choice_shows_its_head(model, rows, scores):
    explorer = head_gallery(model, scores, rows, rows + 1, x="second", y="third")
    _, cache = model.run_with_cache(rows + 1)
    best = divmod(int(scores["first"].argmax()), N_HEADS)
    assert f"Head {best[0]}.{best[1]}:" in explorer.description
    for layer, head in ((0, 2), (1, 0)):
        click(explorer, f"{layer}.{head}")
        assert controls(explorer)["Head"].value == f"{layer}.{head}"
        value = float(scores["second"][layer, head])
        others = scores["second"].flatten().tolist()
        rank = sorted(others, reverse=True).index(value) + 1
        assert f"second {value:.2f} (number {rank} of 6)" in explorer.description
        assert f"Attention of {layer}.{head} on tokens, row 1" in explorer.html
        # The strongest place, the first of equal ones, found in the full pattern.
        pattern = cache["pattern", layer][:2, head].half().float()
        pattern[:, 0], pattern[:, :, 0] = 0, 0
        row, query, key = (int(i) for i in torch.nonzero(pattern == pattern.max())[0])
        assert f"at position {query} to" in explorer.description
        assert f"at position {key}, weight {pattern.max():.2f}" in explorer.description


def test_the_pattern_shown_is_that_of_the_chosen_row(model, rows, scores):
    explorer = head_gallery(model, scores, rows, rows[:1])
    chosen = controls(explorer)["Pattern on"]
    assert chosen.options == ("tokens, row 1", "tokens, row 2", "text, row 1")
    before = explorer.html
    chosen.value = "tokens, row 2"
    assert "on tokens, row 2 over 14 tokens" in explorer.html
    assert explorer.html != before


def test_typing_and_the_buttons_choose_heads(model, rows, scores):
    explorer = head_gallery(model, scores, rows)
    names = [f"{i}.{j}" for i in range(N_LAYERS) for j in range(N_HEADS)]
    values = scores["first"].flatten().tolist()
    order = [names[i] for i in sorted(range(6), key=lambda i: -values[i])]
    box = controls(explorer)["Head"]
    seen = [box.value]
    for _ in range(6):
        controls(explorer)["Lower x"].click()
        seen.append(box.value)
    assert seen == [*order, order[0]]
    controls(explorer)["Higher x"].click()
    assert box.value == order[-1]
    box.value = " 1.2 "
    assert "Head 1.2:" in explorer.description
    for wrong in ("2.0", "", "x", HOSTILE):
        box.value = wrong
        assert "is no head of this model" in explorer.description
        assert 'role="alert"' in explorer.html
        assert "img" not in {tag for tag, _ in Tags(explorer.html).tags}


def test_only_the_chosen_dot_has_a_ring(model, rows, scores):
    explorer = head_gallery(model, scores, rows, head="1.1")
    circles = [a for tag, a in Tags(explorer.html).tags if tag == "circle"]
    rings = [a for a in circles if a.get("stroke") == gallery_points.CHOSEN]
    own = next(a for a in circles if a.get("data-pick") == "1.1")
    assert [(a["cx"], a["cy"]) for a in rings] == [(own["cx"], own["cy"])]


def test_axes_and_colour_are_any_scores(model, rows, scores):
    explorer = head_gallery(model, scores, rows)
    assert controls(explorer)["x"].options == ("first", "second", "third", "layer")
    for label, value in (("x", "third"), ("y", "layer"), ("Colour", "first")):
        before = explorer.html
        controls(explorer)[label].value = value
        assert explorer.html != before and "course-problem" not in explorer.html
    fills = {a["fill"] for _, a in Tags(explorer.html).tags if "data-pick" in a}
    assert len(fills) == 6


def test_heads_without_a_finite_score_are_left_out_and_counted(model, rows, scores):
    holed = {**scores, "first": scores["first"].clone()}
    holed["first"][1, 2], holed["first"][0, 0] = torch.nan, torch.inf
    explorer = head_gallery(model, holed, rows, head="1.2")
    assert set(dots(explorer.html)) == {"0.1", "0.2", "1.0", "1.1"}
    assert "no first" in explorer.description
    assert "2 of 6 heads have no place here" in explorer.description
    flat = {"a": torch.zeros(N_LAYERS, N_HEADS), "b": torch.full((2, 3), torch.nan)}
    assert "course-problem" not in head_gallery(model, flat, rows).html
    assert "course-problem" not in head_gallery(model, flat, rows, y="a").html


def test_hostile_words_add_no_tag(model, rows, scores, monkeypatch):
    monkeypatch.setattr(gallery, "token_strings", lambda m, ids: [HOSTILE for _ in ids])
    pairs = {HOSTILE: lambda layer, head: ([1.0], [2], [3])}
    named = {HOSTILE: scores["first"], "b" * 300: scores["second"]}
    explorer = head_gallery(
        model, named, rows, rows, pairs, color=HOSTILE, pairs_at_once=True
    )
    assert "course-problem" not in explorer.html
    for tag, attributes in Tags(explorer.html).tags:
        assert tag != "script"
        assert not any(key.startswith("on") for key in attributes)
        assert tag != "img" or attributes["src"].startswith("data:image/png")
    assert "".join(Tags(explorer.html).words).count(HOSTILE.replace(" ", "·")) > 10


# --- 270 heads -----------------------------------------------------------------------


def test_a_click_on_one_of_270_heads_runs_no_model(many):
    explorer, made, asked = many
    assert made.runs == 2  # the rows of tokens, and those of text
    names = {f"{i}.{j}" for i in range(30) for j in range(9)}
    assert set(dots(explorer.html)) == names and len(dots(explorer.html)) == 270
    for name in ("16.0", "0.8", "29.8"):
        click(explorer, name)
        assert f"Head {name}:" in explorer.description
        assert "course-problem" not in explorer.html
        assert len(explorer.html.encode()) < 100_000
    assert made.runs == 2 and asked == []


def test_270_heads_are_no_270_stops_of_the_tab_key(many):
    assert "tabindex" not in many[0].html
    assert len(controls(many[0])["Head"].options) == 270


def test_pairs_are_asked_once_a_head_while_their_box_is_ticked(many):
    explorer, _, asked = many
    click(explorer, "3.4")
    assert asked == [] and "Top OV pairs" not in explorer.html
    tick = explorer.rows[2][1]
    tick.value = True
    assert asked == [(3, 4)] and "Top OV pairs of 3.4" in explorer.html
    for name in ("16.0", "3.4", "16.0"):
        click(explorer, name)
    assert asked == [(3, 4), (16, 0)]
    tick.value = False
    click(explorer, "1.1")
    assert len(asked) == 2 and "Top OV pairs" not in explorer.html


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        (lambda layer, head: 1 / 0, "stopped with ZeroDivisionError"),
        (lambda layer, head: None, "must return values and two"),
        (lambda layer, head: ([1.0], [1, 2], [3]), "must return values and two"),
    ],
)
def test_pairs_that_fail_get_a_sentence(model, rows, scores, pairs, words):
    explorer = head_gallery(
        model, scores, rows, top_pairs={"QK": pairs}, pairs_at_once=True
    )
    assert words in explorer.description and "(QK)" in explorer.description
    explorer.rows[2][1].value = False
    assert "course-problem" not in explorer.html


def test_names_in_the_picture_meet_nothing_and_stay_inside():
    generator = np.random.default_rng(0)
    names = [f"{i // 9}.{i % 9}" for i in range(270)]
    low, high = [70, 20], [628, 344]
    for power in (1, 4, 12):
        points = low + generator.random((270, 2)) ** power * np.subtract(high, low)
        boxes = gallery_points.labels_at(points, names, first=7)
        assert 7 in boxes and len(boxes) <= gallery_points.MOST_LABELS
        for i, (left, top, right, bottom) in boxes.items():
            assert gallery_points.LEFT <= left and right <= gallery_points.RIGHT
            assert gallery_points.TOP <= top and bottom <= gallery_points.BOTTOM
            for other, box in boxes.items():
                apart = right <= box[0] or box[2] <= left
                assert other == i or apart or bottom <= box[1] or box[3] <= top


@pytest.mark.parametrize("corner", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_a_chosen_head_in_a_corner_has_its_name(corner):
    x = (gallery_points.LEFT, gallery_points.RIGHT)[corner[0]]
    y = (gallery_points.TOP, gallery_points.BOTTOM)[corner[1]]
    assert 0 in gallery_points.labels_at([(x, y), (300, 200)], ["29.8", "1.1"], 0)


# --- the still page and bad input ----------------------------------------------------


def test_the_still_page_shows_the_first_head_and_nothing_to_click(model, rows, scores):
    explorer = head_gallery(model, scores, rows, rows)
    assert "Attention of" in explorer._still and "tenth" in explorer._still
    for word in ("data-pick", "tabindex", "cursor", "data-course-view"):
        assert word in explorer.html and word not in explorer._still
    assert repr(explorer) == explorer.description
    assert all(control.description for row in explorer.rows for control in row)


def test_what_does_not_fit_is_refused(model, rows, scores):
    with pytest.raises(ValueError, match=r"must be \[layer, head\], here \[2, 3\]"):
        head_gallery(model, {"a": torch.zeros(3, 2)}, rows)
    with pytest.raises(ValueError, match="There is no score 'x'"):
        head_gallery(model, scores, rows, y="x")
    with pytest.raises(ValueError, match="no attention layer"):
        head_gallery(random_model(0), {}, rows)
    assert "is no head" in head_gallery(model, scores, rows, head="9.9").description
