"""The certificate of an open archive: shown, replaced, got from an authority, and renewed before it ends."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from appliance.errors import MailkeepError, UsageError
from appliance.files import FILES, Files
from appliance.host import hostname as host_names
from appliance.keys import certificate as self_signing
from appliance.language import _, later
from appliance.mail.addresses import domain
from appliance.services import api, mailboxes
from appliance.services.archive import Archive
from appliance.services.certificates import authority, facts, pair, stored
from appliance.services.certificates.authority import LETS_ENCRYPT
from appliance.services.jobs import Jobs, Progress
from appliance.services.principal import SYSTEM, Principal
from appliance.settings import events

log = logging.getLogger(__name__)

KIND = "certificate"
LOOK_SECONDS = 600.0
FIRST_PAUSE, LONGEST_PAUSE = 3600.0, 24 * 3600.0
"""Seconds until an authority that gave nothing is asked again: doubled each time, since authorities count the tries."""
MOST_NAMES = 20


class Certificates:
    """What can be done about the certificate, and the thread that renews it."""

    def __init__(self, archive: Archive, jobs: Jobs, *, files: Files = FILES) -> None:
        self._archive = archive
        self._jobs = jobs
        self._files = files
        self._one_at_a_time = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="certificate", daemon=True)
        self._next_try = 0.0
        self._pause = FIRST_PAUSE
        self._problem = ""
        self._accounts: dict[str, str] = {}  # directory: the key that was used there last

    def start(self) -> None:
        """Begin to look whether it has to be renewed."""
        self._thread.start()

    def close(self) -> None:
        """End; an order on its way is given up."""
        self._stop.set()

    def methods(self) -> Mapping[str, Callable[..., Any]]:
        """The services by name."""
        return {
            "certificate": self.get, "certificate_self_signed": self.self_signed, "certificate_own": self.own,
            "certificate_acme_terms": self.terms, "certificate_acme": self.acme, "certificate_renew": self.renew,
        }  # fmt: skip

    def get(self, principal: Principal) -> api.Certificate:
        """The certificate in use. Raises NotFoundError, DamageError where it cannot be used."""
        principal.require("admin")
        return self._now()

    def self_signed(self, principal: Principal, *, names: tuple[str, ...] = ()) -> api.Certificate:
        """Use one that nobody vouches for: for these names, or the archive's host name. Raises UsageError."""
        principal.require("admin")
        self._set(principal, events.CertificateSet("self-signed", _names(names)), self._new_self_signed(_names(names)))
        return self._now()

    def own(self, principal: Principal, *, content: tuple[bytes, ...], password: str = "") -> api.Certificate:
        """Use the pair in these files (PEM, DER, PKCS #12), if it is one and fits the archive's host name.

        Raises UsageError in words; nothing is changed then.
        """
        principal.require("admin")
        given = pair.read_pair(content, password)
        pair.require_usable(given, self._host_name(), datetime.fromtimestamp(self._archive.clock(), UTC))
        self._set(principal, events.CertificateSet("own", pair.names_of(given.certificate)[:MOST_NAMES]), given)
        return self._now()

    def terms(self, principal: Principal, *, directory: str = LETS_ENCRYPT) -> str:
        """Where an authority's terms are; empty where it has none. Raises UsageError, UnavailableError."""
        principal.require("admin")
        return authority.terms(directory)

    def acme(
        self, principal: Principal, *, contact: str, agree: bool, names: tuple[str, ...] = (),
        directory: str = LETS_ENCRYPT,
    ) -> api.JobInfo:  # fmt: skip
        """Get one from an authority, now and whenever it is to be renewed, as a job. Raises UsageError.

        ``agree``: the caller agrees to the authority's terms; ``contact``: an address that it may write to, or empty.
        """
        principal.require("admin")
        if not agree:
            raise UsageError(_("The authority's terms have to be agreed to. Nothing was changed."))
        if contact and not domain(contact):
            raise UsageError(later("“{text}” is not an e-mail address."), text=contact)
        wanted = events.CertificateSet(
            "acme", _names(names), authority.check_directory(directory), contact, account=self._account(directory)
        )
        _may_be_asked_for(self._wanted(wanted))
        return self._begin(principal, wanted)

    def renew(self, principal: Principal) -> api.JobInfo:
        """Make the one in use anew now, the way it was made, as a job. Raises UsageError where that cannot be."""
        principal.require("admin")
        put = self._archive.settings.certificate()
        if put.source == "own":
            raise UsageError(
                _("This certificate was brought from elsewhere, so only there it is renewed. Bring the new one.")
            )
        return self._begin(principal, put)

    def round(self) -> None:
        """Renew it if it is time: certificates of an authority, and self-signed ones."""
        now = self._archive.clock()
        put = self._archive.settings.certificate()
        if put.source == "own" or now < self._next_try or not self._is_due(put, now):
            return
        try:
            self._renew(put, Progress())
        except (MailkeepError, OSError) as error:
            log.warning("the certificate was not renewed: %s", error)

    def _run(self) -> None:
        while True:
            try:
                self.round()
            except Exception:  # a thread that has ended would let the certificate end
                log.exception("the certificate was not looked at")
            if self._stop.wait(LOOK_SECONDS):
                return

    def _begin(self, principal: Principal, put: events.CertificateSet) -> api.JobInfo:
        names = ", ".join(self._wanted(put))
        title = _("Certificate for {names}").format(names=names)

        def work(progress: Progress) -> str:
            self._renew(put, progress, principal)
            return _("The new certificate is in use within a minute.")

        return self._jobs.begin(principal, KIND, title, work, what=f"{put.source} {names}", shared_with="admin")

    def _renew(self, put: events.CertificateSet, progress: Progress, principal: Principal = SYSTEM) -> None:
        with self._one_at_a_time:
            try:
                if put.source == "acme":
                    put, made = self._ordered(put, progress)
                else:
                    made = self._new_self_signed(put.names)
                self._set(principal, put, made)
            except (MailkeepError, OSError) as error:
                self._failed(error)
                raise

    def _ordered(self, put: events.CertificateSet, progress: Progress) -> tuple[events.CertificateSet, pair.Pair]:
        names = self._wanted(put)
        key = pair.new_key()  # never one that was used before
        asked = authority.Order(
            directory=put.directory, account=put.account, contact=put.contact, agree=True,
            request=pair.signing_request(key, names).decode(),
            challenges=str(self._archive.paths.challenges.absolute()),
        )  # fmt: skip
        issued = authority.order(asked, progress.report, lambda: progress.stopped() or self._stop.is_set())
        made = pair.Pair(pair.chain_of(issued.chain.encode(), key), key)
        pair.require_usable(made, names[0], datetime.fromtimestamp(self._archive.clock(), UTC))
        return msgspec.structs.replace(put, terms=issued.terms), made

    def _failed(self, error: MailkeepError | OSError) -> None:
        self._problem = error.message if isinstance(error, MailkeepError) else str(error)
        self._next_try = self._archive.clock() + self._pause
        self._pause = min(self._pause * 2, LONGEST_PAUSE)

    def _set(self, principal: Principal, put: events.CertificateSet, made: pair.Pair) -> None:
        """What was decided first: where the pair does not come onto the disk, the next round makes another."""
        if put == self._archive.settings.certificate():
            self._archive.note(principal, "certificate.renewed", " ".join(pair.names_of(made.certificate)))
        else:
            self._archive.record(principal, put)
        stored.store(self._archive.paths.tls, made, files=self._files)
        self._next_try, self._pause, self._problem = 0.0, FIRST_PAUSE, ""

    def _new_self_signed(self, names: tuple[str, ...]) -> pair.Pair:
        key = pair.new_key()
        return pair.Pair((self_signing.self_signed(key, names or (self._host_name(),)),), key)

    def _is_due(self, put: events.CertificateSet, now: float) -> bool:
        try:
            current = stored.load(self._archive.paths.tls).certificate
        except MailkeepError:
            return True
        if put.source == "acme" and pair.is_self_signed(current):  # the one it asked for did not come to the disk
            return True
        has = pair.names_of(current)
        return facts.is_due(current, now) or not all(pair.fits(has, name) for name in self._wanted(put))

    def _now(self) -> api.Certificate:
        archive = self._archive
        found = facts.read(archive.paths.tls, self._host_name(), now=archive.clock())
        put = archive.settings.certificate()
        if found.source == "self-signed" and put.source != "acme":
            return found
        if put.source != "acme":
            return msgspec.structs.replace(found, source="own")
        state = api.AcmeState(
            put.directory, put.contact, self._wanted(put), put.terms,
            next_try=int(self._next_try) if self._problem else None, problem=self._problem,
        )  # fmt: skip
        source = found.source if found.source == "self-signed" else "acme"
        return msgspec.structs.replace(found, source=source, acme=state)

    def _account(self, directory: str) -> str:
        """The key of the account there: the one that was used before, so that tries do not make accounts."""
        put = self._archive.settings.certificate()
        if put.source == "acme" and put.directory == directory:
            return put.account
        if directory not in self._accounts:
            key = pair.new_key()
            self._accounts[directory] = pair.private_pem(key).decode()
        return self._accounts[directory]

    def _wanted(self, put: events.CertificateSet) -> tuple[str, ...]:
        return put.names or (self._host_name(),)

    def _host_name(self) -> str:
        return mailboxes.hostname(self._archive)


def _names(names: tuple[str, ...]) -> tuple[str, ...]:
    """Names in lower case, each once. Raises UsageError."""
    if len(names) > MOST_NAMES:
        raise UsageError(later("A certificate is for at most {count} names here."), count=MOST_NAMES)
    return tuple(dict.fromkeys(map(host_names.check, names)))


def _may_be_asked_for(names: tuple[str, ...]) -> None:
    """Raises UsageError for names that no authority gives certificates for."""
    for name in names:
        host_names.check(name)
