"""The figures show the numbers given, say so in words, and refuse bad input."""

import base64
import json
import math
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import numpy as np
import plotly.graph_objects as go
import plotly.io as pio
import pytest
import torch
from IPython.core.formatters import DisplayFormatter
from IPython.utils.dir2 import get_real_method

from utils.pictures import figures
from utils.pictures.colors import blend, rgb
from utils.pictures.svg import static_svg
from utils.text.tokens import one_line, visible

HOSTILE = ["</script>", "<img src=x onerror=alert(1)>", '"', "\n", "&amp;", ""]


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def causal(*shape, seed=0):
    scores = rand(*shape, seed=seed) * 8
    return scores.tril().where(torch.ones(shape).tril() > 0, -torch.inf).softmax(-1)


def every_figure():
    tokens = [f"t{i}" for i in range(7)]
    spectrum = torch.complex(rand(9), rand(9, seed=1) - 0.5)
    return {
        "attention": figures.attention_heatmap(causal(7, 7), tokens),
        "panels": figures.attention_heatmap(causal(3, 7, 7), tokens),
        "matrix": figures.matrix_heatmap(rand(3, 5) - 0.5),
        "eigenvalues": figures.eigenvalue_plot(spectrum, spectrum * 0.1),
        "bars": figures.head_scores(rand(2, 4), references={"random": 0.1}),
        "grid": figures.head_scores(rand(12, 5), kind="grid"),
        "arms": figures.training_curves(
            {"a, 0": rand(4), "a, 1": rand(4)}, arms=["a", "a"]
        ),
        "paths": figures.paths({"a": rand(2, 3, 2)}, torch.arange(3), marks=(0, 2)),
        "histogram": figures.score_histogram(rand(40), rand(90, seed=1)),
        "composition": figures.composition_figure(rand(3, 4), floor=0.4),
        "logits": figures.logit_attribution(
            rand(4) - 0.5, ["embed", "0.0", "0.1", "b"]
        ),
        "logit map": figures.logit_attribution(rand(2, 7), ["embed", "0.0"], tokens),
        "positions": figures.loss_by_position({"one": rand(9), "two": rand(9)}),
        "training": figures.training_curves(
            {"text": rand(20)}, references={"floor": 1}
        ),
        "top": figures.top_tokens(tokens, rand(7), k=3),
        "scatter": figures.scatter(
            rand(6), rand(6, seed=1), [f"0.{i}" for i in range(6)]
        ),
        "density": figures.scatter(rand(5000), rand(5000, seed=1)),
        "token bars": figures.token_bars(tokens, rand(7).numpy(), "loss", "Loss"),
    }


FIGURES = every_figure()


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_has_title_axes_and_a_sentence(name):
    fig = FIGURES[name]
    assert fig.layout.title.text
    titles = [axis.title.text for axis in fig.select_xaxes()]
    assert any(titles)
    assert any(axis.title.text for axis in fig.select_yaxes())
    sentence = figures.describe(fig)
    assert sentence.endswith(".") and sentence.startswith(fig.layout.title.text)
    assert "nan" not in sentence


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_small_and_has_a_still_picture(name):
    bundle = figures.mimebundle(FIGURES[name])
    assert len(json.dumps(bundle)) < 60_000
    picture = ET.fromstring(bundle["image/svg+xml"])
    assert picture.get("role") == "img"
    assert picture.get("aria-label") == figures.describe(FIGURES[name])
    kinds = {element.tag.split("}")[1] for element in picture.iter()}
    assert kinds & {"image", "circle", "polyline"} or len(list(picture.iter("*"))) > 12
    assert "plotly.min.js" not in json.dumps(bundle)
    assert "text/html" not in bundle


def test_one_attention_pattern_shows_its_weights():
    pattern = causal(7, 7)
    tokens = ["<|start|>", " a", "b", "c", "d", "e", "f"]
    fig = figures.attention_heatmap(pattern, tokens)
    np.testing.assert_allclose(np.array(fig.data[0].z, float), pattern, atol=6e-4)
    assert fig.layout.xaxis.ticktext[1] == "·a"
    assert fig.layout.yaxis.range == (6.5, -0.5)  # the first query on top
    assert (fig.data[0].zmin, fig.data[0].zmax) == (0, 1)
    rest = pattern[:, 1:]
    query, key = divmod(int(rest.argmax()), 6)
    said = figures.describe(fig)
    assert f"(query {query})" in said and f"(key {key + 1})" in said
    assert f"{float(rest.max()):.2f}" in said


