"""The certificate that mail servers and browsers are shown: its facts, and getting another one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget

from appliance.errors import UsageError
from appliance.language import _
from appliance.services import api
from appliance.services.certificates import LETS_ENCRYPT
from tui import words
from tui.page import key
from tui.place import Place
from tui.widgets.dialog import Ask, Asked
from tui.widgets.form import Facts, Text

SOON_DAYS = 14
LARGEST_FILE = 1024 * 1024


class Certificate(Place):
    """What is shown now, and the three ways to another one."""

    NAME = "certificate"
    BINDINGS: ClassVar[list[BindingType]] = [
        key("r", "renew", "Renew", shown="R"),
        key("a", "acme", "Let's Encrypt", shown="A"),
        key("o", "own", "Files", shown="O"),
        key("s", "self_signed", "Self-signed", shown="S"),
    ]
    AUTO_FOCUS = "Places"

    def help(self) -> str:
        """See ``Place``."""
        return _(
            "Gateway, POP3 and web page show one certificate. Exchange Online takes any, browsers want one from an "
            "authority. A new one is in force at once, without starting anything anew."
        )

    def body(self) -> Iterable[Widget]:
        """See ``Page``."""
        yield Text("", id="summary")
        yield Facts(id="facts")

    async def load(self) -> None:
        """See ``Place``."""
        one = await self.app.box.call("certificate", api.Certificate)
        self._source = one.source
        text, kind = _summary(one)
        summary = self.query_one("#summary", Text)
        summary.update(text)
        summary.set_classes(f"-{kind}")
        await self.query_one("#facts", Facts).show(
            (
                (_("Names"), ", ".join(one.names)),
                (_("Where it is from"), _source(one.source)),
                (_("Issuer"), one.issuer),
                (_("Good from"), words.moment(one.not_before)),
                (_("Good until"), words.moment(one.not_after)),
                (_("Key"), one.key),
                (_("SHA-256"), one.fingerprint),
                *_acme_facts(one),
            )
        )

    # -- doing ------------------------------------------------------------------------------------------------

    def action_renew(self) -> None:
        """Have it renewed now."""
        self.do(self._renew)

    def action_acme(self) -> None:
        """Get one from an authority."""
        self.do(self._acme)

    def action_own(self) -> None:
        """Use own files."""
        self.do(self._own)

    def action_self_signed(self) -> None:
        """Make one here."""
        self.do(self._self_signed)

    async def _renew(self) -> None:
        if await self.sure(
            _("Renew the certificate now?"),
            _("A new one takes its place as soon as it is there. Until then the present one is shown."),
            yes=_("Renew"),
        ):
            await self.app.box.call("certificate_renew", api.JobInfo)
            self.say(_("The certificate is being renewed. How it goes is under Jobs."), "good")

    async def _acme(self) -> None:
        host = await self.app.box.call("host_name", str)
        self.say(_("Asking the authority for its terms …"))
        terms = await self.app.box.call("certificate_acme_terms", str, directory=LETS_ENCRYPT)
        self.say("")
        given = await self.app.push_screen_wait(
            Ask(
                _("A certificate from Let's Encrypt"),
                (
                    Asked(
                        "contact", _("Your mail address"), hint=_("The authority writes there if something is wrong.")
                    ),
                    Asked("names", _("Names"), value=host, hint=_("With commas between them")),
                ),
                what=_(
                    "The authority fetches a file from port 80 of this box to see that the name is yours: DNS must "
                    "point here, and port 80 must be open. The certificate is renewed by itself. By going on you "
                    "agree to the terms at {terms}"
                ).format(terms=terms or LETS_ENCRYPT),
                yes=_("Agree and get it"),
            )
        )
        if given is not None:
            await self.app.box.call(
                "certificate_acme", api.JobInfo, contact=given["contact"], names=_names(given["names"]),
                directory=LETS_ENCRYPT, agree=True,
            )  # fmt: skip
            self.say(_("The certificate was asked for. How it goes is under Jobs."), "good")

    async def _own(self) -> None:
        given = await self.app.push_screen_wait(
            Ask(
                _("Own certificate"),
                (
                    Asked(
                        "certificate",
                        _("File with the certificate and its chain"),
                        hint=_("PEM, or PKCS#12 with the key in it"),
                    ),
                    Asked("key", _("File with the key"), needed=False),
                    Asked("password", _("Password of a PKCS#12 file"), secret=True, needed=False),
                ),
                what=_("The files are read once and stored with the archive; they can go away after that."),
                yes=_("Use it"),
            )
        )
        if given is None:
            return
        places = [Path(given[name]) for name in ("certificate", "key") if given[name]]
        content = [await self.app.host.ask(_read, place) for place in places]
        await self.app.box.call("certificate_own", api.Certificate, content=content, password=given["password"])
        self.say(_("The certificate is in force."), "good")
        self.action_reload()

    async def _self_signed(self) -> None:
        if await self.sure(
            _("Make a self-signed certificate?"),
            _("Mail servers take it; browsers warn of it. It takes the place of the present one at once."),
            yes=_("Make it"),
        ):
            await self.app.box.call("certificate_self_signed", api.Certificate)
            self.say(_("The certificate is in force."), "good")
            self.action_reload()


def _summary(one: api.Certificate) -> tuple[str, str]:
    if one.days_left < 0:
        return _("The certificate has ended. Mail servers may refuse to deliver."), "bad"
    if one.problems:
        return " ".join(one.problems), "warn"
    left = _("It is good for {span} more.").format(span=words.span(one.days_left * 86_400))
    if one.days_left < SOON_DAYS:
        return left, "warn"
    if one.source == "self-signed":
        return _("Mail servers take it; browsers warn of it.") + " " + left, "hint"
    return left, "good"


def _source(source: str) -> str:
    return {
        "self-signed": _("made on this box"), "own": _("own files"), "acme": _("an authority, renewed by itself"),
        "issued": _("an authority"),
    }[source]  # fmt: skip


def _acme_facts(one: api.Certificate) -> tuple[tuple[str, str], ...]:
    if one.acme is None:
        return ()
    return (
        (_("Authority"), one.acme.directory),
        (_("Renewed next"), words.moment(one.acme.next_try)),
        *([(_("Trouble"), one.acme.problem)] if one.acme.problem else []),
    )


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _read(place: Path) -> bytes:
    try:
        if place.stat().st_size > LARGEST_FILE:
            raise UsageError(_("{file} is too large to be a certificate.").format(file=place))
        return place.read_bytes()
    except OSError as error:
        raise UsageError(
            _("{file} cannot be read: {reason}.").format(file=place, reason=error.strerror or error)
        ) from error
