"""Pure functions from tensors to pictures."""
