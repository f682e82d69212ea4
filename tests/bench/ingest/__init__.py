"""Acknowledged and durable messages per second: our gateway beside Postfix and Dovecot on the same disk."""
