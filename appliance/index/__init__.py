"""The search index: what is found by words, and what a result list shows. Derived from the log, never the truth.

Tantivy works in memory (``live``), one index a quarter (``shard``). What lies on the disk is sealed (``sealing``,
``mirror``). ``writer`` puts documents in; whoever searches goes through ``search.Index``, which has the shards it needs
from ``library`` and makes one answer of theirs in ``gather``. ``schema`` is what all agree on.
"""
