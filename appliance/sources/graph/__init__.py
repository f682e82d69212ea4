"""Mailboxes of Microsoft 365, read through Microsoft Graph, or by IMAP with the same application's tokens.

Graph gives messages in MIME that Exchange makes anew each time: what they say is what came, their bytes are not.
"""
