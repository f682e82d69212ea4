"""The replicator: the process that copies the archive to its remotes, and has none of the keys that open mail.

``process`` runs it, ``replication`` is what it does, ``work`` the kinds of runs, ``queue`` huey, ``history`` jobs.db.
"""
