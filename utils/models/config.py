"""The sizes and choices of one attention-only model."""

from dataclasses import dataclass

__all__ = ["AttentionOnlyConfig"]


@dataclass(frozen=True)
class AttentionOnlyConfig:
    """Sizes and choices of one model; F-147 lists the paper's.

    `positions` says where position vectors enter: "qk" adds them only to what W_Q and
    W_K read (the paper's choice), "stream" adds them to the residual stream as GPT-2
    does. `position_init` is "sinusoidal", waves of height `position_scale`, or
    "normal"; both are trained afterwards. `smeared_keys` mixes each key with the one
    before it (O-20).
    """

    n_layers: int
    d_vocab: int
    d_model: int
    n_heads: int = 8
    d_head: int = 32
    n_ctx: int = 256
    positions: str = "qk"
    position_init: str = "sinusoidal"
    position_scale: float = 0.5
    smeared_keys: bool = False

    def __post_init__(self):
        if self.positions not in ("qk", "stream"):
            raise ValueError(
                f'positions must be "qk" or "stream", not {self.positions!r}.'
            )
        if self.position_init not in ("sinusoidal", "normal"):
            raise ValueError(
                'position_init must be "sinusoidal" or "normal", '
                f"not {self.position_init!r}."
            )
        if not 0 <= self.n_layers <= 3:
            raise ValueError(f"n_layers must be 0 to 3, not {self.n_layers}.")
        for name in ("d_vocab", "d_model", "n_heads", "d_head", "n_ctx"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1.")
