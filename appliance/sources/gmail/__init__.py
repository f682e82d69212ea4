"""Mailboxes of Gmail and Google Workspace: IMAP with Google's tokens, each message once with its labels."""
