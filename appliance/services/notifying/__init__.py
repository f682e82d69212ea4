"""Telling people of alarms, and once a day how the archive is: by mail and by a webhook.

``courier`` is the child process that talks to the network, without keys and files; ``delivery`` hands it what it is to
deliver; ``letters`` and ``daily`` write what it says; ``notifier`` decides when; ``services`` has the settings.
"""
