"""The trainer and what is trained with it. It knows nothing of circuits."""
