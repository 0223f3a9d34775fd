"""What a model is made of: its layers, its stream, the two halves of a head."""

from typing import Any

from utils.pictures.diagrams.sheet import Diagram, Sheet

__all__ = ["head_halves", "model_diagram", "stream_bus"]


def _heads(count: int) -> str:
    return "1 head" if count == 1 else f"{count} heads"


def model_diagram(cfg: Any, title: str = "") -> Diagram:
    """The model from tokens to logits, for `cfg` with n_layers, n_heads, d_model, ...

    One layer is shown with the inside of a head, more layers with their heads alone.
    Raises ValueError for more than 4 layers.
    """
    layers = cfg.n_layers
    if layers > 4:
        raise ValueError(
            f"The diagram shows at most 4 layers; this model has {layers}."
        )
    name = {0: "A model without a layer", 1: "A model with one layer"}.get(
        layers, f"A model with {layers} layers"
    )
    sheet = Sheet(title or name, {0: 168, 1: 318}.get(layers, 250))
    y = 92
    sheet.token(18, y - 15, 72, "tokens", 30)
    sheet.line([(90, y), (112, y)], arrow=True)
    sheet.box(112, y - 22, 62, 44, "embed", "W_{E}")
    sheet.box(174, y - 8, 352, 16, "stream")
    sheet.box(526, y - 22, 62, 44, "embed", "W_{U}")
    sheet.line([(588, y), (610, y)], arrow=True)
    sheet.token(610, y - 15, 72, "logits", 30)
    words = f"residual stream: {cfg.d_model} numbers at each position"
    sheet.text(350, 62, words, 13, ink="stream-line")
    sheet.text(143, y + 40, f"{cfg.d_vocab:,} rows", 12, ink="muted")
    sheet.text(526, y + 40, f"{cfg.d_vocab:,} columns", 12, "start", "muted")
    if layers == 1:
        _one_layer(sheet, cfg, y)
    elif layers:
        _layers(sheet, cfg, y)
    order = (
        f"Tokens become vectors of {cfg.d_model} numbers by W_E and enter the stream"
    )
    middle = {
        0: "",
        1: f"; one layer of {_heads(cfg.n_heads)} reads from the stream and adds to it",
    }.get(
        layers,
        f"; {layers} layers of {_heads(cfg.n_heads)} each, one after the other, read "
        "from the stream and add to it",
    )
    inside = (
        ""
        if layers != 1
        else (
            f". Inside a head, the QK half makes the pattern A, the OV half of rank "
            f"{cfg.d_head} makes what is moved"
        )
    )
    return sheet.picture(f"{order}{middle}{inside}. W_U turns the stream into logits.")


def _one_layer(sheet: Sheet, cfg: Any, y: float) -> None:
    top = 150
    for i in range(min(cfg.n_heads, 4) - 1, 0, -1):
        sheet.box(206 + 4 * i, top + 4 * i, 284, 116, "head")
    sheet.line(
        [(190, y + 8), (190, top + 58), (206, top + 58)], "head-line", arrow=True
    )
    sheet.text(182, top + 62, "reads", 12, "end", "head-line")
    sheet.box(206, top, 284, 116, "head")
    sheet.text(348, top + 20, "one head", 13, on="head", bold=True)
    sheet.box(
        216, top + 32, 127, 72, "qk", "W_{Q}, W_{K}", "where to look:", "pattern A"
    )
    sheet.box(353, top + 32, 127, 72, "ov", "W_{V}, W_{O}", "what to move:", "values")
    right = 490 + 4 * (min(cfg.n_heads, 4) - 1)
    sheet.line(
        [(right, top + 58), (508, top + 58), (508, y + 11)], "head-line", arrow=True
    )
    sheet.plus(508, y)
    sheet.text(518, top + 62, "adds", 12, "start", "head-line")
    if cfg.n_heads > 1:
        words = f"{cfg.n_heads} heads, all at once; what they write is added up"
    else:
        words = "what the head writes is added to what was there"
    sheet.note(words)


def _layers(sheet: Sheet, cfg: Any, y: float) -> None:
    width = 330 / cfg.n_layers
    for layer in range(cfg.n_layers):
        left = 182 + width * layer
        sheet.line([(left + 8, y + 8), (left + 8, 150)], "head-line", arrow=True)
        sheet.box(
            left, 150, width - 22, 52, "head", f"layer {layer}", _heads(cfg.n_heads)
        )
        end = left + width - 12
        sheet.line(
            [(left + width - 22, 176), (end, 176), (end, y + 11)],
            "head-line",
            arrow=True,
        )
        sheet.plus(end, y)
    sheet.note("each layer reads what all before it have written, and adds to it")


