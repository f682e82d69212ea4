"""Generated inputs for everything that reads what strangers send: no crash, no hang over two seconds.

``python -m tests.fuzz --inputs 100000`` runs the long form; ``test_readers.py`` a short one.
"""
