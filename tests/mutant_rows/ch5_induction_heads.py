"""Survivors among the mutants of chapter 5, and why they may survive."""

from tests.mutant_rows import HOOK, SPARE

ONE_AXIS = "The mean of all entries is the same with an axis of length one left in."
BOUND = "The bound only keeps 0 / 0 from happening, and both bounds do."
AB_BA = "AB and BA have the same eigenvalues but for zeros, which add nothing to a sum."
ROUNDING = (
    "Float32 eigenvalues differ in their last digits, far below what is asked for."
)
SHARP = "Any scale is right that leaves the softmax almost nothing for the other keys."
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
    ): BOUND,
    (
        "copying_head_score",
        "return (own / raised.sum().clamp(min=1e-12)).item()"
        "  ->  return (own / raised.sum().clamp(min=1.5e-12)).item()",
    ): BOUND,
    (
        "prefix_matching_score",
        "targets = torch.zeros(*tokens.shape, tokens.shape[1], dtype=torch.bool)"
        "  ->  targets = torch.zeros(*tokens.shape, tokens.shape[1])",
    ): "Numbers 1 and 0 multiply and answer any() as True and False do.",
    (
        "ideal_pattern_recovery",
        "losses = -log_probs[:, :-1].gather(-1, tokens[:, 1:, None]).squeeze(-1)"
        "  ->  losses = -log_probs[:, :-1].gather(-1, tokens[:, 1:, None])",
    ): ONE_AXIS,
    (
        "ideal_pattern_recovery",
        "losses = -log_probs[:, :-1].gather(-1, tokens[:, 1:, None]).squeeze(-1)"
        "  ->  losses = -log_probs[:, :].gather(-1, tokens[:, 1:, None]).squeeze(-1)",
    ): SPARE,
    (
        "same_matching_score",
        "weights[prev_head] = 1.0  ->  weights[prev_head] = 1.5",
    ): "A factor of all eigenvalues falls out of the ratio of their sums.",
    (
        "same_matching_score",
        "W_OV = (weights[:, None, None] * (model.W_V[0] @ model.W_O[0])).sum(dim=0)"
        "  ->  W_OV = (weights[:, None, None] * (model.W_V[0] @ model.W_O[0])).mean(dim=0)",
    ): "A factor of all eigenvalues falls out of the ratio of their sums.",
    (
        "same_matching_score",
        "small = W_K.T @ W_OV.T @ (E.T @ E) @ W_Q"
        "  ->  small = W_Q @ (W_K.T @ W_OV.T @ (E.T @ E))",
    ): AB_BA,
    (
        "same_matching_score",
        "eigenvalues = torch.linalg.eigvals(small.double())"
        "  ->  eigenvalues = torch.linalg.eigvals(small)",
    ): ROUNDING,
    (
        "induction_heads_from_weights",
        "small = W_O @ (model.W_U @ model.W_E) @ W_V"
        "  ->  small = W_V @ (W_O @ (model.W_U @ model.W_E))",
    ): AB_BA,
    (
        "induction_heads_from_weights",
        "eigenvalues = torch.linalg.eigvals(small.double())"
        "  ->  eigenvalues = torch.linalg.eigvals(small)",
    ): ROUNDING,
    (
        "induction_heads_from_weights",
        "copying = eigenvalues.sum().real / eigenvalues.abs().sum().clamp(min=1e-12)"
        "  ->  copying = eigenvalues.sum().real / eigenvalues.abs().sum()",
    ): "The text leaves a silent head's share open: NaN is above no threshold, 0 only above negative ones.",
    (
        "induction_heads_from_weights",
        "copying = eigenvalues.sum().real / eigenvalues.abs().sum().clamp(min=1e-12)"
        "  ->  copying = eigenvalues.sum().real / eigenvalues.abs().sum().clamp(min=1.5e-12)",
    ): BOUND,
    (
        "build_previous_token_head",
        "sharpness = 30.0  ->  sharpness = 45.0",
    ): SHARP,
    (
        "build_matching_head",
        "sharpness = 40.0  ->  sharpness = 60.0",
    ): SHARP,
    (
        "build_matching_head",
        "any_token = W_E.sum(dim=0)  ->  any_token = W_prev.sum(dim=0)",
    ): "Every position holds one row of W_prev, as it holds one of W_E.",
    (
        "build_matching_head",
        "rest = any_token[:, None] * W_E[START_ID]"
        "  ->  rest = any_token[:, None] * W_E[:1][START_ID]",
    ): "START_ID is 0, and the first row alone has a row 0 too.",
    (
        "build_matching_head",
        "W_QK = sharpness * match + sharpness / 2 * rest"
        "  ->  W_QK = sharpness * match + sharpness / 3 * rest",
    ): "Any pull is right that is clearly above 0 and clearly below a match.",
    (
        "build_induction_model",
        '"W_Q": W_QK * d_model**0.5,  ->  "W_Q": W_QK * (d_model * 0.5),',
    ): SHARP,
    (
        "build_induction_model",
        '"W_Q": W_QK * d_model**0.5,  ->  "W_Q": W_QK * d_model,',
    ): SHARP,
    (
        "build_induction_model",
        '"W_Q": W_QK * d_model**0.5,  ->  "W_Q": W_QK * d_model**0.75,',
    ): SHARP,
    (
        "build_pointer_model",
        "sharpness = 60.0  ->  sharpness = 90.0",
    ): SHARP,
    (
        "build_pointer_model",
        "same_token = sharpness * (W_E.T @ W_E - W_pos.T @ W_pos)"
        "  ->  same_token = sharpness * (W_E.T @ W_E)",
    ): "A position that also fetches itself points one on, which the mask hides from it.",
    (
        "build_pointer_model",
        "copy = 10 * W_E.T @ W_E  ->  copy = 11 * W_E.T @ W_E",
    ): "Any scale is right that makes the right token the likeliest by far.",
    (
        "build_pointer_model",
        "copy = 10 * W_E.T @ W_E  ->  copy = 9 * W_E.T @ W_E",
    ): "Any scale is right that makes the right token the likeliest by far.",
    (
        "build_pointer_model",
        '"W_Q": torch.stack([same_token[None], one_further[None]]) * d_model**0.5,'
        '  ->  "W_Q": torch.stack([same_token[None], one_further[None]]) * (d_model * 0.5),',
    ): SHARP,
    (
        "build_pointer_model",
        '"W_Q": torch.stack([same_token[None], one_further[None]]) * d_model**0.5,'
        '  ->  "W_Q": torch.stack([same_token[None], one_further[None]]) * d_model,',
    ): SHARP,
    (
        "build_pointer_model",
        '"W_Q": torch.stack([same_token[None], one_further[None]]) * d_model**0.5,'
        '  ->  "W_Q": torch.stack([same_token[None], one_further[None]]) * d_model**0.75,',
    ): SHARP,
}
