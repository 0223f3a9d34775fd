"""Survivors among the mutants of chapter 4, and why they may survive."""

EXPLAINED: dict[tuple[str, str], str] = {}
