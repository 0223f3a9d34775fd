"""The attention views: small, escaped, always the same, and off the network."""

import base64
import json
import socket
import zlib
from html.parser import HTMLParser

import numpy as np
import pytest
import torch

from utils.pictures import attention_view as views
from utils.pictures import view_parts
from utils.text.tokens import visible

HOSTILE = [
    "</script>",
    "<img src=x onerror=alert(1)>",
    '"quoted"',
    "'",
    "\n",
    "\u202eabc",
    "👩‍👩‍👧",
    "",
    "&amp;",
    " </figure><b>",
    "-->",
    "\ud800",
]


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def causal(*shape, seed=0, sharp=8):
    scores = rand(*shape, seed=seed) * sharp
    return scores.where(torch.ones(shape).tril() > 0, -torch.inf).softmax(-1)


def tokens(length):
    return [HOSTILE[i % len(HOSTILE)] for i in range(length)]


def log_probs(length, d_vocab):
    return (rand(length, d_vocab) * 4).log_softmax(-1)


def every_view(length=16):
    ids = torch.arange(length) % len(HOSTILE)
    return {
        "heads": views.attention_heads(causal(3, length, length), tokens(length)),
        "pattern": views.attention_pattern(
            causal(length, length), tokens(length), "1.4"
        ),
        "colored": views.colored_tokens(tokens(length), rand(length) - 0.5),
        "log_probs": views.token_log_probs(
            ids, log_probs(length, len(HOSTILE)), HOSTILE.__getitem__, 4
        ),
    }


class Reader(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.tags, self.data, self.words = [], None, []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.data = dict(attrs).get("data-course-view", self.data)

    def handle_data(self, data):
        self.words.append(data)


def payload(view):
    return json.loads(Reader(view.html).data)


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a view reached for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.parametrize("name", ["heads", "pattern", "colored", "log_probs"])
def test_hostile_tokens_add_no_tag(name):
    read = Reader(every_view()[name].html)
    allowed = {"figure", "figcaption", "div", "img", "br", "bdi"}
    assert {tag for tag, _ in read.tags} <= allowed
    for tag, attributes in read.tags:
        assert not any(key.startswith("on") for key in attributes)
        if tag == "img":
            assert attributes["src"].startswith("data:image/png;base64,")
    figures = [attributes for tag, attributes in read.tags if tag == "figure"]
    assert len(figures) == 1
    assert figures[0]["aria-label"] == every_view()[name].description


@pytest.mark.parametrize("name", ["heads", "pattern", "colored", "log_probs"])
def test_a_view_holds_no_script_and_stays_small(name):
    view = every_view(64)[name]
    bundle = view._repr_mimebundle_()
    stored = json.dumps(bundle)
    assert "<script" not in view.html.replace("&lt;script", "")
    assert "createElement" not in stored
    assert len(stored.encode()) <= views.MAX_BYTES
    assert bundle["text/plain"] == view.description == repr(view)
    assert view.description.endswith(".")
    view.html.encode("utf-8")


def test_eight_heads_of_64_tokens_fit_whole():
    view = views.attention_heads(causal(8, 64, 64), tokens(64))
    assert view.stored_bytes() <= views.MAX_BYTES
    assert len(payload(view)["props"]["tokens"]) == 64
    assert "Only the first" not in view.description


def test_long_contexts_are_cut_with_a_sentence():
    view = views.attention_heads(causal(12, 200, 200, sharp=1), ["t"] * 200)
    kept = len(payload(view)["props"]["tokens"])
    assert kept < 200
    assert f"Only the first {kept} of 200 tokens are shown" in view.description
    assert view.stored_bytes() <= views.MAX_BYTES
    plotly = views.attention_heads(
        causal(8, 90, 90), ["t"] * 90, [f"1.{i}" for i in range(8)], backend="plotly"
    )
    assert plotly.stored_bytes() <= views.MAX_BYTES
    assert "Only the first" in plotly.description


def unpack(packed):
    """The pattern from the stored bytes, one byte at a time."""
    stored = iter(zlib.decompress(base64.b64decode(packed["data"])))
    heads, size = packed["shape"]
    result = np.zeros((heads, size, size))
    for head in range(heads):
        for query in range(size):
            for key in range(query + 1 if packed["causal"] else size):
                result[head, query, key] = next(stored) * packed["max"] / 250
    assert next(stored, None) is None
    return result


def test_the_stored_pattern_is_the_pattern():
    patterns = causal(3, 9, 9)
    packed = payload(views.attention_heads(patterns, tokens(9)))["packed"]
    assert packed["causal"]
    np.testing.assert_allclose(unpack(packed), patterns, atol=0.0021)
    both_ways = rand(5, 5).softmax(-1)
    packed = payload(views.attention_pattern(both_ways, tokens(5)))["packed"]
    assert not packed["causal"]
    np.testing.assert_allclose(unpack(packed)[0], both_ways, atol=0.0021)


def test_weights_over_one_keep_their_scale():
    weighted = causal(4, 4) * 3
    data = payload(views.attention_pattern(weighted, list("abcd")))
    np.testing.assert_allclose(unpack(data["packed"])[0], weighted, atol=0.01)
    assert data["props"]["maxValue"] == pytest.approx(3, abs=1e-3)


def test_tokens_are_shown_readably():
    data = payload(every_view(12)["heads"])
    assert data["props"]["tokens"] == [visible(token) for token in HOSTILE]
    names = payload(views.attention_heads(causal(2, 3, 3), list("abc"), ["0.1", "1.4"]))
    assert names["props"]["attentionHeadNames"] == ["0.1", "1.4"]


def test_components_that_write_raw_html_get_harmless_text():
    for name in ("colored", "log_probs"):
        props = payload(every_view()[name])["props"]
        guesses = [word for line in props.get("topKTokens", []) for word in line]
        for word in props.get("tokens", []) + props.get("prompt", []) + guesses:
            assert not any(tag != "p" for tag, _ in Reader(word).tags)
            assert "".join(Reader(word + " ").words).replace("\u2060", "")[:-1] in {
                visible(token) for token in HOSTILE
            }


def test_coloured_tokens_keep_their_values():
    values = torch.tensor([0.5, -2.0, 1.25])
    data = payload(views.colored_tokens(["a", "b", "c"], values, value_name="loss"))
    assert data["props"]["values"] == values.tolist()
    assert (data["props"]["minValue"], data["props"]["maxValue"]) == (-2, 2)
    said = views.colored_tokens(["a", "b", "c"], values, value_name="loss").description
    assert "loss, from -2 at b (position 1) to 1.25 at c (position 2)" in said
    later = views.colored_tokens(["a", "b", "c"], values, first=1).description
    for place in range(3):
        before, after = f"(position {place})", f"(position {place + 1})"
        assert (before in said) == (after in later)


def test_log_probs_ranks_and_guesses():
    rows = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [0.3, 0.4, 0.3]]).log()
    view = views.token_log_probs(torch.tensor([0, 1, 2]), rows, "xyz".__getitem__, 2)
    props = payload(view)["props"]
    assert props["prompt"] == ["x", "y", "z"]
    assert props["correctTokenRank"] == [1, 0]
    assert props["topKTokens"] == [["x", "y"], ["z", "y"]]
    np.testing.assert_allclose(
        props["correctTokenLogProb"], np.log([0.3, 0.7]), atol=1e-3
    )
    nats = -(np.log(0.3) + np.log(0.7)) / 2
    assert f"{nats:.2f} nats" in view.description and "50%" in view.description