def test_queries_may_be_fewer_than_keys_and_carry_the_last_tokens():
    pattern = torch.full((2, 5), 0.2)
    fig = figures.attention_heatmap(pattern, list("abcde"))
    assert fig.layout.yaxis.ticktext == ("d", "e")
    with pytest.raises(ValueError, match="transposed"):
        figures.attention_heatmap(pattern.T, list("ab"))


def test_panels_show_every_head_in_per_cent():
    patterns = causal(3, 7, 7)
    fig = figures.attention_heatmap(
        patterns, list("abcdefg"), names=["0.1", "1.0", "x"]
    )
    for head in range(3):
        shown = np.asarray(fig.data[head].z, dtype=float)
        np.testing.assert_allclose(shown, patterns[head] * 100, atol=0.51)
    assert fig.data[0].colorbar.title.text == "attention (%)"
    keys, queries = fig.layout.xaxis2, fig.layout.yaxis
    assert keys.showticklabels and queries.showticklabels
    assert not fig.layout.yaxis2.showticklabels  # the first panel's do for the row
    assert keys.ticktext == tuple("abcdefg")  # there is room for all
    weighed = figures.attention_heatmap(patterns, list("abcdefg"), value_title="w")
    assert weighed.data[0].colorbar.title.text == "w (%)"
    assert "the mean w on the first token" in figures.describe(weighed)
    notes = [note.text for note in fig.layout.annotations]
    assert notes == ["<b>0.1</b>", "<b>1.0</b>", "<b>x</b>"]


def test_panels_share_a_scale_that_ends_at_the_largest_weight():
    """Faint panels are not lost on a scale to 100 %, and the scale says what it is."""
    patterns = causal(5, 9, 9)
    patterns = 0.31 * patterns / patterns.max()
    fig = figures.attention_heatmap(
        patterns, [str(i) for i in range(9)], value_title="share of the largest"
    )
    assert {trace.zmax for trace in fig.data} == {35}
    assert [trace.showscale for trace in fig.data] == [True] + [False] * 4
    assert fig.data[0].colorbar.title.text == "share of the largest (%)"
    assert all("share of the largest: " in trace.hovertemplate for trace in fig.data)


@pytest.mark.parametrize("length", [7, 13, 40])
def test_panels_have_ticks_and_the_outer_ones_labels(length):
    fig = figures.attention_heatmap(
        causal(6, length, length), [f"t{i}" for i in range(length)]
    )
    for head in range(6):
        suffix = str(head + 1) if head else ""
        x, y = fig.layout["xaxis" + suffix], fig.layout["yaxis" + suffix]
        assert y.showticklabels == (head in (0, 4))  # four panels in a row
        assert x.showticklabels == (head in (2, 3, 4, 5))  # the lowest of its column
        for axis in (x, y):
            most = 6 if axis is x else 12  # labels side by side need more room
            assert 1 < len(axis.tickvals) <= most and axis.ticks != ""
            assert [f"t{i}" for i in axis.tickvals] == list(axis.ticktext)


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        ([3.6, -0.02], -0.02, 3.6),
        ([3, -2], -3, 3),
        ([-4, 0.1], -4, 0.1),
        ([0, 0], 0, 1),
    ],
)
def test_a_side_of_the_scale_that_hardly_occurs_is_cut(values, low, high):
    """Each value keeps the colour that it has on the whole scale."""
    fig = figures.matrix_heatmap(torch.tensor([values], dtype=float), signed=True)
    heat, top = fig.data[0], max(map(abs, values)) or 1
    assert (heat.zmin, heat.zmax) == pytest.approx((low, high))
    scale = [list(stop) for stop in heat.colorscale]
    for value in values:
        shown = blend(scale, (value - heat.zmin) / (heat.zmax - heat.zmin))
        meant = blend(figures.DIVERGING, 0.5 + value / top / 2)
        assert np.abs(rgb(shown) - rgb(meant)).max() <= 2


