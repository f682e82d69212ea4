"""POP3 for programs that pull a mailbox: it holds no keys but those that the reader's own password opens.

RFC 1939 with CAPA (2449), STLS (2595), AUTH PLAIN (1734, 5034) and the response codes of 2449 and 3206. ``syntax``
and ``octets`` are pure; ``connection`` is the wire, ``session`` one reader's dialogue, ``visit`` the open mailbox
behind it, ``door`` who gets in; ``worker`` is the process (``python -m gateway.pop3``). It reads volumes, writes
nothing of the archive, and asks the archiver to have erased what a reader deleted.
"""