def test_the_same_input_gives_the_same_view():
    first, second = every_view(), every_view()
    assert {k: v.html for k, v in first.items()} == {
        k: v.html for k, v in second.items()
    }


def test_plotly_backend_shows_the_same_numbers():
    patterns = causal(2, 6, 6)
    view = views.attention_heads(
        patterns, list("abcdef"), ["1.0", "1.1"], backend="plotly"
    )
    shown = np.asarray(view.figure.data[1].z, dtype=float) / 100
    np.testing.assert_allclose(shown, patterns[1], atol=0.0051)
    assert "application/vnd.plotly.v1+json" in view._repr_mimebundle_()
    values = torch.tensor([1.0, -1.0])
    bars = views.colored_tokens(["a", "b"], values, backend="plotly")
    assert list(bars.figure.data[0].y) == [1, -1]


def test_the_script_is_circuitsvis_and_never_in_a_view():
    import gzip

    script = gzip.decompress(view_parts._compressed_script())
    assert len(script) > 1_000_000 and b"AttentionHeads" in script
    assert b"sourceMappingURL" not in script
    assert view_parts._loader is None  # outside a notebook nothing is sent


@pytest.mark.parametrize(
    "make",
    [
        lambda: views.attention_heads(rand(4, 4), list("abcd")),
        lambda: views.attention_heads(rand(2, 3, 4), list("abcd")),
        lambda: views.attention_heads(rand(2, 4, 4), list("abc")),
        lambda: views.attention_heads(rand(2, 4, 4), "abcd"),
        lambda: views.attention_heads(rand(2, 4, 4), list("abcd"), ["1.0"]),
        lambda: views.attention_heads(rand(2, 4, 4), list("abcd"), backend="ascii"),
        lambda: views.attention_pattern(rand(4, 4) - 2, list("abcd")),
        lambda: views.attention_pattern(rand(4, 4) / 0, list("abcd")),
        lambda: views.colored_tokens(["a"], rand(2)),
        lambda: views.colored_tokens(["a", "b"], torch.tensor([1.0, torch.nan])),
        lambda: views.token_log_probs(torch.arange(3), rand(3, 5), "abcde".__getitem__),
        lambda: views.token_log_probs(torch.tensor([1, 9]), log_probs(2, 5), str),
        lambda: views.token_log_probs(torch.arange(4), log_probs(3, 5), str),
    ],
)
def test_bad_input_gets_a_sentence(make):
    with pytest.raises(ValueError) as caught:
        make()
    assert str(caught.value).endswith((".", "'ascii'."))