def test_lines_part_the_blocks_of_a_matrix():
    fig = figures.matrix_heatmap(torch.eye(6), blocks=(2, 3))
    rows = sorted(s.y0 for s in fig.layout.shapes if s.y0 == s.y1)
    columns = sorted(s.x0 for s in fig.layout.shapes if s.x0 == s.x1)
    assert (rows, columns) == ([1.5, 3.5], [2.5])
    picture = fig._repr_mimebundle_()["image/svg+xml"]
    plain = figures.matrix_heatmap(torch.eye(6))._repr_mimebundle_()["image/svg+xml"]
    assert picture.count("<path") - plain.count("<path") == 3
    assert "dasharray" not in picture


def test_signed_matrix_is_centred_on_zero_and_positive_starts_there():
    signed = torch.tensor([[1.0, -4.0, 0.5], [2.0, 3.0, 0.0]])
    fig = figures.matrix_heatmap(signed, ["r0", "r1"], ["a", "b", "c"])
    heat = fig.data[0]
    assert (heat.zmin, heat.zmax) == (-4, 4)
    assert np.array(heat.z).tolist() == signed.tolist()
    assert heat.texttemplate  # few enough cells to write the numbers in
    assert "r0" in figures.describe(fig) and "-4" in figures.describe(fig)
    assert figures.matrix_heatmap(signed.abs()).data[0].zmin == 0


def test_infinite_entries_are_gaps():
    fig = figures.matrix_heatmap(torch.tensor([[1.0, -torch.inf], [2.0, 0.0]]))
    assert fig.data[0].z[0][1] is None
    assert fig.data[0].zmax == 2


def test_eigenvalues_can_be_read_back_from_the_plot():
    values = torch.tensor([100 + 0j, 3 - 4j, -0.5 + 0j, 1e-9 + 0j])
    fig = figures.eigenvalue_plot(values, decades=4)
    dots = fig.data[-1]
    floor = 2 - 4
    for x, y, value in zip(dots.x, dots.y, values.tolist(), strict=True):
        size = 10 ** (math.hypot(x, y) + floor)
        if abs(value) < 10**floor:
            assert math.hypot(x, y) == 0
        else:
            assert size == pytest.approx(abs(value), rel=1e-3)
            assert math.cos(math.atan2(y, x)) == pytest.approx(
                value.real / abs(value), abs=1e-3
            )
    share = (100 + 3 - 0.5) / (100 + 5 + 0.5)
    assert f"{share:.2f}" in figures.describe(fig)


def test_the_null_lies_behind_the_eigenvalues():
    fig = FIGURES["eigenvalues"]
    names = [trace.name for trace in fig.data if trace.mode == "markers"]
    assert names == ["random (null)", "this head"]


def test_head_scores_are_labelled_layer_dot_head():
    scores = rand(2, 3)
    fig = figures.head_scores(scores, first_layer=1)
    heights = [value for trace in fig.data for value in trace.y]
    np.testing.assert_allclose(heights, scores.flatten(), rtol=1e-4)
    assert fig.layout.xaxis.ticktext == ("1.0", "1.1", "1.2", "2.0", "2.1", "2.2")
    best = int(scores.argmax())
    assert f"head {1 + best // 3}.{best % 3}" in figures.describe(fig)


def test_many_heads_become_a_grid():
    scores = rand(4, 9)
    fig = figures.head_scores(scores)
    np.testing.assert_allclose(np.array(fig.data[0].z, float), scores, rtol=1e-4)
    assert figures.head_scores(rand(9)).data[0].type == "bar"


def test_histogram_shares_sum_to_one_and_say_how_many_beat_the_null():
    scores, null = torch.tensor([0.0, 2.0, 3.0, 5.0]), torch.tensor([0.0, 1.0, 2.5])
    fig = figures.score_histogram(scores, null, bins=5)
    for trace in fig.data:
        assert sum(trace.y) == pytest.approx(1, abs=1e-4)
    assert "50% lie above" in figures.describe(fig)


