"""Survivors among the mutants of chapter 2, and why they may survive."""

EXPLAINED: dict[tuple[str, str], str] = {
    (
        "kneser_ney_loss",
        "p_pair = (kept + freed * p_word[w]) / total.clamp(min=1)"
        "  ->  p_pair = (kept + freed * p_word[w]) / total",
    ): "Where total is 0 the next line takes the other branch.",
    (
        "kneser_ney_loss",
        "p_pair = (kept + freed * p_word[w]) / total.clamp(min=1)"
        "  ->  p_pair = (kept + freed * p_word[w]) / total.clamp(min=0)",
    ): "Where total is 0 the next line takes the other branch.",
}
