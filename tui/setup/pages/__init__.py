"""The wizard's pages, a file a step."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from appliance.services.setup.steps import Id
from tui.setup.pages.administrator import AdministratorPage
from tui.setup.pages.archive import first_archive_page
from tui.setup.pages.certificate import CertificatePage
from tui.setup.pages.clock import ClockPage
from tui.setup.pages.finish import FinishPage
from tui.setup.pages.host import HostPage
from tui.setup.pages.instructions import InstructionsPage
from tui.setup.pages.language import LanguagePage
from tui.setup.pages.mailbox import first_mailbox_page
from tui.setup.pages.network import NetworkPage
from tui.setup.pages.remote import RemotePage

if TYPE_CHECKING:
    from collections.abc import Callable

    from tui.setup.wizard import StepPage, Wizard

PAGES: Final[Mapping[Id, Callable[[Wizard], StepPage]]] = MappingProxyType(
    {
        "language": LanguagePage,
        "host": HostPage,
        "network": NetworkPage,
        "time": ClockPage,
        "archive": first_archive_page,
        "administrator": AdministratorPage,
        "certificate": CertificatePage,
        "mailbox": first_mailbox_page,
        "instructions": InstructionsPage,
        "remote": RemotePage,
        "finish": FinishPage,
    }
)
"""What makes the first page of each step."""
