"""Replicas: the archive on storage that somebody else runs, and back from there onto an empty machine.

Nothing here needs a key that opens mail. What lies on a remote is ciphertext; what names it is sealed with a key of
the replica's own (``Keys.key("service")``).
"""
