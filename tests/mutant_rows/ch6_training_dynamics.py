"""Survivors among the mutants of chapter 6, and why they may survive."""

DIGITS = (
    "float64 inside the function only adds digits that float32 results do not show."
)
EDGE = (
    "A little is added for positions that rounding puts below their edge. A check that "
    "asks for it would fail right answers for their rounding."
)
SIGN = "The sign of a principal component is free, and the check leaves it free."
THIN = "Only the first n_components columns are used, which are the same either way."
KIND = "Later cells get the result in float32 whatever the answer makes of it."

EXPLAINED: dict[tuple[str, str], str] = {
    (
        "loss_by_log_position",
        "logs = torch.arange(1, n + 1).double().log()  ->  logs = torch.arange(1, n + 1).log()",
    ): DIGITS,
    (
        "loss_by_log_position",
        "bins = (n_bins * logs / math.log(n + 1) + 1e-9).long()  ->  bins = (n_bins * logs / math.log(n + 1)).long()",
    ): EDGE,
    (
        "loss_by_log_position",
        "bins = (n_bins * logs / math.log(n + 1) + 1e-9).long()  ->  bins = (n_bins * logs / math.log(n + 1) + 1.5000000000000002e-09).long()",
    ): EDGE,
    (
        "loss_by_log_position",
        "means = torch.stack([losses[:, bins == k].double().mean() for k in used])  ->  means = torch.stack([losses[:, bins == k].mean() for k in used])",
    ): DIGITS,
    (
        "loss_trajectory",
        "points = rearrange(losses, \"run snapshot token -> (run snapshot) token\").double()  ->  points = rearrange(losses, 'run snapshot token -> (run snapshot) token')",
    ): DIGITS,
    (
        "loss_trajectory",
        "centred = points - points.mean(dim=0)  ->  centred = points.mean(dim=0) - points",
    ): SIGN,
    (
        "loss_trajectory",
        "left, sizes, _ = torch.linalg.svd(centred, full_matrices=False)  ->  left, sizes, _ = torch.linalg.svd(centred)",
    ): THIN,
    (
        "loss_trajectory",
        "left, sizes, _ = torch.linalg.svd(centred, full_matrices=False)  ->  left, sizes, _ = torch.linalg.svd(centred, full_matrices=True)",
    ): THIN,
    (
        "loss_trajectory",
        "coordinates.to(losses.dtype),  ->  coordinates,",
    ): KIND,
    (
        "loss_trajectory",
        "coordinates.to(losses.dtype),  ->  coordinates.to(first_value(losses).dtype),",
    ): KIND,
    (
        "loss_trajectory",
        "coordinates.to(losses.dtype),  ->  coordinates.to(losses[:1].dtype),",
    ): KIND,
}
