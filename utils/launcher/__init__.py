"""What `python3 -m utils` can do: one file a command."""
