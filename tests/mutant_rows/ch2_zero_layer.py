"""Survivors among the mutants of chapter 2, and why they may survive."""

EXPLAINED: dict[tuple[str, str], str] = {}