def stream_bus(cfg: Any, first: str = "0.0", second: str = "1.0") -> Diagram:
    """The stream as a bus: who writes to which subspace, and who reads it later."""
    sheet = Sheet("The residual stream as a shared bus", 334)
    left, right, lanes = 148, 620, [70, 104, 138, 172]
    names = [
        "present token",
        f"what {first} wrote",
        f"what {second} wrote",
        "nobody's yet",
    ]
    owners = ["embed", "head", "head", "faint"]
    starts = [196, 330, 480, right]
    for y, name, owner, start in zip(lanes, names, owners, starts, strict=True):
        sheet.box(left, y - 9, right - left, 18, "stream")
        if start < right:
            sheet.bar(start, y - 7, right - start - 2, 14, f"{owner}-line", 0.75)
        sheet.text(left - 8, y + 4, name, 12, "end", "muted")
    foot = 236
    boxes = [
        (172, "embed", "W_{E}", "tokens in"),
        (284, "head", f"head {first}", "layer 0"),
        (434, "head", f"head {second}", "layer 1"),
        (566, "embed", "W_{U}", "logits out"),
    ]
    for x, role, *lines in boxes:
        sheet.box(x - 48, foot, 96, 50, role, *lines)
    wires = [
        (196, 0, "embed", False),
        (262, 0, "head", True),
        (330, 1, "head", False),
        (392, 0, "head", True),
        (412, 1, "head", True),
        (480, 2, "head", False),
        (536, 0, "embed", True),
        (556, 1, "embed", True),
        (576, 2, "embed", True),
    ]
    for x, lane, role, reads in wires:
        y = lanes[lane]
        if reads:
            sheet.line([(x, y), (x, foot)], f"{role}-line", arrow=True)
            sheet.dot(x, y, f"{role}-line")
        else:
            sheet.line([(x, foot), (x, y + 1)], f"{role}-line", 2.4, arrow=True)
    sheet.text(right + 8, 125, f"{cfg.d_model}", 13, "start", "stream-line")
    sheet.text(right + 8, 141, "numbers", 12, "start", "stream-line")
    sheet.note(
        f"a dot is where something reads; a head can write to at most {cfg.d_head} "
        f"of {cfg.d_model} dimensions",
        320,
    )
    return sheet.picture(
        f"Four lanes stand for subspaces of the stream's {cfg.d_model} dimensions. W_E "
        f"writes the present token into one; head {first} reads it and writes into a "
        f"second; head {second} reads both and writes into a third; W_U reads all "
        f"three. The fourth is still free. A head writes to at most {cfg.d_head} "
        "dimensions, and nothing written is moved by anyone."
    )


def head_halves(cfg: Any, name: str = "h") -> Diagram:
    """The two halves of a head: QK says where to look, OV what to move."""
    sheet = Sheet(f"Head {name}: two halves that share no weights", 306)
    size = f"{cfg.d_model} × {cfg.d_model}, rank {cfg.d_head}"
    for x, role, title in (
        (18, "qk", "QK: where to look"),
        (358, "ov", "OV: what to move"),
    ):
        sheet.box(x, 46, 324, 220, role)
        sheet.text(x + 162, 68, title, 14, on=role, bold=True)
    sheet.token(28, 90, 104, "destination")
    sheet.token(228, 90, 104, "source")
    sheet.line([(80, 116), (80, 138)], "qk-line", arrow=True)
    sheet.line([(280, 116), (280, 138)], "qk-line", arrow=True)
    sheet.box(40, 138, 80, 32, "paper", "W_{Q}")
    sheet.box(240, 138, 80, 32, "paper", "W_{K}")
    sheet.line([(120, 154), (142, 154)], "qk-line", arrow=True)
    sheet.line([(240, 154), (218, 154)], "qk-line", arrow=True)
    sheet.box(142, 138, 76, 32, "paper", "score")
    sheet.line([(180, 170), (180, 194)], "qk-line", arrow=True)
    sheet.box(120, 194, 120, 32, "paper", "softmax: A")
    sheet.text(180, 252, f"W_{{Q}} W_{{K}}^{{T}}: {size}", 12, on="qk")
    sheet.token(374, 138, 72, "source", 32)
    for x, letter in ((468, "V"), (556, "O")):
        sheet.line([(x - 22, 154), (x, 154)], "ov-line", arrow=True)
        sheet.box(x, 138, 66, 32, "paper", f"W_{{{letter}}}")
    sheet.line([(622, 154), (650, 154), (650, 194)], "ov-line", arrow=True)
    sheet.box(562, 194, 108, 32, "paper", "added × A")
    sheet.line([(240, 210), (562, 210)], "qk-line", 2.2, arrow=True)
    sheet.text(401, 203, "how much", 12, on="ov", ink="ov-line")
    sheet.text(520, 252, f"W_{{V}} W_{{O}}: {size}", 12, on="ov")
    sheet.note("the pattern A is all that passes from the left half to the right", 290)
    return sheet.picture(
        f"Left, the QK half: destination through W_Q and source through W_K give a "
        f"score, and softmax makes the scores the pattern A. Right, the OV half: the "
        f"source goes through W_V and W_O and is added at the destination, as much as "
        f"A says. W_Q W_K^T and W_V W_O are each {size}."
    )
