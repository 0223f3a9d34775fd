"""The course's model: an attention-only transformer as in the paper.

`AttentionOnlyTransformer` is the network that the trainer trains. `as_bridge` puts
TransformerLens's interface around it, and learners only ever see that bridge. Trained
models live in `utils/assets/models` and come through `load_model`.
"""

import hashlib
import json
import weakref
from dataclasses import asdict
from pathlib import Path

import safetensors.torch
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformer_lens import TransformerBridgeConfig
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.model_bridge.sources._bridge_builder import (
    build_bridge_from_module,
)

from utils.models.config import AttentionOnlyConfig
from utils.models.layers import Block

__all__ = [
    "AttentionOnlyTransformer",
    "MODEL_NAMES",
    "ModelFileError",
    "as_bridge",
    "live_models",
    "load_model",
    "model_record",
    "save_model",
    "watch_over",
]

MODEL_FOLDER = Path(__file__).parents[1] / "assets" / "models"


MODEL_NAMES = (
    "zero_layer",
    "one_layer",
    "two_layer",
    "one_layer_twin",
    "two_layer_text",
)


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
        # PyTorch fills new modules with random numbers. They are replaced below, and
        # drawing them must not shift what the rest of a notebook draws.
        with torch.random.fork_rng(devices=[]):
            self.tok_embed = nn.Embedding(config.d_vocab, config.d_model)
            self.pos = nn.Embedding(config.n_ctx, config.d_model)
            self.layers = nn.ModuleList(Block(config) for _ in range(config.n_layers))
            self.head = nn.Linear(config.d_model, config.d_vocab, bias=False)
        self.ln_out = nn.Identity()  # the bridge looks for a place of this name
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
    """Every model that was loaded for a learner and that still exists."""
    return list(_live)


def watch_over(bridge: TransformerBridge) -> TransformerBridge:
    """From now on a check puts this model back, whatever an answer does to it."""
    _live.add(bridge)
    return bridge


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
    return watch_over(bridge)


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
