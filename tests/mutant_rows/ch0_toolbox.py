"""Survivors among the mutants of chapter 0, and why they may survive."""

EXPLAINED: dict[tuple[str, str], str] = {}
