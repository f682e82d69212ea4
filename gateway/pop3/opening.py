"""The way to the key agent, in the one role that this process has there: opening mailboxes by their passwords."""

from __future__ import annotations

from appliance.keys.agent_client import Agent
from appliance.services.paths import Paths
from gateway.pop3.door import OpenMailbox
from gateway.pop3.visit import Opened


def opener(paths: Paths) -> OpenMailbox:
    """Opens mailboxes of this archive, each on a connection to the agent of its own."""
    agent = Agent(paths.agent_socket, paths.agent_secret("pull"))

    def open_mailbox(mailbox_id: bytes, password: str, client: str) -> Opened:
        return agent.open_mailbox(mailbox_id, password, client=client)

    return open_mailbox
