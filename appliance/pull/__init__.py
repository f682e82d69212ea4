"""A mailbox as a program sees it that pulls mail from it: which messages there are, and where.

The log is the only source: no catalogue and no index, so that sealed mailboxes and a locked archive can be pulled
from too. ``gateway.pop3`` and ``services.pulling`` stand on this.
"""
