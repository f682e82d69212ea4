"""Fetching mail by archiving profiles, in a process of its own, the collector.

The archiver keeps the profiles among the settings and tells the collector of them (``told``); the collector goes to the
sources, seals what it fetches for the one mailbox of fetched and imported mail, and remembers in its ledger how far it
is. It holds the profiles' credentials and no key that opens mail, so it goes on while the archive is locked.
"""
