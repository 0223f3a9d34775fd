"""Text to learn from: the tokenizer, batches, and the sources of tokens."""
