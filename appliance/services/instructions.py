"""What to type into mail servers and mail programs, with a mailbox's own values."""

from __future__ import annotations

import json
from contextlib import suppress

from appliance.language import _
from appliance.mail.addresses import domain
from appliance.services import api
from appliance.services.archive import Archive
from appliance.services.mailboxes import find_mailbox, hostname
from appliance.services.principal import Principal

POP3S_PORT = 995
"""Where POP3 over TLS is looked for (RFC 8314 section 7.3), as long as `serve --pop3s` does not listen elsewhere."""


def mailbox_setup(archive: Archive, principal: Principal, *, id: str) -> tuple[api.SetupText, ...]:
    """What to type into Exchange, Google and others, with this mailbox's address."""
    principal.require("admin")
    return instructions(find_mailbox(archive, id).address, hostname(archive))


def instructions(address: str, host: str) -> tuple[api.SetupText, ...]:
    """The same for a journal address and the name that this box goes by, in the language in use."""
    where = domain(address)

    def say(text: str) -> str:
        return text.format(address=address, domain=where, host=host)

    return (
        api.SetupText(
            "Microsoft 365 (Exchange Online)",
            (
                say(_("DNS: make an MX record for {domain} that points to {host}, and let port 25 through to this "
                      "box.")),
                say(_("Exchange admin center → Mail flow → Remote domains: add {domain} and allow automatic forwarding "
                      "and rich text “never”.")),
                say(_("Exchange admin center → Mail flow → Connectors: add one from Office 365 to a partner "
                      "organisation, for the domain {domain}, routed to {host}, “Always use TLS” with any certificate "
                      "(or a trusted one once you have loaded it here). Validate it with the journal address below: "
                      "the test mail is accepted.")),
                say(_("Microsoft Purview → Data lifecycle management → Exchange (legacy) → Journal rules: under “Send "
                      "undeliverable journal reports to” choose a mailbox outside Microsoft 365 that you read. Its own "
                      "mail is not journaled.")),
                say(_("New journal rule: send journal reports to {address}, “Everyone”, type of message “All messages” "
                      "(a rule for external mail only misses spoofed senders).")),
                say(_("Send a mail to yourself. It appears here within a minute or two; watch the status page.")),
            ),
        ),
        api.SetupText(
            "Exchange Server 2013–2019",
            (
                f"New-SendConnector -Name mailkeep -AddressSpaces {where} -SmartHosts {host} -RequireTLS $true",
                f"New-JournalRule -Name mailkeep -JournalEmailAddress {address} -Scope Global -Enabled $true",
                say(_("Before the second line make a mail contact with the address {address}.")),
            ),
        ),
        api.SetupText(
            "Google Workspace",
            (
                say(_("Admin console → Apps → Google Workspace → Gmail → Routing → Third-party email archiving.")),
                say(_("Add the address {address} and save; changes take up to 24 hours.")),
                say(_("Google sends each message as it is, without a journal report: Bcc recipients and the members of "
                      "groups are only known where Google adds them to the headers.")),
            ),
        ),
        api.SetupText(
            _("Postfix and other servers"),
            (
                f"always_bcc = {address}",
                say(_("Route {domain} to [{host}] in the transport map and require TLS for it.")),
                say(_("A plain copy does not tell Bcc recipients or the members of groups.")),
            ),
        ),
    )  # fmt: skip


def mailbox_pulling(archive: Archive, principal: Principal, *, id: str) -> api.PullInfo:
    """With what a mail program or another archive fetches this mailbox's mail."""
    principal.require("admin")
    return api.PullInfo(host=hostname(archive), port=_pop3s_port(archive), user=find_mailbox(archive, id).address)


def _pop3s_port(archive: Archive) -> int:
    with suppress(OSError, ValueError, KeyError, IndexError):
        return int(json.loads(archive.paths.listening.read_text())["pop3s"][0].rpartition(":")[2])
    return POP3S_PORT
