"""The course's model: an attention-only transformer as in the paper.

`AttentionOnlyTransformer` is the network that the trainer trains. `as_bridge` puts
TransformerLens's interface around it, and learners only ever see that bridge. Trained
models live in `utils/assets/models` and come through `load_model`.
"""

import hashlib
import json
import math
import weakref
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import safetensors.torch
import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformer_lens import TransformerBridgeConfig
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.model_bridge.sources._bridge_builder import (
    build_bridge_from_module,
)

from utils.models.attention import causal_attention

__all__ = [
    "AttentionOnlyConfig",
    "AttentionOnlyTransformer",
    "MODEL_NAMES",
    "ModelFileError",
    "as_bridge",
    "live_models",
    "load_model",
    "model_record",
    "save_model",
]

MODEL_FOLDER = Path(__file__).parents[1] / "assets" / "models"
MODEL_NAMES = (
    "zero_layer",
    "one_layer",
    "two_layer",
    "one_layer_twin",
    "two_layer_text",
)


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


class Attention(nn.Module):
    """One attention layer: queries, keys, values, one softmax, one output matrix.

    `pattern_fn` and `scores_fn` are the two places where the bridge's hooks look in
    and may change what they see. Without them the fused kernel is used, which never
    forms the pattern.
    """

    accepts_pattern_fn = True  # tells TransformerLens to hook the pattern from inside

    def __init__(self, config: AttentionOnlyConfig):
        super().__init__()
        width = config.n_heads * config.d_head
        self.n_heads = config.n_heads
        self.d_head = config.d_head
        self.q = nn.Linear(config.d_model, width, bias=False)
        self.k = nn.Linear(config.d_model, width, bias=False)
        self.v = nn.Linear(config.d_model, width, bias=False)
        self.o = nn.Linear(width, config.d_model, bias=False)
        if config.smeared_keys:
            self.smear = nn.Parameter(torch.zeros(config.n_heads))
        # A tuple, so that a hook point stored here is not registered as a submodule.
        self.scores_fn: tuple[Callable[[Tensor], Tensor], ...] = ()

    def forward(
        self,
        hidden_states: Float[Tensor, "batch pos d_model"],
        positions: Float[Tensor, "batch pos d_model"] | None = None,
        attention_mask: Int[Tensor, "batch pos"] | None = None,
        pattern_fn: Callable[[Tensor], Tensor] | None = None,
    ) -> tuple[Float[Tensor, "batch pos d_model"]]:
        x = hidden_states
        placed = x if positions is None else x + positions
        q = self._split_heads(self.q(placed))
        k = self._smeared(self._split_heads(self.k(placed)))
        v = self._split_heads(self.v(x))
        if pattern_fn is None and not self.scores_fn and attention_mask is None:
            mixed = causal_attention(q, k, v)
        else:
            mixed = self._pattern(q, k, attention_mask, pattern_fn) @ v
        mixed = rearrange(mixed, "batch head pos d_head -> batch pos (head d_head)")
        # A tuple, because TransformerLens expects what Hugging Face's layers return.
        return (self.o(mixed),)

    def _split_heads(self, x: Tensor) -> Float[Tensor, "batch head pos d_head"]:
        return rearrange(
            x, "batch pos (head d_head) -> batch head pos d_head", head=self.n_heads
        )

    def _smeared(self, k: Float[Tensor, "batch head pos d_head"]) -> Tensor:
        if not hasattr(self, "smear"):
            return k
        own = torch.sigmoid(self.smear)[:, None, None]
        before = torch.cat([k[:, :, :1], k[:, :, :-1]], dim=2)
        return own * k + (1 - own) * before

    def _pattern(self, q, k, attention_mask, pattern_fn) -> Tensor:
        scores = q @ k.transpose(-2, -1) / math.sqrt(self.d_head)
        length = scores.shape[-1]
        hidden = torch.ones(length, length, dtype=torch.bool, device=q.device).triu(1)
        if attention_mask is not None:
            padded = attention_mask[:, None, None, :] == 0
            # The diagonal stays visible, so that a padded row has something to see.
            own = torch.eye(length, dtype=torch.bool, device=q.device)
            hidden = hidden | (padded & ~own)
        scores = scores.masked_fill(hidden, -torch.inf)
        for look in self.scores_fn:
            scores = look(scores)
        pattern = scores.softmax(dim=-1)
        return pattern if pattern_fn is None else pattern_fn(pattern)


class Block(nn.Module):
    """An attention layer that adds its output to the residual stream (F-11)."""

    def __init__(self, config: AttentionOnlyConfig):
        super().__init__()
        self.ln1 = nn.Identity()  # the bridge looks for a place of this name
        self.attn = Attention(config)

    def forward(self, hidden_states, positions=None, attention_mask=None):
        (out,) = self.attn(
            self.ln1(hidden_states),
            positions=positions,
            attention_mask=attention_mask,
        )
        return (hidden_states + out,)