def test_composition_lines_are_as_wide_as_the_score_over_the_floor():
    scores = torch.tensor([[0.1, 0.5, 0.2], [0.9, 0.3, 0.0]])
    fig = figures.composition_figure(scores, floor=0.15)
    lines = [trace for trace in fig.data if trace.mode == "lines"]
    drawn = {(line.y[0], line.y[1]): line.line.width for line in lines}
    expected = {
        (i, j): float(scores[i, j]) - 0.15
        for i in range(2)
        for j in range(3)
        if scores[i, j] > 0.15
    }
    assert drawn.keys() == expected.keys()
    scale = drawn[1, 0] / expected[1, 0]
    for pair, excess in expected.items():
        assert drawn[pair] == pytest.approx(scale * excess, rel=1e-3)
    assert "0.1" not in figures.describe(fig).split("strongest")[0].split("floor")[0]
    assert "1.0" in figures.describe(fig).split("strongest")[1]
    labels = next(trace for trace in fig.data if trace.mode == "markers+text").text
    assert list(labels) == ["0.0", "0.1", "1.0", "1.1", "1.2"]


def test_composition_figures_with_one_top_have_one_scale():
    weak, strong = torch.tensor([[0.2, 0.3]]), torch.tensor([[0.9, 0.1]])
    figs = [
        figures.composition_figure(scores, floor=floor, top=0.9)
        for scores, floor in ((weak, 0.1), (strong, 0.05))
    ]
    found = [
        (line.line.width / (score - floor))
        for fig, scores, floor in zip(figs, (weak, strong), (0.1, 0.05), strict=True)
        for line in fig.data
        if line.mode == "lines"
        for score in [float(scores[0, int(line.y[1])])]
    ]
    assert len(found) == 4
    np.testing.assert_allclose(found, found[0], rtol=1e-3)
    with pytest.raises(ValueError, match=r"0\.85 over the floor, more than top=0\.3"):
        figures.composition_figure(strong, floor=0.05, top=0.3)


def test_histograms_with_one_span_have_the_same_bins():
    span = (-1.0, 6.0)
    figs = [figures.score_histogram(rand(n), span=span, bins=7) for n in (9, 4)]
    assert figs[0].data[0].x == figs[1].data[0].x
    np.testing.assert_allclose(figs[0].data[0].x, np.arange(7) - 0.5)
    with pytest.raises(ValueError, match="span from 0.5 to 2"):
        figures.score_histogram(torch.tensor([0.4, 1.0]), span=(0.5, 2.0))


def test_composition_takes_the_four_axes_and_ignores_pairs_going_back():
    scores = rand(3, 2, 3, 2)
    fig = figures.composition_figure(scores, floor=0.0)
    lines = [trace for trace in fig.data if trace.mode == "lines"]
    assert len(lines) == 3 * 2 * 2
    assert all(line.x[0] < line.x[1] for line in lines)


def test_composition_without_any_pair_over_the_floor_says_so():
    assert "no pair" in figures.describe(
        figures.composition_figure(rand(2, 2), floor=2)
    )


def test_logit_attribution_and_its_signs():
    values = torch.tensor([1.5, -2.0, 0.25])
    fig = figures.logit_attribution(values, ["embed", "0.0", "1.4"])
    assert list(fig.data[0].x) == values.tolist()
    assert fig.layout.yaxis.ticktext == ("embed", "0.0", "1.4")
    colors = fig.data[0].marker.color
    assert colors[0] == colors[2] != colors[1]
    assert "-0.25 logits" in figures.describe(fig)


def test_losses_start_at_position_one():
    loss = rand(5)
    fig = figures.loss_by_position(loss)
    assert list(fig.data[0].x) == [1, 2, 3, 4, 5]
    np.testing.assert_allclose(fig.data[0].y, loss, rtol=1e-4)
    assert "nats" in fig.layout.yaxis.title.text


def test_training_curves_thin_long_ones_and_skip_missing_values():
    steps = torch.arange(3000) * 10
    loss = 5.0 - steps / 10_000
    loss[7] = torch.nan
    fig = figures.training_curves(
        {"text": (steps, loss)}, references={"bigram floor": 2.5}
    )
    x, y = np.array(fig.data[0].x), np.array(fig.data[0].y)
    assert len(x) <= 500 and x[0] == 0 and x[-1] == 29_990
    np.testing.assert_allclose(y, 5.0 - x / 10_000, rtol=1e-3)
    assert fig.layout.shapes[0].y0 == 2.5
    assert "bigram floor" in fig.layout.annotations[0].text
    assert "bigram floor is 2.5" in figures.describe(fig)


