"""Survivors among the mutants of chapter 7, and why they may survive."""

EXPLAINED: dict[tuple[str, str], str] = {}
