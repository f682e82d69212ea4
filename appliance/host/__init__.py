"""The machine that the archive runs on: its name, network, clock, services, accounts, as systemd and its tools tell."""
