"""What a learner types into an explorer: read it, or say what is wrong with it."""

import re
from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from utils.text.tokens import meant, visible, visible_all

__all__ = ["Ask", "read_text", "read_token", "token_strings"]

_AS_SHOWN = re.compile(r"⟨(\d+)⟩")  # how `token_strings` shows a single byte


class Ask(ValueError):
    """What was typed or plugged in does not fit; the text is a sentence to show."""


def read_text(
    model: TransformerBridge, text: str, least: int = 1
) -> Int[Tensor, "1 pos"]:
    """The tokens of a text, start token first; raises Ask when the text does not fit.

    A model without a tokenizer reads token ids with spaces between them. `least` is
    the smallest number of tokens after the start token.
    """
    if model.tokenizer is None:
        tokens = _read_ids(model, text)
    elif (start := model.tokenizer.bos_token) and start in text:
        raise Ask(f"{start} is put in front of every text by itself. Leave it out.")
    else:
        tokens = model.to_tokens(text, truncate=False) if text else torch.zeros(1, 1)
    length, most = tokens.shape[1], model.cfg.n_ctx
    if length - 1 < least:
        need = "one token" if least == 1 else f"{least} tokens"
        raise Ask(f"Type some text first: at least {need}.")
    if length > most:
        raise Ask(
            f"This text has {length} tokens with the start token, and the model reads "
            f"at most {most}. Shorten it."
        )
    return tokens


def _read_ids(model: TransformerBridge, text: str) -> Int[Tensor, "1 pos"]:
    words = text.split()
    ids = [_one_id(model, word) for word in words]
    if ids[:1] != [0]:
        ids = [0, *ids]
    return torch.tensor([ids])


def _one_id(model: TransformerBridge, word: str) -> int:
    last = model.cfg.d_vocab - 1
    if not (word.isascii() and word.isdigit()) or int(word) > last:
        raise Ask(
            f"This model has no tokenizer, so a token is a number from 0 to {last}; "
            f'"{visible(word)}" is not.'
        )
    return int(word)


def read_token(model: TransformerBridge, typed: str) -> int:
    """The id of one typed token; raises Ask when it is none or several.

    What an explorer shows can be typed as it is shown: the signs of `visible`, so that
    "·name" is " name", and ⟨128⟩ for the token with this id. \\n and \\t work too.
    """
    if not typed:
        raise Ask("Type one token. A space in front belongs to it: ·name is not name.")
    if model.tokenizer is None:
        return _one_id(model, typed.strip())
    shown = _AS_SHOWN.fullmatch(typed.strip())
    if shown and int(shown[1]) < model.cfg.d_vocab:
        return int(shown[1])
    plain = meant(typed).replace("\\n", "\n").replace("\\t", "\t")
    found = [_encode(model, candidate) for candidate in (typed, plain)]
    for ids in found:
        if len(ids) == 1:
            return ids[0]
    raise Ask(_several(model, plain, found[1]))


def _encode(model: TransformerBridge, text: str) -> list[int]:
    return model.tokenizer.encode(text, add_special_tokens=False)


def _several(model: TransformerBridge, typed: str, ids: list[int]) -> str:
    parts = " ".join(visible_all(token_strings(model, ids)))
    text = f'"{visible_line(typed)}" is no token by itself; it is {len(ids)}: {parts}.'
    others = [" " + typed, typed.strip()]
    single = [visible(o) for o in others if o and len(_encode(model, o)) == 1]
    return text + (f" One token is: {single[0]}" if single else " Type one of them.")


def visible_line(text: str) -> str:
    """A typed text with its blanks visible, not longer than a line."""
    shown = "".join(visible(character) for character in text)
    return shown if len(shown) <= 40 else shown[:39] + "…"


def token_strings(model: TransformerBridge, ids: Sequence[int]) -> list[str]:
    """Each id's token as a string; single bytes and models without words as numbers."""
    if model.tokenizer is None:
        return [str(int(i)) for i in ids]
    words = [model.tokenizer.decode([int(i)]) for i in ids]
    pairs = zip(words, ids, strict=True)
    return [f"⟨{int(i)}⟩" if "\ufffd" in word else word for word, i in pairs]
