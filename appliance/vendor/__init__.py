"""The web APIs of Microsoft and Google as directories and sources need them: HTTP with patience, and tokens."""