def test_the_name_of_a_line_can_be_read_over_curves_in_the_still_picture_too():
    fig = figures.training_curves({"a": rand(5)}, references={"chance": 0.5})
    svg = figures.mimebundle(fig)["image/svg+xml"]
    rect, text = svg.split("chance: 0.5</text>")[0].rsplit("<rect", 1)[1].split("<text")
    end, base = (float(re.search(rf' {k}="([\d.]+)"', text)[1]) for k in "xy")
    assert 'fill="#FFFFFF"' in rect
    left, top, wide, high = (
        float(re.search(rf'{k}="([\d.]+)"', rect)[1])
        for k in (" x", " y", "width", "height")
    )
    assert left + wide == pytest.approx(end, abs=1) and top < base < top + high


@pytest.mark.parametrize(
    ("height", "side"), [([9, 4, 3, 2.2, 2.1], "left"), ([2.1, 2.2, 3, 4, 9], "right")]
)
def test_the_label_of_a_line_stands_where_no_curve_runs_through_it(height, side):
    curve = torch.tensor(height)
    fig = figures.training_curves({"a": curve}, references={"floor": 2, "top": 9.5})
    floor, top = fig.layout.annotations
    assert floor.xanchor == side and floor.x == (0 if side == "left" else 1)
    assert top.xanchor == "right"
    picture = figures.mimebundle(fig)["image/svg+xml"]
    anchor = {"left": "start", "right": "end"}[side]
    assert re.search(rf'<text[^>]*text-anchor="{anchor}"[^>]*>floor: 2</text>', picture)


def test_the_label_of_a_line_hangs_below_it_where_curves_run_at_both_ends_above():
    curve = torch.tensor([2.1, 9, 9, 2.1])
    fig = figures.training_curves({"a": curve}, references={"floor": 2})
    assert fig.layout.annotations[0].yanchor == "top"
    picture = figures.mimebundle(fig)["image/svg+xml"]
    text = re.search(r'<text[^>]* y="([\d.]+)"[^>]*>floor: 2</text>', picture)
    line = re.search(r'<path d="M[\d.]+ ([\d.]+)L[^>]*stroke-dasharray', picture)
    assert float(text[1]) > float(line[1]) + 8


def test_letters_stand_upright_and_longer_words_lie_on_their_sides():
    letters, words = list("^abcdef"), ["<start>", *"abcdef"]
    for labels, angle in ((letters, 0), (words, -90)):
        fig = figures.attention_heatmap(causal(7, 7), labels)
        assert fig.layout.xaxis.tickangle == angle
    still = figures.attention_heatmap(causal(19, 19), [*"^abcdefghiabcdefghi"])
    picture = figures.mimebundle(still)["image/svg+xml"]
    assert not re.search(r"rotate[^>]*>[a-i^]</text>", picture)


def test_the_curves_of_an_arm_share_a_colour_an_entry_and_a_part_of_the_sentence():
    curves = {f"{arm}, seed {i}": rand(4, seed=i) + i for i, arm in enumerate("aabba")}
    fig = figures.training_curves(curves, arms=list("aabba"), references={"low": 0.5})
    lines = list(fig.data)
    assert [line.name for line in lines] == list("aabba")
    assert [line.showlegend for line in lines] == [True, False, True, False, False]
    assert len({(line.name, line.line.color) for line in lines}) == 2
    assert "b, seed 3" in lines[3].hovertemplate
    picture = figures.mimebundle(fig)["image/svg+xml"]
    assert [picture.count(f">{arm}</text>") for arm in "ab"] == [1, 1]
    ends = [values[-1].item() for values in curves.values()]
    a, b = [ends[0], ends[1], ends[4]], ends[2:4]
    said = figures.describe(fig)
    for arm, last in (("the 3 curves of a", a), ("the 2 curves of b", b)):
        part = next(part for part in said.split(";") if arm in part)
        assert f"end between {min(last):.3g} and {max(last):.3g}" in part
    with pytest.raises(ValueError, match="as many arms; got 2"):
        figures.training_curves(curves, arms=["a", "b"])


