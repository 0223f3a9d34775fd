"""What real models add to the paper's: norms, MLPs, heads that share keys and values.

Each is drawn from a model's config, so it shows the model that was loaded.
"""

from collections.abc import Sequence
from typing import Any

from utils.pictures.diagrams.ink import cut, number
from utils.pictures.diagrams.sheet import Diagram, Sheet

__all__ = ["into_mlp", "norm_folding", "real_layer", "shared_keys"]

MOST_HEADS, MOST_TERMS = 16, 6
NORMS = {"LN": "LayerNorm", "LNPre": "LayerNorm", "RMS": "RMSNorm", "RMSPre": "RMSNorm"}


def _groups(cfg: Any) -> int:
    return getattr(cfg, "n_key_value_heads", None) or cfg.n_heads


def _norm(cfg: Any) -> str:
    return NORMS.get(cfg.normalization_type, "norm")


def _a(norm: str) -> str:
    return f"an {norm}" if norm.startswith("RMS") else f"a {norm}"


def real_layer(cfg: Any) -> Diagram:
    """One layer of a language model: norm and heads, then norm and MLP.

    `cfg` is a model's config, with TransformerLens's names.
    """
    count = f"one of {cfg.n_layers} layers" if cfg.n_layers > 1 else "its one layer"
    sheet = Sheet(f"What is new: {count}", 318)
    y, norm, groups = 84, _norm(cfg), _groups(cfg)
    sheet.box(18, y - 8, 650, 16, "stream")
    sheet.line([(660, y), (684, y)], "stream-line", 3, arrow=True)
    words = f"residual stream: {cfg.d_model:,} numbers at each position"
    sheet.text(343, 62, words, 13, ink="stream-line")
    heads = [f"{cfg.n_heads} heads"]
    if groups < cfg.n_heads:
        heads.append(f"share {groups} W_{{K}} and W_{{V}}")
    else:
        heads.append("each its own W_{K}, W_{V}")
    rotary = cfg.positional_embedding_type == "rotary"
    heads.append("turned by position" if rotary else "as in the paper")
    gated = getattr(cfg, "gated_mlp", False)
    mlp = ["MLP", f"{cfg.d_mlp or 0:,} neurons", "gated" if gated else "plain"]
    parts = [(40, "head", heads)]
    if not cfg.attn_only:
        parts.append((370, "ov", mlp))
    for left, role, lines in parts:
        line = f"{role}-line"
        sheet.line([(left + 42, y + 8), (left + 42, 134)], line, arrow=True)
        sheet.dot(left + 42, y, line)
        sheet.box(left, 134, 84, 34, "embed", norm, size=12)
        sheet.line([(left + 42, 168), (left + 42, 196)], line, arrow=True)
        sheet.box(left, 196, 210, 74, role, *lines)
        end = left + 268
        sheet.line([(left + 210, 233), (end, 233), (end, y + 11)], line, 2, arrow=True)
        sheet.plus(end, y)
        sheet.text(end - 8, 252, "adds", 12, "end", line)
    where = (
        "positions turn queries and keys; nothing is added to the stream"
        if rotary
        else "a vector for each position is added to the stream at the start"
    )
    sheet.note(where)
    said = (
        f"The stream of {cfg.d_model} numbers runs through. {cfg.n_heads} heads read "
        f"it behind {_a(norm)} and add to it"
    )
    if groups < cfg.n_heads:
        said += f"; they share {groups} key and value matrices"
    if not cfg.attn_only:
        kind = "a gated" if gated else "a plain"
        said += (
            f". Then {kind} MLP reads it behind {_a(norm)} of its own and adds to it"
        )
    return sheet.picture(f"{said}. {where[0].upper()}{where[1:]}.")


def norm_folding(cfg: Any) -> Diagram:
    """What a norm does before W_Q reads, and what is left of it after folding.

    A LayerNorm has four steps, an RMSNorm two; `cfg` says which the model has.
    """
    norm, full = _norm(cfg), _norm(cfg) == "LayerNorm"
    sheet = Sheet(f"Folding {_a(norm)} into what reads behind it", 306)
    steps = ["− mean", "÷ σ", "× w", "+ b"] if full else ["÷ σ", "× w"]
    top, low, wide = 92, 232, 70
    right = 250 + 84 * len(steps)
    places = {}
    sheet.text(18, top - 30, "before", 13, "start", "muted", bold=True)
    sheet.text(18, low - 30, "after", 13, "start", "muted", bold=True)
    for y in (top, low):
        sheet.box(60, y - 16, 66, 32, "stream", "stream")
        sheet.line([(126, y), (150 if y == top else 234, y)], "stream-line", arrow=True)
    for i, step in enumerate(steps):
        x = 150 + 84 * i
        role = "head" if step == "÷ σ" else "embed"
        sheet.box(x, top - 16, wide, 32, role, step)
        sheet.line([(x + wide, top), (x + 84, top)], arrow=True)
        places[step] = x + wide / 2
    end = 150 + 84 * len(steps)
    sheet.box(end, top - 16, 116, 32, "qk", "W_{Q}, b_{Q}")
    sheet.box(234, low - 16, wide, 32, "head", "÷ σ")
    sheet.line([(234 + wide, low), (end, low)], arrow=True)
    sheet.box(end, low - 16, 116, 32, "qk", "W'_{Q}, b'_{Q}")
    sheet.line([(places["÷ σ"], top + 16), (269, low - 16)], "head-line", 2, arrow=True)
    sheet.line(
        [(places["× w"], top + 16), (end + 40, low - 16)], "embed-line", 2, arrow=True
    )
    if full:
        sheet.line(
            [(places["+ b"], top + 16), (end + 84, low - 16)],
            "embed-line",
            2,
            arrow=True,
        )
        sheet.line(
            [(places["− mean"], top + 16), (93, low - 16)], "embed-line", 2, arrow=True
        )
        sheet.text(18, low + 40, "what writes has no mean any more", 12, "start")
    sheet.text(
        min(end - 34, right),
        low + 40,
        "w and b are in here now" if full else "w is in here now",
        12,
        "start",
    )
    sheet.note("the division depends on the text, so no matrix can take it up")
    before = ", ".join(
        {
            "− mean": "the mean comes off",
            "÷ σ": "it is divided by its size",
            "× w": "multiplied by w",
            "+ b": "and b is added",
        }[step]
        for step in steps
    )
    mean = "The mean goes into what writes. " if full else ""
    taken = "w and b go" if full else "w goes"
    return sheet.picture(
        f"Before: {before}; then W_Q reads. After: only the division is left before "
        f"the new W_Q. {mean}{taken[0].upper()}{taken[1:]} into W_Q and its bias."
    )


