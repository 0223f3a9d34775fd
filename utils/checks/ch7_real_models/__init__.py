"""Judges, hints and known mistakes of chapter 7, one file an exercise."""
