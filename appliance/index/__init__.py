"""The search index: what is found by words, and what a result list shows. Derived from the log, never the truth.

``writer`` puts documents in, ``search`` finds them; ``schema`` is what both agree on. Whoever searches goes
through ``search.Index``: shards or another engine can stand behind it.
"""