class AttentionOnlyTransformer(nn.Module):
    """Zero to three attention layers between an embedding and an unembedding.

    No MLP, no LayerNorm, no biases, W_E and W_U untied (F-10, F-147). The same `seed`
    gives the same weights on every machine.

    Example:
        >>> config = AttentionOnlyConfig(n_layers=1, d_vocab=50, d_model=16, n_heads=2)
        >>> AttentionOnlyTransformer(config)(torch.tensor([[0, 7, 3]])).shape
        torch.Size([1, 3, 50])
    """

    def __init__(self, config: AttentionOnlyConfig, seed: int = 0):
        super().__init__()
        self.config = config
        self.tok_embed = nn.Embedding(config.d_vocab, config.d_model)
        self.pos = nn.Embedding(config.n_ctx, config.d_model)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.ln_out = nn.Identity()  # the bridge looks for a place of this name
        self.head = nn.Linear(config.d_model, config.d_vocab, bias=False)
        if not self.head.weight.is_meta:
            self._initialise(seed)

    @property
    def W_pos(self) -> Float[Tensor, "n_ctx d_model"]:
        """The position vectors."""
        return self.pos.weight

    def forward(
        self,
        input_ids: Int[Tensor, "batch pos"],
        attention_mask: Int[Tensor, "batch pos"] | None = None,
        **_unused,
    ) -> Float[Tensor, "batch pos d_vocab"]:
        """Logits for the next token at every position."""
        return self.head(self.final_stream(input_ids, attention_mask))

    def final_stream(
        self,
        input_ids: Int[Tensor, "batch pos"],
        attention_mask: Int[Tensor, "batch pos"] | None = None,
    ) -> Float[Tensor, "batch pos d_model"]:
        """The residual stream that the unembedding reads."""
        batch, length = input_ids.shape
        n_ctx = self.config.n_ctx
        if length > n_ctx:
            raise ValueError(
                f"The text has {length} tokens, this model reads at most {n_ctx}."
            )
        if attention_mask is not None and bool((attention_mask != 0).all()):
            attention_mask = None
        x = self.tok_embed(input_ids)
        steps = torch.arange(length, device=input_ids.device)
        positions = self.pos(steps.expand(batch, -1))
        if self.config.positions == "stream":
            x, positions = x + positions, None
        for layer in self.layers:
            (x,) = layer(x, positions=positions, attention_mask=attention_mask)
        return self.ln_out(x)

    @torch.no_grad()
    def _initialise(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)

        def normal(weight: Tensor, std: float) -> None:
            weight.copy_(torch.randn(weight.shape, generator=generator) * std)

        d_model = self.config.d_model
        normal(self.tok_embed.weight, d_model**-0.5)
        normal(self.head.weight, d_model**-0.5)
        if self.config.position_init == "sinusoidal":
            waves = sinusoids(self.config.n_ctx, d_model)
            self.pos.weight.copy_(self.config.position_scale * waves)
        else:
            normal(self.pos.weight, d_model**-0.5)
        for layer in self.layers:
            for linear in (layer.attn.q, layer.attn.k, layer.attn.v, layer.attn.o):
                normal(linear.weight, linear.in_features**-0.5)
            layer.attn.o.weight.mul_((2 * self.config.n_layers) ** -0.5)


def sinusoids(n_ctx: int, d_model: int) -> Float[Tensor, "n_ctx d_model"]:
    """Sines and cosines of geometrically spaced wavelengths, as in F-147."""
    wavelengths = 10_000 ** (torch.arange(0, d_model, 2) / d_model)
    angles = torch.arange(n_ctx)[:, None] / wavelengths
    waves = torch.stack([angles.sin(), angles.cos()], dim=-1)
    return waves.flatten(1)[:, :d_model]


def as_bridge(model: AttentionOnlyTransformer, tokenizer=None) -> TransformerBridge:
    """Put TransformerLens's interface around a model; the parameters are shared.

    The bridge answers `run_with_cache`, hooks such as `blocks.0.attn.hook_pattern` and
    `blocks.0.attn.hook_attn_scores`, and weights such as `W_Q [layer, head, d_model,
    d_head]`. Training the module changes the bridge and the other way round. With
    positions "qk" there is no `hook_pos_embed`, because nothing is added to the
    stream; the vectors are at `bridge.W_pos`.
    """
    twin = _twin_sharing_parameters(model)
    config = model.config
    tl_config = TransformerBridgeConfig(
        n_layers=config.n_layers,
        d_model=config.d_model,
        d_vocab=config.d_vocab,
        n_heads=config.n_heads,
        d_head=config.d_head,
        n_ctx=config.n_ctx,
        attn_only=True,
        normalization_type=None,
        positional_embedding_type="standard",
        original_architecture="AttentionOnlyTransformer",
    )

    def drop_position_component(adapter) -> None:
        if config.positions == "qk":
            adapter.component_mapping.pop("pos_embed")

    bridge = build_bridge_from_module(
        twin,
        architecture="TransformerLensNative",
        tl_config=tl_config,
        tokenizer=tokenizer,
        model_name=f"attention-only-{config.n_layers}l",
        post_adapter_hook=drop_position_component,
    )
    for block in bridge.blocks if config.n_layers else ():
        attention = block.attn.original_component
        attention.scores_fn = (block.attn.hook_attn_scores,)
        # TransformerLens adds hooks of its own at the first run. Here they come now, so
        # that a check can tell whether an answer left hooks behind.
        block._maybe_wire_capture_hooks()
    return bridge.train(model.training)


