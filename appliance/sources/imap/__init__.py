"""Mail from an IMAP server (RFC 3501, RFC 9051).

IMAPClient connects, encrypts and signs in; then ``wire`` takes the connection over and never gives it back: messages
are streamed from it, whatever their size, and commands are sent ahead (docs/decisions/0160).
"""