def shared_keys(cfg: Any) -> Diagram:
    """Which head reads which group's keys and values, for one layer of a model.

    At most 16 heads are shown, the first ones. Raises ValueError for groups of unequal
    size, or of more than 16 heads.
    """
    heads, groups = cfg.n_heads, _groups(cfg)
    if heads % groups:
        raise ValueError(f"{heads} heads cannot share {groups} groups evenly.")
    size = heads // groups
    if size > MOST_HEADS:
        raise ValueError(f"At most {MOST_HEADS} heads of a group can be shown.")
    more = "" if heads <= MOST_HEADS else f"; the first of {heads} heads are shown"
    groups = min(groups, MOST_HEADS // size)
    heads = groups * size
    each = "every head has its own keys and values"
    title = each if size == 1 else f"{size} heads share keys and values"
    sheet = Sheet(f"One layer: {title}", 262)
    step = 664 / heads
    wide = min(step - 6, 96)
    for group in range(groups):
        first = 18 + step * size * group
        middle = first + step * size / 2
        box = min(step * size - 8, 150)
        sheet.box(
            middle - box / 2,
            186,
            box,
            34,
            "qk",
            f"{group}: W_{{K}}, W_{{V}}" if box > 72 else str(group),
            size=12 if box > 90 else 11,
        )
        for one in range(size):
            x = first + step * (one + 0.5)
            head = size * group + one
            sheet.box(
                x - wide / 2,
                62,
                wide,
                46,
                "head",
                f"head {head}" if wide > 56 else str(head),
                size=12,
            )
            sheet.line(
                [(x, 186), (x, 108)]
                if size == 1
                else [(middle, 186), (middle, 160), (x, 128), (x, 108)],
                "qk-line",
                arrow=True,
            )
    sheet.note(f"each head has a W_{{Q}} and a W_{{O}} of its own{more}")
    if size == 1:
        said = f"Each of {heads} heads has its own W_K and W_V{more}."
    else:
        named = "; ".join(
            f"heads {size * g} to {size * g + size - 1} read group {g}"
            for g in range(groups)
        )
        said = f"{heads} heads, {groups} groups: {named}{more}."
    return sheet.picture(said)


def into_mlp(names: Sequence[str], shares: Sequence[float], neuron: str) -> Diagram:
    """Terms that enter an MLP with their shares, the nonlinearity, and the end.

    `names` and `shares` are the largest terms and then the rest, at most 6; `neuron`
    says what stands behind W_in ("GELU", "gate").
    """
    if len(names) != len(shares) or not 0 < len(names) <= MOST_TERMS:
        raise ValueError(
            f"Give 1 to {MOST_TERMS} names and as many shares, not {len(names)} and "
            f"{len(shares)}."
        )
    height = 36 * len(names)
    sheet = Sheet("Into an MLP the paths add up; behind it the list ends", 110 + height)
    top = max(abs(share) for share in shares) or 1.0
    middle = 62 + height / 2
    for i, (name, share) in enumerate(zip(names, shares, strict=True)):
        y = 76 + 36 * i
        sheet.text(18, y + 4, cut(name, 190, 13), 13, "start")
        long = 84 * abs(share) / top
        role = "ov-line" if share >= 0 else "head-line"
        sheet.bar(214, y - 8, long, 16, role, 0.8)
        sheet.text(220 + long, y + 4, f"{number(100 * share, 0)} %", 12, "start")
        sheet.line([(352, y), (376, y), (376, middle)], "ov-line")
    sheet.line([(376, middle), (400, middle)], "ov-line", 2, arrow=True)
    sheet.box(400, middle - 20, 80, 40, "ov", "W_{in}")
    sheet.line([(480, middle), (510, middle)], "ov-line", 2, arrow=True)
    sheet.box(510, middle - 20, 76, 40, "head", cut(neuron, 70, 13))
    sheet.line([(586, middle), (618, middle)], "muted", 2, arrow=True, dashed=True)
    sheet.text(650, middle + 5, "no list", 13, ink="muted")
    sheet.note("shares of what W_{in} passes on; they add up to 100 %")
    told = ", ".join(
        f"{name} {number(100 * share, 0)} %"
        for name, share in zip(names, shares, strict=True)
    )
    return sheet.picture(
        f"What W_in passes on is a sum: {told}. Behind {neuron} it is a sum no more."
    )
