"""Survivors among the mutants of chapter 0, and why they may survive."""

from tests.mutant_rows import HOOK, SPARE

EXPLAINED: dict[tuple[str, str], str] = {
    (
        "next_token",
        "best = logits[0, -1].argmax().item()"
        "  ->  best = logits[-1, -1].argmax().item()",
    ): "One text makes a batch of one row, so the first row is the last.",
    (
        "per_token_loss",
        "return -log_probs[:, :-1].gather(-1, following).squeeze(-1)"
        "  ->  return -log_probs[:, :].gather(-1, following).squeeze(-1)",
    ): SPARE,
    (
        "attention_pattern",
        "later = torch.ones(length, length, device=scores.device).triu(1).bool()"
        "  ->  later = torch.ones(length, length).triu(1).bool()",
    ): "On a processor there is one device only, and the checks run there.",
    (
        "ablate_head",
        "kept = z.clone()  ->  kept = z",
    ): HOOK,
    (
        "replace_pattern",
        "forced = own.clone()  ->  forced = own",
    ): HOOK,
}
