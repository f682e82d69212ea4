"""``mailkeep``: the one command. Every subcommand takes ``--json`` after its name."""

from appliance.cli.main import main

__all__ = ["main"]
