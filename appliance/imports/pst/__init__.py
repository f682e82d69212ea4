"""Outlook's stores, PST and OST: everything that is in them, as MS-PST describes them.

Why by our own code: docs/decisions/0183-pst-by-hand.md. From the bottom up: ``layout``, ``index``, ``nodes``,
``heaps``, ``items``, ``folders``, ``reader``.
"""

from appliance.imports.pst.reader import read

__all__ = ["read"]
