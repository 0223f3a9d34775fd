"""A small model of GPT-2's architecture, for chapter 7 to take apart.

`SmallGPT2` is what the trainer trains; `save_gpt2` writes it as a Hugging Face folder,
which `utils.models.real.load_real_model` reads like any other.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel

from utils.models.attention_only import sinusoids
from utils.models.real import save_note

__all__ = ["GPT2Sizes", "SmallGPT2", "save_gpt2"]


@dataclass(frozen=True)
class GPT2Sizes:
    """The sizes of one model, under the names that the course's other models use."""

    n_layers: int = 4
    d_vocab: int = 1024
    d_model: int = 128
    n_heads: int = 4
    n_ctx: int = 128
    position_scale: float = 0.25


class SmallGPT2(nn.Module):
    """transformers' own GPT-2, with first weights that suit a short training.

    LayerNorm, GELU MLPs, biases, positions added to the stream, W_U the transpose of
    W_E, no dropout. Positions begin as waves, as in the course's other models.
    """

    def __init__(self, config: GPT2Sizes, seed: int = 0):
        super().__init__()
        self.config = config
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            gpt2 = GPT2LMHeadModel(_hugging_face(config))
        # First, so that parameters go by the names that the trainer looks for.
        self.layers = gpt2.transformer.h
        self.gpt2 = gpt2
        with torch.no_grad():
            gpt2.transformer.wte.weight.mul_(config.d_model**-0.5 / 0.02)
            waves = sinusoids(config.n_ctx, config.d_model)
            gpt2.transformer.wpe.weight.copy_(config.position_scale * waves)

    def forward(
        self, input_ids: Int[Tensor, "batch pos"]
    ) -> Float[Tensor, "batch pos d_vocab"]:
        """Logits for the next token at every position."""
        return self.gpt2(input_ids, use_cache=False).logits


def _hugging_face(config: GPT2Sizes) -> GPT2Config:
    return GPT2Config(
        vocab_size=config.d_vocab,
        n_positions=config.n_ctx,
        n_embd=config.d_model,
        n_layer=config.n_layers,
        n_head=config.n_heads,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=0,
    )


def save_gpt2(model: SmallGPT2, tokenizer, folder: str | Path, record: dict) -> None:
    """Write weights in float16, config and tokenizer as transformers does, and a note.

    `record` says how the model came about.
    """
    twin = GPT2LMHeadModel(_hugging_face(model.config))
    twin.load_state_dict(model.gpt2.state_dict())
    twin.to(torch.float16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    save_note(Path(folder), record=record)
