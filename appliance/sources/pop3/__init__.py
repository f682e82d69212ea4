"""One mailbox over POP3 (RFC 1939): its inbox, without folders and flags. The last resort where there is no IMAP."""
