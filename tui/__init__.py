"""The console of the box: set-up, then daily operation, on its own screen or over SSH (Textual)."""