def test_an_arm_keeps_the_colour_it_is_known_by_and_no_other_takes_it():
    known = {"b": figures.PALETTE[0], "a": figures.PALETTE[3]}
    series = {arm: rand(3) for arm in "cbd"}
    fig = figures.training_curves(series, colors=known)
    drawn = {line.name: line.line.color for line in fig.data}
    assert drawn["b"] == figures.PALETTE[0]
    assert len(set(drawn.values())) == 3
    alone = figures.training_curves({"b": rand(3)}, colors=known)
    assert alone.data[0].line.color == figures.PALETTE[0]
    free = figures.training_curves(series)
    assert [line.line.color for line in free.data] == figures.PALETTE[:3]


@pytest.mark.parametrize("names", [["a", "b"], ["x" * 21, "y", "z" * 24, "v" * 22]])
def test_a_still_legend_stays_on_the_picture(names):
    curves = {name: rand(3, seed=i) for i, name in enumerate(names)}
    svg = figures.mimebundle(figures.training_curves(curves))["image/svg+xml"]
    boxes = []
    for text in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text"):
        if text.text in names:
            left, base = float(text.get("x")), float(text.get("y"))
            boxes.append((left, left + 6 * len(text.text), base))
    assert len(boxes) == len(names)
    assert all(end <= 760 and 32 < base for _, end, base in boxes)
    beside = all(left > 650 for left, _, _ in boxes)
    assert beside or all(base < 58 for _, _, base in boxes)  # or above the plot
    for i, (left, _, base) in enumerate(boxes[1:]):
        assert base > boxes[i][2] or left > boxes[i][1]  # and apart


def test_paths_carry_marks_for_points_in_time():
    runs = {"one": rand(2, 5, 2), "two": rand(3, 5, 2, seed=4) + 2}
    fig = figures.paths(runs, torch.arange(5) * 50, marks=(50, 200))
    dots = [trace for trace in fig.data if "markers" in trace.mode]
    places = torch.cat(list(runs.values()))[:, [1, 4]]
    for trace, path in zip(dots, places, strict=True):
        np.testing.assert_allclose(np.stack([trace.x, trace.y], 1), path, rtol=1e-4)
        assert list(trace.customdata) == [50, 200]
    assert [trace.text for trace in dots] == [
        ("50", "200"), None, ("50", "200"), None, None,
    ]  # fmt: skip
    assert fig.layout.yaxis.scaleanchor == "x"
    end = runs["two"][:, -1].mean(dim=0)
    assert "3 runs of two go from" in figures.describe(fig)
    assert f"to ({end[0]:.3g}, {end[1]:.3g})." in figures.describe(fig)
    legend = [trace.name for trace in fig.data if trace.showlegend]
    assert legend == ["one", "two"]
    with pytest.raises(ValueError, match="no snapshot at step 60"):
        figures.paths(runs, torch.arange(5) * 50, marks=(60,))
    with pytest.raises(ValueError, match=r"'two' have the shape \[3, 5, 2\]"):
        figures.paths({"two": runs["two"]}, torch.arange(4))


def test_bars_that_are_no_tokens_are_not_called_so():
    values = torch.tensor([0.5, -2.0]).numpy()
    fig = figures.token_bars(["0.1", "0.2"], values, "score", "Lead", bars="writer")
    said = figures.describe(fig)
    assert "2 writers, score from -2 to 0.5" in said and said.endswith("at 0.2.")
    assert "token" not in said and fig.layout.xaxis.title.text == "writer"
    assert "position 1" in figures.describe(
        figures.token_bars(["a", "b"], values, "loss", "Loss")
    )


def test_top_tokens_are_in_order():
    fig = figures.top_tokens(
        [" a", "b", "\n", "d"], torch.tensor([0.1, 0.2, 0.6, 0.1]), k=2
    )
    np.testing.assert_allclose(fig.data[0].x, [0.6, 0.2], rtol=1e-4)
    assert fig.layout.yaxis.ticktext == ("⏎", "b")


