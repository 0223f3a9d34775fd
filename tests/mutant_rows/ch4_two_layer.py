"""Survivors among the mutants of chapter 4, and why they may survive."""

from tests.mutant_rows import HOOK, SPARE

_SET = "A set has no order."

EXPLAINED: dict[tuple[str, str], str] = {
    (
        "random_composition",
        "scores = [composition_score(random_head(), random_head()) for _ in "
        "range(n_samples)]"
        "  ->  scores = [composition_score(random_head(), random_head()) for _ in "
        "[*range(n_samples)][::-1]]",
    ): "The number of the sample is not used.",
    (
        "term_importance",
        "added = [torch.zeros_like(embed) for _ in layers]"
        "  ->  added = [torch.zeros_like(embed) for _ in [*layers][::-1]]",
    ): "The number of the layer is not used.",
    (
        "term_importance",
        "log_probs = (stream[:, :-1] @ model.W_U).log_softmax(dim=-1)"
        "  ->  log_probs = (stream[:, :] @ model.W_U).log_softmax(dim=-1)",
    ): SPARE,
    (
        "marginal_effect",
        "log_probs = (stream[:, :-1] @ model.W_U).log_softmax(dim=-1)"
        "  ->  log_probs = (stream[:, :] @ model.W_U).log_softmax(dim=-1)",
    ): SPARE,
    (
        "marginal_effect",
        "return loss_with(set(given)) - loss_with(set(given) | set(heads))"
        "  ->  return loss_with(given) - loss_with(set(given) | set(heads))",
    ): "`given` names no head twice.",
    (
        "marginal_effect",
        "return loss_with(set(given)) - loss_with(set(given) | set(heads))"
        "  ->  return loss_with(set(given)) - loss_with(set(given[::-1]) | set(heads))",
    ): _SET,
    (
        "marginal_effect",
        "return loss_with(set(given)) - loss_with(set(given) | set(heads))"
        "  ->  return loss_with(set(given)) - loss_with(set(given) | set(heads[::-1]))",
    ): _SET,
    (
        "marginal_effect",
        "return loss_with(set(given)) - loss_with(set(given) | set(heads))"
        "  ->  return loss_with(set(given[::-1])) - loss_with(set(given) | set(heads))",
    ): _SET,
    (
        "pattern_preserving_ablation",
        "kept = z.clone()  ->  kept = z",
    ): HOOK,
    (
        "pattern_preserving_ablation",
        "kept[:, :, [head for layer, head in heads if layer == hook.layer()]] = 0.0"
        "  ->  kept[:, :, [head for layer, head in [*heads][::-1] if layer == "
        "hook.layer()]] = 0.0",
    ): "All of them become zero, in whatever order.",
    (
        "pattern_preserving_ablation",
        "kept[:, :, [head for layer, head in heads if layer == hook.layer()]] = 0.0"
        "  ->  kept[:, :, [head for layer, head in heads[::-1] if layer == "
        "hook.layer()]] = 0.0",
    ): "All of them become zero, in whatever order.",
}
