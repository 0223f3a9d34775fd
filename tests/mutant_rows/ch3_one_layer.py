"""Survivors among the mutants of chapter 3, and why they may survive."""

ONE_LAYER = "The model has one layer, which is the first and the last."
SHAPE = "Only the shape of one text's scores is read, and several texts are asked for."
BLOCKS = "Blocks of rows of any size have the same rows."
BEST = "best = [(rows @ circuit.B).argmax(dim=1) for rows in circuit.A.split("
EXPLAINED: dict[tuple[str, str], str] = {
    ("frozen_pattern_logits", "model.W_V[0],  ->  model.W_V[-1],"): ONE_LAYER,
    ("frozen_pattern_logits", "model.W_O[0],  ->  model.W_O[-1],"): ONE_LAYER,
    (
        "one_layer_path_terms",
        "head_outputs(model, tokens, layer=0),"
        "  ->  head_outputs(model, tokens, layer=-1),",
    ): ONE_LAYER,
    (
        "positional_share",
        "seen = torch.ones_like(scores[0]).tril()"
        "  ->  seen = torch.ones_like(scores[1]).tril()",
    ): SHAPE,
    (
        "positional_share",
        "seen = torch.ones_like(scores[0]).tril()"
        "  ->  seen = torch.ones_like(scores[-1]).tril()",
    ): SHAPE,
    (
        "positional_share",
        "centred = (scores - mean) * seen  ->  centred = (mean - scores) * seen",
    ): "Both sums are of squares, so the sign falls out.",
    (
        "copying_score",
        "return (eigenvalues.sum().real / eigenvalues.abs().sum().clamp(min=1e-12)).item()"
        "  ->  return (eigenvalues.sum() / eigenvalues.abs().sum().clamp(min=1e-12)).item()",
    ): "The sum is real but for rounding, and a complex number of that kind is taken.",
    (
        "copying_score",
        "return (eigenvalues.sum().real / eigenvalues.abs().sum().clamp(min=1e-12)).item()"
        "  ->  return (eigenvalues.sum().real / eigenvalues.abs().sum().clamp(min=1.5e-12)).item()",
    ): "A bound this small only keeps 0 / 0 away.",
    ("copying_top1", f"{BEST}512)]  ->  {BEST}511)]"): BLOCKS,
    ("copying_top1", f"{BEST}512)]  ->  {BEST}513)]"): BLOCKS,
}
