"""Set-up from an answer file: every step in order, each only as far as it is not done already.

Run twice it changes nothing the second time, so cloud-init or a configuration system may run it at each boot. What was
made up on the way (recovery key, mailbox password) goes into the files that the answers name, or is given back to be
shown this once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from appliance.errors import MailkeepError, UnavailableError, UsageError
from appliance.framing import words_of
from appliance.host import clock, hostname, network
from appliance.language import LANGUAGES, _, use
from appliance.services.identity import require_good_password
from appliance.services.paths import Paths
from appliance.services.setup import checks, making
from appliance.services.setup.answers import (
    Answers,
    ArchiveAnswer,
    CertificateAnswer,
    MailboxAnswer,
    NetworkAnswer,
    TimeAnswer,
    secret,
    secrets_of,
)
from appliance.services.setup.box import Box
from appliance.services.setup.checks import Finding
from appliance.services.setup.progress import Listen, Progress, load, save
from appliance.services.setup.runtime import Runtime
from appliance.services.setup.steps import Id

PAUSE = 0.5


class Done(msgspec.Struct, frozen=True):
    """What became of one step: done now or found done, and what its test found."""

    step: Id
    changed: bool
    text: str
    findings: tuple[Finding, ...] = ()
    shown_once: str = ""
    """A secret that is kept nowhere: a recovery key, a mailbox's password."""

    def __repr__(self) -> str:
        return f"Done({self.step}, {self.text})"


