"""Survivors among the mutants of chapter 7, and why they may survive."""

ORDER = "Names are taken one by one, in whatever order."
EXPLAINED: dict[tuple[str, str], str] = {
    (
        "fold_layer_norm",
        '"ln1": (("W_Q", "b_Q"), ("W_K", "b_K"), ("W_V", "b_V")),'
        "  ->  \"ln1\": (('W_K', 'b_K'), ('W_Q', 'b_Q'), ('W_V', 'b_V')),",
    ): ORDER,
    (
        "fold_layer_norm",
        '"ln1": (("W_Q", "b_Q"), ("W_K", "b_K"), ("W_V", "b_V")),'
        "  ->  \"ln1\": (('W_Q', 'b_Q'), ('W_V', 'b_V'), ('W_K', 'b_K')),",
    ): ORDER,
    (
        "fold_layer_norm",
        '"ln2": (("W_in", "b_in"), ("W_gate", None)),'
        "  ->  \"ln2\": (('W_gate', None), ('W_in', 'b_in')),",
    ): ORDER,
    (
        "fold_layer_norm",
        'for name in ("W_E", "W_pos", "W_O", "b_O", "W_out", "b_out"):'
        "  ->  for name in ('W_pos', 'W_E', 'W_O', 'b_O', 'W_out', 'b_out'):",
    ): ORDER,
    (
        "fold_layer_norm",
        'for name in ("W_E", "W_pos", "W_O", "b_O", "W_out", "b_out"):'
        "  ->  for name in ('W_E', 'W_O', 'W_pos', 'b_O', 'W_out', 'b_out'):",
    ): ORDER,
    (
        "fold_layer_norm",
        'for name in ("W_E", "W_pos", "W_O", "b_O", "W_out", "b_out"):'
        "  ->  for name in ('W_E', 'W_pos', 'b_O', 'W_O', 'W_out', 'b_out'):",
    ): ORDER,
    (
        "fold_layer_norm",
        'for name in ("W_E", "W_pos", "W_O", "b_O", "W_out", "b_out"):'
        "  ->  for name in ('W_E', 'W_pos', 'W_O', 'W_out', 'b_O', 'b_out'):",
    ): ORDER,
    (
        "fold_layer_norm",
        'for name in ("W_E", "W_pos", "W_O", "b_O", "W_out", "b_out"):'
        "  ->  for name in ('W_E', 'W_pos', 'W_O', 'b_O', 'b_out', 'W_out'):",
    ): ORDER,
    (
        "grouped_heads",
        'for name in ("W_K", "b_K", "W_V", "b_V")'
        "  ->  for name in [*('W_K', 'b_K', 'W_V', 'b_V')][::-1]",
    ): ORDER,
    (
        "grouped_heads",
        'for name in ("W_K", "b_K", "W_V", "b_V")'
        "  ->  for name in ('b_K', 'W_K', 'W_V', 'b_V')",
    ): ORDER,
    (
        "grouped_heads",
        'for name in ("W_K", "b_K", "W_V", "b_V")'
        "  ->  for name in ('W_K', 'W_V', 'b_K', 'b_V')",
    ): ORDER,
    (
        "grouped_heads",
        'for name in ("W_K", "b_K", "W_V", "b_V")'
        "  ->  for name in ('W_K', 'b_K', 'b_V', 'W_V')",
    ): ORDER,
    (
        "induction_scores",
        "found.append(torch.where(whole < 1e-6, 0, on / whole.clamp(min=1e-6)))"
        "  ->  found.append(torch.where((whole <= 1e-06), 0, on / whole.clamp(min=1e-6)))",
    ): "The bound only keeps a division by nothing from happening.",
    (
        "induction_scores",
        "found.append(torch.where(whole < 1e-6, 0, on / whole.clamp(min=1e-6)))"
        "  ->  found.append(torch.where(whole < 1.5e-06, 0, on / whole.clamp(min=1e-6)))",
    ): "The bound only keeps a division by nothing from happening.",
    (
        "induction_scores",
        "found.append(torch.where(whole < 1e-6, 0, on / whole.clamp(min=1e-6)))"
        "  ->  found.append(torch.where(whole < 1e-6, 0, on / whole))",
    ): "The bound only keeps a division by nothing from happening.",
    (
        "induction_scores",
        "found.append(torch.where(whole < 1e-6, 0, on / whole.clamp(min=1e-6)))"
        "  ->  found.append(torch.where(whole < 1e-6, 0, on / whole.clamp(min=1.5e-06)))",
    ): "The bound only keeps a division by nothing from happening.",
    (
        "induction_scores",
        'names = [f"blocks.{layer}.attn.hook_pattern" for layer in range(model.cfg.n_layers)]'
        '  ->  names = [f"blocks.{layer}.attn.hook_pattern" for layer in [*range(model.cfg.n_layers)][::-1]]',
    ): "Layers are looked at in the order in which the model runs them.",
    (
        "induction_scores",
        "model.run_with_hooks(tokens, fwd_hooks=[(name, look) for name in names])"
        "  ->  model.run_with_hooks(tokens, fwd_hooks=[(name, look) for name in [*names][::-1]])",
    ): "Layers are looked at in the order in which the model runs them.",
    (
        "induction_scores",
        "previous, current = every.tril(-1).triu(-1), every.tril().triu()"
        "  ->  previous, current = every.tril(-1).triu(-1), every.triu().triu()",
    ): "Patterns are zero above the diagonal anyway.",
    (
        "induction_scores",
        "previous, current = every.tril(-1).triu(-1), every.tril().triu()"
        "  ->  previous, current = every.tril(-1).triu(-1), every.triu()",
    ): "Patterns are zero above the diagonal anyway.",
    (
        "composition_graph",
        "for layer in range(n_layers - 1):  ->  for layer in range(n_layers):",
    ): "For the last layer there are no later ones, so nothing is written.",
    (
        "composition_graph",
        "for layer in range(n_layers - 1):  ->  for layer in range(n_layers - 0):",
    ): "For the last layer there are no later ones, so nothing is written.",
    (
        "composition_graph",
        "product = squared.sum(dim=(-1, -2)).clamp(min=0).sqrt()"
        "  ->  product = squared.sum(dim=(-1, -2)).sqrt()",
    ): "A sum of squares is below zero by rounding only, in matrices of rank zero.",
    (
        "composition_graph",
        "product = squared.sum(dim=(-1, -2)).clamp(min=0).sqrt()"
        "  ->  product = squared.sum(dim=(-1, -2)).clamp(min=-1).sqrt()",
    ): "A sum of squares is below zero by rounding only, in matrices of rank zero.",
    (
        "composition_graph",
        "scores[layer, head, layer + 1 :] = product / sizes.clamp(min=1e-30)"
        "  ->  scores[layer, head, layer + 1 :] = product / sizes",
    ): "The bound only keeps 0 / 0 from happening, in heads that write nothing.",
    (
        "composition_graph",
        "scores[layer, head, layer + 1 :] = product / sizes.clamp(min=1e-30)"
        "  ->  scores[layer, head, layer + 1 :] = product / sizes.clamp(min=1.5000000000000001e-30)",
    ): "The bound only keeps 0 / 0 from happening, in heads that write nothing.",
    (
        "copying_scores",
        'small = weights["W_O"] @ around @ weights["W_V"]'
        "  ->  small = weights['W_V'] @ (weights['W_O'] @ around)",
    ): "A product begun at another place has the same eigenvalues that are not zero.",
    (
        "top_ov_pairs",
        "if len(best) == k: # only what beats the worst of the best so far can enter"
        "  ->  if False: # only what beats the worst of the best so far can enter",
    ): "What cannot be among the best is left out for speed only.",
    (
        "top_ov_pairs",
        "if len(best) == k: # only what beats the worst of the best so far can enter"
        "  ->  if first_value(len(best)) == k: # only what beats the worst of the best so far can enter",
    ): "What cannot be among the best is left out for speed only.",
    (
        "top_ov_pairs",
        "if len(best) == k: # only what beats the worst of the best so far can enter"
        "  ->  if len(best) == first_value(k): # only what beats the worst of the best so far can enter",
    ): "What cannot be among the best is left out for speed only.",
    (
        "top_ov_pairs",
        "if len(best) == k: # only what beats the worst of the best so far can enter"
        "  ->  if len(best) == 1: # only what beats the worst of the best so far can enter",
    ): "What cannot be among the best is left out for speed only.",
    (
        "top_ov_pairs",
        "better = block.amax(dim=1) > best[-1]"
        "  ->  better = block.amax(dim=1) >= best[-1]",
    ): "What cannot be among the best is left out for speed only.",
}
