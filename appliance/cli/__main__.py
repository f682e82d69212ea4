"""``python -m appliance.cli``: the command without its script."""

from appliance.cli.main import main

main(prog_name="mailkeep")
