"""Survivors among the mutants of chapter 5, and why they may survive."""

from tests.mutant_rows import HOOK, SPARE

ONE_AXIS = "The mean of all entries is the same with an axis of length one left in."
EXPLAINED: dict[tuple[str, str], str] = {
    (
        "repeated_tokens",
        "ids = torch.tensor([i for i in range(d_vocab) if i != START_ID])"
        "  ->  ids = torch.tensor([i for i in [*range(d_vocab)][1:] if i != START_ID])",
    ): "START_ID is the first id, which the condition leaves out anyway.",
    (
        "repeated_tokens",
        "ids = torch.tensor([i for i in range(d_vocab) if i != START_ID])"
        "  ->  ids = torch.tensor([i for i in [*range(d_vocab)][::-1] if i != START_ID])",
    ): "The ids are put in random order, so their order before does not count.",
    (
        "repeated_tokens",
        "orders = [torch.randperm(len(ids), generator=generator) for _ in range(batch)]"
        "  ->  orders = [torch.randperm(len(ids), generator=generator) for _ in [*range(batch)][::-1]]",
    ): "The loop's variable is not used, only the number of turns.",
    (
        "repeat_loss",
        "losses = -log_probs[:, :-1].gather(-1, tokens[:, 1:, None]).squeeze(-1)"
        "  ->  losses = -log_probs[:, :-1].gather(-1, tokens[:, 1:, None])",
    ): ONE_AXIS,
    (
        "repeat_loss",
        "losses = -log_probs[:, :-1].gather(-1, tokens[:, 1:, None]).squeeze(-1)"
        "  ->  losses = -log_probs[:, :].gather(-1, tokens[:, 1:, None]).squeeze(-1)",
    ): SPARE,
    (
        "repeat_loss",
        "losses = -log_probs[:, :-1].gather(-1, tokens[:, 1:, None]).squeeze(-1)"
        "  ->  losses = -log_probs[:, :-1].gather(-1, tokens[:, 1:, None]).squeeze(1)",
    ): ONE_AXIS,
    (
        "repeat_loss",
        "losses = -log_probs[:, :-1].gather(-1, tokens[:, 1:, None]).squeeze(-1)"
        "  ->  losses = -log_probs[:, :-1].gather(-1, tokens[:, 1:, None]).squeeze(-2)",
    ): ONE_AXIS,
    (
        "logit_effect",
        "return logits[:, :-1].gather(-1, tokens[:, 1:, None]).squeeze(-1)"
        "  ->  return logits[:, :].gather(-1, tokens[:, 1:, None]).squeeze(-1)",
    ): SPARE,
    (
        "ideal_pattern_recovery",
        "forced = own.clone()  ->  forced = own",
    ): HOOK,
    (
        "ideal_pattern_recovery",
        "losses = -log_probs[:, :-1].gather(-1, tokens[:, 1:, None]).squeeze(-1)"
        "  ->  losses = log_probs[:, :-1].gather(-1, tokens[:, 1:, None]).squeeze(-1)",
    ): "The sign of all three losses falls out of the ratio of their differences.",
    (
        "ideal_pattern_recovery",
        "return losses[:, first - 1 :].mean().item()"
        "  ->  return losses[:, first - 1:].sum().item()",
    ): "A factor of all three losses falls out of the ratio of their differences.",
    (
        "ideal_pattern_recovery",
        "losses = -log_probs[:, :-1].gather(-1, tokens[:, 1:, None]).squeeze(-1)"
        "  ->  losses = -log_probs[:, :-1].gather(-1, tokens[:, 1:, None]).squeeze(1)",
    ): ONE_AXIS,
    (
        "ideal_pattern_recovery",
        "losses = -log_probs[:, :-1].gather(-1, tokens[:, 1:, None]).squeeze(-1)"
        "  ->  losses = -log_probs[:, :-1].gather(-1, tokens[:, 1:, None]).squeeze(-2)",
    ): ONE_AXIS,
    (
        "ablate_edge",
        "kept = values.clone()  ->  kept = values",
    ): HOOK,
    (
        "same_matching_score",
        "E = model.W_E - model.W_E.mean(dim=0)"
        "  ->  E = model.W_E.mean(dim=0) - model.W_E",
    ): "E stands in the product twice, so its sign falls out.",
    (
        "same_matching_score",
        "return (eigenvalues.sum().real / eigenvalues.abs().sum().clamp(min=1e-12)).item()"
        "  ->  return (eigenvalues.sum().real / eigenvalues.abs().sum().clamp(min=1.5e-12)).item()",
    ): "The bound only keeps 0 / 0 from happening, and both bounds do.",
    (
        "copying_head_score",
        "return (own / raised.sum().clamp(min=1e-12)).item()"
        "  ->  return (own / raised.sum().clamp(min=1.5e-12)).item()",
    ): "The bound only keeps 0 / 0 from happening, and both bounds do.",
}