class Unattended:
    """One run over an answer file."""

    def __init__(self, paths: Paths, answers: Answers, runtime_of: Callable[[Listen], Runtime]) -> None:
        self._paths = paths
        self._answers = answers
        self._runtime_of = runtime_of
        self._box = Box(paths)
        self._progress: Progress = load(paths)

    def require_possible(self) -> None:
        """Try all that can be known before anything is done. Raises UsageError."""
        answers = self._answers
        for one in secrets_of(answers):
            secret(one)
        if answers.language and answers.language not in LANGUAGES:
            raise UsageError(_("There is no language “{code}” here. Nothing was done.").format(code=answers.language))
        if answers.archive.passphrase:
            making.require_good_passphrase(secret(answers.archive.passphrase))
        if answers.administrator:
            require_good_password(secret(answers.administrator.password))
        if answers.hostname:
            hostname.check(answers.hostname)
        if answers.network and answers.network.addresses:
            network.check(_static(answers.network))
        for name in answers.certificate.files if answers.certificate else ():
            if not Path(name).is_file():
                raise UsageError(_("There is no file {path}. Nothing was done.").format(path=name))
        key = answers.archive.recovery_key
        if key and self._progress.archive == "none" and Path(key).exists():
            raise UsageError(
                _("{path} is there already. It may be another archive's recovery key, so nothing was done.").format(
                    path=key
                )
            )

    def run(self) -> Iterator[Done]:
        """Each step as it is done. Raises MailkeepError; what was done before stays, and the next run goes on."""
        answers = self._answers
        if answers.listen is not None:
            self._progress = msgspec.structs.replace(self._progress, listen=answers.listen)
        if answers.language:
            use(answers.language)
            self._progress = msgspec.structs.replace(self._progress, language=answers.language)
            yield self._ended(
                Done("language", False, _("This box speaks {language}.").format(language=LANGUAGES[answers.language]))
            )
        if answers.hostname:
            yield self._ended(self._host(answers.hostname))
        if answers.network:
            yield self._ended(self._network(answers.network))
        if answers.time:
            yield self._ended(self._time(answers.time))
        yield from map(self._ended, self._archive(answers.archive))
        if answers.administrator:
            yield self._ended(self._administrator())
        if answers.certificate:
            yield self._ended(self._certificate(answers.certificate))
        if answers.mailbox:
            yield self._ended(self._mailbox(answers.mailbox))
        if answers.remote:
            yield self._ended(self._remote())
        if answers.wait_for_report:
            yield self._ended(self._first_report(answers.wait_for_report))
        save(self._paths, msgspec.structs.replace(self._progress, finished=True))

    def _ended(self, done: Done) -> Done:
        self._progress = self._progress.with_done(done.step)
        save(self._paths, self._progress)
        return done

    # -- the host ---------------------------------------------------------------------------------------------

    def _host(self, name: str) -> Done:
        name = hostname.check(name)
        changed = self._progress.host_name != name
        self._progress = msgspec.structs.replace(self._progress, host_name=name)
        current = hostname.current()
        findings = checks.host(name, _own_addresses())
        if current.name != name and current.read_only:
            findings.insert(0, Finding("warning", current.read_only))
        elif current.name != name:
            hostname.change(name)
            changed = True
        return Done("host", changed, _("This box is {name}.").format(name=name), tuple(findings))

    def _network(self, answer: NetworkAnswer) -> Done:
        current = network.current()
        before = next((one for one in current.interfaces if one.name == answer.interface), None)
        if before is None:
            raise UsageError(_("This box has no interface {name}.").format(name=answer.interface))
        wanted = bool(answer.addresses)
        same = (
            set(answer.addresses) <= set(before.addresses) and set(answer.gateways) <= set(before.gateways)
            if wanted
            else bool(before.dhcp)
        )
        if same:
            text = _("{interface} is set up as wanted.").format(interface=answer.interface)
            return Done("network", False, text, tuple(checks.reached_network()))
        if current.read_only:
            raise UnavailableError(current.read_only)
        trial = network.begin(_static(answer) if wanted else network.Dhcp(answer.interface))
        findings = checks.reached_network()
        if checks.worst(findings) == "problem":
            network.undo(trial)
            raise UnavailableError(_("With these addresses the network is out of reach. They were undone."))
        network.confirm(trial)
        return Done("network", True, _("{interface} is set up.").format(interface=answer.interface), tuple(findings))

    def _time(self, answer: TimeAnswer) -> Done:
        current = clock.current()
        wanted = (
            answer.zone not in ("", current.zone),
            answer.ntp not in (None, current.ntp),
            bool(answer.servers) and answer.servers != current.servers,
        )
        findings = checks.time_kept()
        if any(wanted) and current.read_only:
            findings.insert(0, Finding("warning", current.read_only))
        else:
            if wanted[0]:
                clock.change_zone(answer.zone)
            if wanted[2]:
                clock.change_servers(answer.servers)
            if wanted[1]:
                clock.change_ntp(bool(answer.ntp))
        return Done("time", any(wanted) and not current.read_only, _("The clock is set up."), tuple(findings))

    # -- the archive ------------------------------------------------------------------------------------------

    def _archive(self, answer: ArchiveAnswer) -> Iterator[Done]:
        passphrase = secret(answer.passphrase)
        made = self._progress.archive != "made" or not self._paths.keyring.exists()
        shown = ""
        if made:
            self._progress, key = making.begin(
                self._paths, self._progress, passphrase=passphrase, unlocks_itself=answer.unlocks_itself
            )
            if answer.recovery_key:
                making.write_down(Path(answer.recovery_key), key)
            else:
                shown = key
                yield Done("archive", True, _("The recovery key, shown this once:"), shown_once=shown)
            self._progress = making.keep(self._paths, self._progress)
        self._runtime_of(self._progress.listen).start()
        if not self._box.is_unlocked() and not passphrase:
            raise UnavailableError(_("The archive is locked, and the answers have no passphrase. Nothing was changed."))
        self._box.unlock(passphrase)
        self._box.await_open()
        if self._progress.host_name:
            self._box.set_host_name(self._progress.host_name)
        text = _("The archive is made and open.") if made else _("The archive is there and open.")
        yield Done("archive", made, text, tuple(checks.listens(self._paths)))

    def _administrator(self) -> Done:
        answer = self._answers.administrator
        assert answer is not None
        if self._box.has_administrator():
            return Done("administrator", False, _("There is an administrator."))
        password = secret(answer.password)
        self._box.add_administrator(name=answer.name, address=answer.address, password=password)
        findings = checks.signs_in(self._paths, address=answer.address, password=password)
        text = _("{address} is the administrator.").format(address=answer.address)
        return Done("administrator", True, text, tuple(findings))

    def _certificate(self, answer: CertificateAnswer) -> Done:
        before = self._box.certificate()
        changed = answer.source == "own" or before.source != answer.source
        if answer.source == "self-signed" and changed:
            self._box.self_signed(answer.names)
        elif answer.source == "own":
            content = [Path(name).read_bytes() for name in answer.files]
            changed = self._box.own_certificate(content, secret(answer.password)).fingerprint != before.fingerprint
        elif changed:
            job = self._box.follow(
                self._box.acme(contact=answer.contact, names=answer.names, directory=answer.directory)
            )
            if job.state != "done":
                return Done(
                    "certificate",
                    False,
                    _("There is no certificate yet."),
                    (Finding("problem", words_of(job.message, job.failure)),),
                )
        findings = checks.encrypts(self._paths, self._progress.host_name or before.host_name)
        return Done("certificate", changed, _("The certificate is in use."), tuple(findings))

    def _mailbox(self, answer: MailboxAnswer) -> Done:
        found, shown = self._box.find_mailbox(answer.address), ""
        changed = found is None
        if found is None:
            created = self._box.create_mailbox(name=answer.name, address=answer.address, domains=answer.domains)
            found, shown = created.mailbox, created.password
            if answer.password:
                making.write_down(Path(answer.password), shown)
                shown = ""
        self._progress = msgspec.structs.replace(self._progress, mailbox=found.id)
        findings = checks.takes_mail(self._paths, found.address)
        if self._progress.host_name:
            findings += checks.routed_here(found.address, self._progress.host_name)
        text = _("Journal reports go to {address}.").format(address=found.address)
        return Done("mailbox", changed, text, tuple(findings), shown)

    def _remote(self) -> Done:
        answer = self._answers.remote
        assert answer is not None
        name = answer.name
        if any(one.name == name for one in self._box.remotes()):
            return Done("remote", False, _("The remote “{name}” is there.").format(name=name))
        options = {key: secret(value) for key, value in answer.options.items()}
        findings = checks.remote(self._box.test_remote(type=answer.type, options=options, path=answer.path))
        if checks.worst(findings) == "problem":
            return Done("remote", False, _("The remote “{name}” was not added.").format(name=name), tuple(findings))
        self._box.add_remote(name=name, type=answer.type, options=options, path=answer.path)
        return Done("remote", True, _("The archive is replicated to “{name}”.").format(name=name), tuple(findings))

    def _first_report(self, seconds: int) -> Done:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._box.arrivals().records:
                return Done("finish", True, _("The first journal report is in the archive."))
            time.sleep(PAUSE)
        text = _("No journal report has come in.")
        return Done("finish", False, text, (Finding("warning", text, _("Send one; the archive goes on waiting.")),))


def _static(answer: NetworkAnswer) -> network.Static:
    return network.Static(answer.interface, answer.addresses, answer.gateways, answer.dns, answer.domains)


def _own_addresses() -> list[str]:
    try:
        interfaces = network.current().interfaces
    except MailkeepError:
        return []
    return [address.split("/")[0] for one in interfaces if one.name != "lo" for address in one.addresses]
