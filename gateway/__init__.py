"""The process that faces the internet: takes journal mail over SMTP, seals it, and cannot read what it has sealed.

``python -m gateway`` is one worker (``__main__``, ``worker``); it confines itself (``confinement``) before it
accepts. ``smtp`` speaks the protocol, ``archiving`` answers it: who may come in is for ``doors`` and ``clients``,
what becomes of a message for ``intake``. ``tls`` keeps the certificate, ``counters`` what the archiver is told.
"""
