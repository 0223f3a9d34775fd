"""A large model's memory: folded in place, laid side by side, held to a peak."""

import subprocess
import sys

import pytest
import torch
from transformer_lens.model_bridge import TransformerBridge
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from utils.models.memory import fold_in_place, lay_side_by_side, stacked
from utils.models.real import weights_of
from utils.text.tokenizer import load_tokenizer

GPT2 = dict(vocab_size=300, n_positions=9, n_embd=12, n_head=3, n_inner=7)
LLAMA = dict(
    vocab_size=300,
    hidden_size=16,
    intermediate_size=7,
    num_attention_heads=4,
    num_key_value_heads=2,
    tie_word_embeddings=True,
)


def drawn(make, config, n_layers: int, seed: int = 0) -> TransformerBridge:
    """A model whose every weight and bias is random, norms included; not folded."""
    config = config | {
        "n_layer" if "n_embd" in config else "num_hidden_layers": n_layers
    }
    kinds = {GPT2LMHeadModel: GPT2Config, LlamaForCausalLM: LlamaConfig}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = make(kinds.get(make, Qwen2Config)(**config)).eval()
        for parameter in model.parameters():
            parameter.data = parameter.data + torch.randn(parameter.shape) / 3
    return TransformerBridge.boot_transformers(
        "made", hf_model=model, tokenizer=load_tokenizer(300), dtype=torch.float32
    ).requires_grad_(False)


KINDS = {
    "gpt2": (GPT2LMHeadModel, GPT2),
    "llama": (LlamaForCausalLM, LLAMA),
    "llama with biases": (LlamaForCausalLM, LLAMA | {"attention_bias": True}),
    "qwen2, which biases values alone": (Qwen2ForCausalLM, LLAMA),
}


@pytest.mark.parametrize("n_layers", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_folding_in_place_is_the_librarys(kind, n_layers):
    mine, theirs = (drawn(*KINDS[kind], n_layers) for _ in range(2))
    tokens = torch.tensor([[5, 9, 2, 250, 5, 9, 7], [1, 1, 8, 3, 299, 4, 6]])
    before = mine(tokens).log_softmax(-1)
    fold_in_place(mine)
    theirs.enable_compatibility_mode(disable_warnings=True)
    assert torch.allclose(mine(tokens), theirs(tokens), atol=2e-4)
    assert torch.allclose(mine(tokens).log_softmax(-1), before, atol=2e-4)
    ours, wanted = weights_of(mine), weights_of(theirs)
    assert ours.keys() == wanted.keys()
    for name, value in wanted.items():
        assert torch.allclose(ours[name], value, atol=1e-5), name


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_side_by_side_compute_the_same_and_are_not_copied(kind):
    model, apart = (drawn(*KINDS[kind], 3) for _ in range(2))
    for one in (model, apart):
        one.enable_compatibility_mode(disable_warnings=True)
    lay_side_by_side(model)
    tokens = torch.tensor([[5, 9, 2, 250]])
    assert torch.equal(model(tokens), apart(tokens))
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    mine, copied = weights_of(model), weights_of(apart)
    for name in ("W_Q", "W_K", "W_V", "W_O", "W_in", "W_out"):
        assert torch.equal(mine[name], copied[name])
        assert mine[name].untyped_storage().data_ptr() in own, name
        assert copied[name].untyped_storage().data_ptr() != mine[name].data_ptr()
        library = getattr(model, name)
        assert torch.equal(mine[name], library), name


def test_what_does_not_lie_side_by_side_is_stacked():
    together = torch.arange(24.0).view(4, 2, 3)
    for parts in (
        [together[0], together[2], together[1]],  # another order
        [together[0], together[1], together[3]],  # unequal steps
        [together[0], together[1].clone()],  # another piece of memory
        [together[0].T.contiguous().T, together[1]],  # other strides
        [together[0], together[1].clone()[:1].expand(2, 3)],
    ):
        assert torch.equal(stacked(parts), torch.stack(parts))
    for parts in ([together[1]], [together[0].T, together[1].T], list(together[::2])):
        found = stacked(parts)
        assert torch.equal(found, torch.stack(parts))
        assert found.untyped_storage().data_ptr() == together.data_ptr()
    assert torch.equal(stacked([torch.ones(2), torch.zeros(2)])[1], torch.zeros(2))


PEAK = """
import sys
from pathlib import Path
from utils.models.real import let_go, load_real_model, untrained_like, weights_of

def memory(kind):
    lines = open("/proc/self/status").read().splitlines()
    return int(next(line for line in lines if line.startswith(kind)).split()[1]) * 1024

load_real_model("small_gpt2", folded=True)  # what is imported once
for make in (lambda folder: load_real_model(folder, folded=True), untrained_like):
    let_go()
    before = memory("VmRSS")
    open("/proc/self/clear_refs", "w").write("5")
    model = make(Path(sys.argv[1]))
    weights = weights_of(model)
    size = sum(w.numel() for w in model.parameters()) * 4
    print((memory("VmHWM") - before) / size, (memory("VmRSS") - before) / size)
    del model, weights
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="counts a peak anew, as Linux can")
def test_loading_takes_at_most_twice_the_weights_and_holds_them_once(tmp_path):
    """With `weights_of`; two copies more, as the library makes, are 3 times."""
    config = LLAMA | dict(vocab_size=10_000, hidden_size=512, intermediate_size=1536)
    model = LlamaForCausalLM(LlamaConfig(**config, num_hidden_layers=12))
    model.half().save_pretrained(tmp_path)
    load_tokenizer(1024).save_pretrained(tmp_path)
    command = [sys.executable, "-c", PEAK, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded, untrained = done.stdout.splitlines()[-2:]
    for line in (loaded, untrained):
        peak, held = map(float, line.split())
        assert peak < 2.2 and held < 1.3, (loaded, untrained)
