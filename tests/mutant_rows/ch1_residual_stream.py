"""Survivors among the mutants of chapter 1, and why they may survive."""

ORDER = "Each weight is made by itself, and the order of a dict's entries is not asked."
WRITERS = (
    'writers = {name: getattr(model, name) @ rotation for name in ("W_E", "W_pos")}'
    "  ->  writers = {name: getattr(model, name) @ rotation for name in "
)
READERS = 'readers = ("W_Q", "W_K", "W_V", "W_U")  ->  readers = '
EXPLAINED: dict[tuple[str, str], str] = {
    ("rotate_basis", WRITERS + "[*('W_E', 'W_pos')][::-1]}"): ORDER,
    ("rotate_basis", WRITERS + "('W_pos', 'W_E')}"): ORDER,
    ("rotate_basis", READERS + "('W_K', 'W_Q', 'W_V', 'W_U')"): ORDER,
    ("rotate_basis", READERS + "('W_Q', 'W_V', 'W_K', 'W_U')"): ORDER,
    ("rotate_basis", READERS + "('W_Q', 'W_K', 'W_U', 'W_V')"): ORDER,
    (
        "rotate_basis",
        "return writers | {name: rotation.T @ getattr(model, name) for name in readers}"
        "  ->  return writers | {name: rotation.T @ getattr(model, name) for name in [*readers][::-1]}",
    ): ORDER,
    (
        "feature_interference",
        "different = ~torch.eye(n, dtype=torch.bool, device=units.device)"
        "  ->  different = ~torch.eye(n, dtype=torch.bool)",
    ): "Checks give tensors in main memory, which is where new ones are made.",
}
