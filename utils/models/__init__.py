"""The models: the paper's architecture, made by hand or loaded from files."""
