"""Survivors among the mutants of chapter 4, and why they may survive."""

EXPLAINED: dict[tuple[str, str], str] = {
    (
        "marginal_effect",
        "return loss_with(set(given)) - loss_with(set(given) | set(heads))"
        "  ->  return loss_with(set(given[::-1])) - loss_with(set(given) | set(heads))",
    ): "A set has no order.",
}