def test_a_figures_own_picture_has_nothing_to_click():
    """Only an explorer's page answers; elsewhere a button would be a false promise."""
    fig = FIGURES["composition"]
    for name in ("data-pick", "tabindex", 'role="button"'):
        assert name in static_svg(fig, clickable=True)
        assert name not in figures.mimebundle(fig)["image/svg+xml"]


def test_points_that_hide_each_other_share_a_label():
    x = torch.tensor([0.0, 1.0, 0.999, 0.5, 1.0, 0.5])
    y = torch.tensor([0.0, 1.0, 1.0, 0.3, 0.99, 0.6])
    fig = figures.scatter(x, y, ["a", "b", "c", "d", "e", "f"])
    (points,) = fig.data
    assert list(points.text) == ["a", "b, c, e", "", "d", "", "f"]
    assert list(points.hovertext) == list("abcdef")


def test_a_point_whose_name_is_empty_has_no_label():
    fig = figures.scatter([0, 1, 2.0], [0, 1, 2.0], ["", "1.4", ""])
    assert list(fig.data[0].text) == ["", "1.4", ""]


def test_a_few_names_among_many_points_are_written():
    """270 heads, of which seven are named: what counts is the names, not the points."""
    places = rand(270), rand(270, seed=1)
    few = figures.scatter(*places, [f"1.{i}" if i < 7 else "" for i in range(270)])
    assert few.data[0].mode == "markers+text"
    written = ", ".join(filter(None, few.data[0].text)).split(", ")
    assert sorted(written) == [f"1.{i}" for i in range(7)]
    many = figures.scatter(*places, [f"1.{i}" for i in range(270)])
    assert many.data[0].mode == "markers" and many.data[0].hovertext[269] == "1.269"


def test_scatter_keeps_every_point_also_as_a_density():
    x, y = rand(6), rand(6, seed=3)
    fig = figures.scatter(x, y, [f"1.{i}" for i in range(6)])
    np.testing.assert_allclose(fig.data[0].x, x, rtol=1e-4)
    np.testing.assert_allclose(fig.data[0].y, y, rtol=1e-4)
    assert fig.data[0].text[5] == "1.5"
    xs, ys = x.tolist(), y.tolist()
    mx, my = sum(xs) / 6, sum(ys) / 6
    cov = sum((a - mx) * (b - my) for a, b in zip(xs, ys, strict=True))
    norm = sum((a - mx) ** 2 for a in xs) * sum((b - my) ** 2 for b in ys)
    assert f"{cov / norm**0.5:.2f}" in figures.describe(fig)
    dense = FIGURES["density"].data[0]
    counts = [10 ** (v - 0.3) for row in dense.z for v in row if v is not None]
    assert sum(counts) == pytest.approx(5000, rel=0.02)