def _twin_sharing_parameters(
    model: AttentionOnlyTransformer,
) -> AttentionOnlyTransformer:
    """The same structure around the same parameters: the builder rewrites its input."""
    with torch.device("meta"):
        twin = AttentionOnlyTransformer(model.config)
    for name, parameter in model.named_parameters():
        owner, _, attribute = name.rpartition(".")
        setattr(twin.get_submodule(owner), attribute, parameter)
    return twin


class ModelFileError(RuntimeError):
    """A model file is missing or damaged; the message says what to do."""


_live: "weakref.WeakSet[TransformerBridge]" = weakref.WeakSet()


def live_models() -> list[TransformerBridge]:
    """Every model that `load_model` gave out and that still exists."""
    return list(_live)


def save_model(
    model: AttentionOnlyTransformer,
    path: str | Path,
    record: dict | None = None,
    dtype: torch.dtype = torch.float16,
) -> None:
    """Write `path.safetensors` and `path.json` (config, record, SHA-256).

    `record` says how the model came about: recipe, corpus, seed. Weights are stored
    as `dtype`; half precision halves the file and moves no logit visibly.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = {
        name: value.detach().to("cpu", dtype).contiguous()
        for name, value in model.state_dict().items()
    }
    data = safetensors.torch.save(weights)
    path.with_suffix(".safetensors").write_bytes(data)
    about = {
        "config": asdict(model.config),
        "record": record or {},
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    text = json.dumps(about, indent=1, sort_keys=True) + "\n"
    path.with_suffix(".json").write_text(text, encoding="utf-8")


def model_record(name: str | Path) -> dict:
    """The JSON beside a model's weights: its config, its record and its checksum."""
    file = _model_path(name).with_suffix(".json")
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
        AttentionOnlyConfig(**about["config"])
        len(about["sha256"])
    except FileNotFoundError:
        raise ModelFileError(_missing(name, file)) from None
    except (ValueError, TypeError, KeyError):
        raise ModelFileError(_damaged(name, file)) from None
    return about


def load_model(name: str | Path, tokenizer=None) -> TransformerBridge:
    """A trained model in eval mode, offline, with the course's tokenizer attached.

    `name` is one of `MODEL_NAMES`, or the path of a model saved with `save_model`.
    Raises ModelFileError when the file is missing, cut short or changed, and
    ValueError for an unknown name.
    """
    model = _load_module(name)
    if tokenizer is None:
        from utils.text.corpus import load_tokenizer  # late: the corpus needs no model

        tokenizer = load_tokenizer(model.config.d_vocab)
    bridge = as_bridge(model.eval(), tokenizer)
    bridge.requires_grad_(False)
    _live.add(bridge)
    return bridge


def _load_module(name: str | Path) -> AttentionOnlyTransformer:
    about = model_record(name)
    file = _model_path(name).with_suffix(".safetensors")
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        raise ModelFileError(_missing(name, file)) from None
    if hashlib.sha256(data).hexdigest() != about["sha256"]:
        raise ModelFileError(_damaged(name, file))
    weights = safetensors.torch.load(data)
    model = AttentionOnlyTransformer(AttentionOnlyConfig(**about["config"]))
    try:
        model.load_state_dict({key: value.float() for key, value in weights.items()})
    except RuntimeError:
        # The weights are what was saved, so the sizes beside them are not.
        raise ModelFileError(_damaged(name, file.with_suffix(".json"))) from None
    return model


def _model_path(name: str | Path) -> Path:
    if isinstance(name, Path) or "/" in name or "\\" in name:
        return Path(name)
    if name not in MODEL_NAMES:
        raise ValueError(
            f"There is no model named {name!r}. The course's models are: "
            + ", ".join(MODEL_NAMES)
            + "."
        )
    return MODEL_FOLDER / name


def _remedy(name: str | Path, file: Path) -> str:
    if file.parent != MODEL_FOLDER:
        return "Save the model again with save_model."
    relative = file.relative_to(MODEL_FOLDER.parents[2]).as_posix()
    return (
        f"`git checkout -- {relative}` brings the shipped file back; "
        f"`python3 -m utils train {name}` trains the model again."
    )


def _missing(name: str | Path, file: Path) -> str:
    return f"The file {file.name} is missing. {_remedy(name, file)}"


def _damaged(name: str | Path, file: Path) -> str:
    return (
        f"The file {file.name} is damaged or was cut short: it is not the one that "
        f"was saved. {_remedy(name, file)}"
    )
