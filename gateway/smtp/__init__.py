"""SMTP as a receiving server speaks it: ``syntax`` and ``dots`` are pure, ``protocol`` is one connection's state.

RFC 5321 with SIZE (1870), enhanced status codes (2034), PIPELINING (2920), CHUNKING (3030), STARTTLS (3207),
8BITMIME (6152) and SMTPUTF8 (6531). ``handler`` is the interface to the program behind it.
"""