def contrast(first, second):
    def luminance(color):
        parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [
            p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    bright, dark = sorted([luminance(first), luminance(second)], reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def test_text_and_lines_can_be_read_on_the_card():
    assert contrast("#FFFFFF", "#000000") == pytest.approx(21)
    assert contrast(figures.INK, figures.PAPER) > 7
    assert all(contrast(color, figures.PAPER) >= 3 for color in figures.PALETTE)
    for fig in FIGURES.values():
        layout = fig.layout.template.layout
        assert layout.paper_bgcolor == layout.plot_bgcolor == figures.PAPER


@pytest.mark.parametrize(
    "draw",
    [
        lambda: figures.attention_heatmap(rand(4), list("abcd")),
        lambda: figures.attention_heatmap(rand(4, 4), list("abc")),
        lambda: figures.attention_heatmap(rand(4, 4), "abcd"),
        lambda: figures.attention_heatmap(rand(4, 4) - 1, list("abcd")),
        lambda: figures.attention_heatmap(rand(2, 3, 3), list("abc"), names=["one"]),
        lambda: figures.matrix_heatmap(rand(3)),
        lambda: figures.matrix_heatmap(rand(3, 0)),
        lambda: figures.matrix_heatmap(torch.full((2, 3), torch.nan)),
        lambda: figures.matrix_heatmap(rand(3, 2), ["only one"]),
        lambda: figures.matrix_heatmap(rand(400, 400)),
        lambda: figures.eigenvalue_plot(torch.eye(3)),
        lambda: figures.head_scores(rand(2, 3, 4)),
        lambda: figures.head_scores(rand(2, 3), kind="pie"),
        lambda: figures.composition_figure(rand(3)),
        lambda: figures.composition_figure(rand(2, 3, 2, 4)),
        lambda: figures.logit_attribution(rand(3), ["a"]),
        lambda: figures.loss_by_position(rand(3, 3)),
        lambda: figures.training_curves({}),
        lambda: figures.training_curves({"a": (rand(3), rand(4))}),
        lambda: figures.top_tokens(["a"], rand(2)),
        lambda: figures.scatter(rand(2), rand(3)),
    ],
)
def test_bad_input_gets_a_sentence(draw):
    with pytest.raises(ValueError) as caught:
        draw()
    assert str(caught.value).endswith(".") and " " in str(caught.value)


def test_hostile_labels_stay_text():
    title = 'a < b & "c" </svg><script>'
    fig = figures.matrix_heatmap(rand(6, 6), HOSTILE, HOSTILE, title=title)
    assert fig.layout.xaxis.ticktext[0] == "&lt;/script>"
    picture = ET.fromstring(figures.mimebundle(fig)["image/svg+xml"])
    kinds = {element.tag.split("}")[1] for element in picture.iter()}
    assert kinds <= {"svg", "title", "rect", "text", "path", "image"}
    written = [
        element.text for element in picture.iter() if element.tag.endswith("text")
    ]
    assert title in written
    assert "</script>" in written and "&amp;" in written and "∅" in written


def test_still_heatmap_has_the_right_colours():
    fig = figures.matrix_heatmap(torch.tensor([[0.0, 1.0, 0.0]]), show_values=False)
    svg = ET.fromstring(figures.mimebundle(fig)["image/svg+xml"])
    image = next(element for element in svg.iter() if element.tag.endswith("image"))
    data = base64.b64decode(image.get("href").split(",")[1])
    assert data.startswith(b"\x89PNG") and data[16:24] == bytes(
        [0, 0, 0, 3, 0, 0, 0, 1]
    )


def test_a_figure_shows_data_and_a_picture_but_no_script():
    fig = FIGURES["bars"]
    data, _ = DisplayFormatter().format(fig)
    assert set(data) == {
        "application/vnd.plotly.v1+json",
        "image/svg+xml",
        "text/plain",
    }
    assert data["text/plain"] == figures.describe(fig)


def test_every_figure_shows_itself():
    """None of them asks plotly's renderers, which may load a script from elsewhere."""
    for fig in FIGURES.values():
        assert get_real_method(fig, "_ipython_display_") is None
        assert "svg" in fig._repr_mimebundle_()["image/svg+xml"]


def test_a_plotly_figure_of_ones_own_is_shown_as_data_alone(monkeypatch):
    monkeypatch.setattr(pio.renderers, "default", "notebook")
    monkeypatch.delenv("PLOTLY_RENDERER", raising=False)
    figures.use_offline_renderer()
    assert pio.renderers.default == "plotly_mimetype"
    bundle = go.Figure()._repr_mimebundle_()
    assert set(bundle) == {"application/vnd.plotly.v1+json"}


def test_the_setup_line_does_not_open_plotlys_renderers():
    """Opening them imports nbformat, for a second and more of everybody's time."""
    code = "import sys; from utils.prelude import *; print('nbformat' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_describe_refuses_a_figure_from_elsewhere():
    with pytest.raises(ValueError, match="no description"):
        figures.describe(go.Figure())


@pytest.mark.parametrize(
    ("token", "shown"),
    [
        (" the", "·the"),
        ("\n\n", "⏎⏎"),
        ("\t", "⇥"),
        ("", "∅"),
        ("\u200f", "⟨U+200F⟩"),
        ("\x00", "␀"),
        ("\ud800", "⟨U+D800⟩"),
        ("\u0301", "◌\u0301"),
        ("👩\u200d👧", "👩\u200d👧"),
        ("a\u200db", "a⟨U+200D⟩b"),
        ("</script>", "</script>"),
        ("שלום", "שלום"),
    ],
)
def test_visible_tokens(token, shown):
    assert visible(token) == shown
    shown.encode("utf-8")


def test_names_keep_their_spaces():
    assert one_line(" two  words\n") == "two words"
