"""The wizard page by page, without a product behind it: what it asks, refuses, remembers, and how it looks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import segno
from textual.color import Color
from textual.pilot import Pilot

from appliance.errors import KeyringError, UnavailableError, UsageError
from appliance.host import clock, hostname, keyboard, network
from appliance.language import use
from appliance.services import api
from appliance.services.paths import Paths
from appliance.services.setup import box as setup_box
from appliance.services.setup import checks, making, progress
from appliance.services.setup.box import Arrivals
from appliance.services.setup.checks import Finding
from appliance.services.setup.progress import Progress
from appliance.services.setup.steps import ORDER, Id
from tests.console.fake_box import NOW
from tui.app import Console
from tui.setup.pages.archive import PassphrasePage, RecoveryKeyPage, TypeBackPage
from tui.setup.pages.mailbox import MailboxPage
from tui.setup.wizard import StepPage, Wizard
from tui.widgets.form import Choice, Field
from tui.widgets.qr import Qr

pytestmark = pytest.mark.console

KEY = "PG0PW-8WWZ9-EH5K3-6KF5A-KCFD0-GHCCS-WXD3V-JAVR3"
ADDRESS = "journal-4f2a9c81d7e3@journal.example.com"
SIZES = {"80x25": ((80, 25), True), "160x50": ((160, 50), False)}
BLACK = Color(0, 0, 0)
OK = [Finding("ok", "Signed in, and out again.")]


class SetupBox(setup_box.Box):
    """An archive that answers what it is asked for, and remembers what it was told."""

    def __init__(self, paths: Paths) -> None:
        super().__init__(paths)
        self.told: list[tuple[str, Any]] = []
        self.there: list[api.MailboxInfo] = []
        self.arrived = Arrivals(0, 0, 0, 0, 0, None)
        self.administrator = False
        self.open = True
        self.down = False

    def is_unlocked(self) -> bool:
        return self.open

    def unlock(self, passphrase: str) -> None:
        self.told.append(("unlock", passphrase))
        self.open = True

    def has_administrator(self) -> bool:
        if self.down:
            raise UnavailableError("The archive is not running. Nothing was changed.")
        return self.administrator

    def add_administrator(self, *, name: str, address: str, password: str) -> None:
        self.told.append(("administrator", (name, address, password)))
        self.administrator = True

    def set_host_name(self, name: str) -> None:
        self.told.append(("host name", name))

    def mailboxes(self) -> tuple[api.MailboxInfo, ...]:
        return tuple(self.there)

    def create_mailbox(self, *, name: str, address: str, domains: Any = ()) -> api.MailboxCreated:
        if "." not in address:
            raise UsageError("Enter a full address, such as journal@archive.example.com.")
        self.told.append(("mailbox", address))
        self.there.append(api.MailboxInfo(id="ab" * 16, name=name, address=ADDRESS, state="active"))
        return api.MailboxCreated(self.there[0], "GX4T-91KM-ZZ0P-7QRA")

    def certificate(self) -> api.Certificate:
        return msgspec.convert(
            {
                "source": "self-signed", "names": ["archive.example.com"], "subject": "", "issuer": "",
                "not_before": 0, "not_after": 0, "days_left": 3650.0, "key": "", "fingerprint": "", "chain": 1,
                "host_name": "archive.example.com", "problems": [], "acme": None,
            },
            api.Certificate,
        )  # fmt: skip

    def remotes(self) -> tuple[api.RemoteInfo, ...]:
        return ()

    def test_remote(self, *, type: str, options: Any, path: str) -> api.RemoteTested:
        self.told.append(("test", (type, options, path)))
        passed = path == "/good"
        return api.RemoteTested(passed, passed, passed, passed, 2e6, 3e6, None, "It says: no such folder.")

    def add_remote(self, *, name: str, type: str, options: Any, path: str) -> Any:
        self.told.append(("remote", (name, type, path)))

    def arrivals(self) -> Arrivals:
        return self.arrived

    def latest(self) -> api.Hit | None:
        people = (api.Person("Anna", "anna@example.com"),), (api.Person("Ben", "ben@example.com"),)
        return api.Hit(id="1", subject="Minutes of Monday", from_=people[0], to=people[1], date=int(NOW))


class Running:
    """A runtime that only says so."""

    def __init__(self) -> None:
        self.started = 0
        self.running = True

    def start(self) -> None:
        self.started += 1
        self.running = True

    def is_running(self) -> bool:
        return self.running


class Person:
    """The console at one page, and who sits before it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.paths = Paths(folder / "data")
        self.box = SetupBox(self.paths)
        self.runtime = Running()
        self.findings: dict[str, list[Finding]] = {}
        self.progress = Progress(host_name="archive.example.com", archive="made", mailbox="ab" * 16)
        card = network.Interface(
            "ens3", "52:54:00:12:34:56", True, ("192.0.2.10/24",), ("192.0.2.1",), ("192.0.2.53",), True
        )
        self.network = network.Network("networkd", (card,))
        self.clock = clock.Clock(NOW, "Europe/Berlin", True, True, (), "")
        self.name = hostname.HostName("box.example.com", "")
        self.changed: list[tuple[str, Any]] = []
        monkeypatch.setattr(network, "current", lambda: self.network)
        monkeypatch.setattr(clock, "current", lambda: self.clock)
        monkeypatch.setattr(clock, "zones", lambda: ("Europe/Berlin", "UTC"))
        monkeypatch.setattr(hostname, "current", lambda: self.name)
        for module, name in (
            (hostname, "change"), (clock, "change_zone"), (clock, "change_ntp"), (network, "begin"),
            (network, "confirm"), (network, "undo"),
        ):  # fmt: skip
            monkeypatch.setattr(module, name, self._note(name))
        for name in (
            "host",
            "reached_network",
            "time_kept",
            "listens",
            "signs_in",
            "encrypts",
            "takes_mail",
            "routed_here",
        ):
            monkeypatch.setattr(checks, name, lambda *_given, name=name, **_named: self.findings.get(name, list(OK)))

    def _note(self, name: str) -> Callable[..., Any]:
        def note(*given: Any) -> Any:
            self.changed.append((name, *given))
            return network.Trial("ens3", NOW + 1e9) if name == "begin" else None

        return note

    def at(self, page: Id | Callable[[Wizard], StepPage], act: Callable[[Pilot[None]], Awaitable[None]]) -> Console:
        """Show a page, and act."""
        app = self.app(page)

        async def run() -> None:
            async with app.run_test(size=(80, 25)) as pilot:
                await settled(pilot)
                await act(pilot)

        asyncio.run(run())
        return app

    def app(self, page: Id | Callable[[Wizard], StepPage], *, plain: bool = True) -> Console:
        """The console with one page of the wizard on it."""
        done = ORDER[: ORDER.index(page)] if isinstance(page, str) else ORDER[:4]
        self.progress = msgspec.structs.replace(self.progress, done=tuple(done))
        progress.save(self.paths, self.progress)
        person = self

        class OnePage(Console):
            async def _due(self) -> Any:
                self.wizard = Wizard(self, person.paths, box=person.box, runtime=person.runtime)
                shown = self.wizard.page(page) if isinstance(page, str) else page(self.wizard)
                shown.prepare()
                return shown

        app = OnePage(self.paths, plain=plain, now=lambda: NOW)
        app.place = "archive"
        return app

    def remembered(self) -> Progress:
        return progress.load(self.paths)


@pytest.fixture
def person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Person]:
    monkeypatch.setenv("TZ", "UTC")
    use("en")
    yield Person(tmp_path, monkeypatch)
    use("en")


async def settled(pilot: Pilot[None]) -> None:
    """Wait until nothing goes on beside."""
    for _ in range(3):
        await pilot.pause()
        running = [one for one in pilot.app.workers if one.group in ("step", "showing", "going on")]
        if running and not any(isinstance(one, str) for one in running):
            await pilot.app.workers.wait_for_complete(running)
    await pilot.pause()


async def fill(pilot: Pilot[None], **answers: str) -> None:
    """Type into fields by their ids."""
    for id, answer in answers.items():
        pilot.app.screen.query_one(f"#{id}", Field).value = answer
    await pilot.pause()


async def go_on(pilot: Pilot[None]) -> StepPage:
    """Press F2; the page that is shown then."""
    await pilot.press("f2")
    await settled(pilot)
    page = pilot.app.screen
    assert isinstance(page, StepPage)
    return page


def shown(pilot: Pilot[None]) -> str:
    """All text on the screen."""
    return "\n".join(str(one.render()) for one in pilot.app.screen.query("Static").results() if one.display)


def test_going_on_tests_the_step_and_shows_the_next(person: Person) -> None:
    async def act(pilot: Pilot[None]) -> None:
        await fill(pilot, name="Archive.Example.com")
        assert (await go_on(pilot)).step == "network"
        assert "Signed in, and out again." in shown(pilot)

    person.at("host", act)
    assert person.changed == [("change", "archive.example.com")]
    assert person.remembered().host_name == "archive.example.com"
    assert "host" in person.remembered().done


def test_a_wrong_answer_is_told_at_its_field_and_changes_nothing(person: Person) -> None:
    async def act(pilot: Pilot[None]) -> None:
        await fill(pilot, name="no host name")
        page = await go_on(pilot)
        assert page.step == "host"
        assert page.field("name").query_one(".error").display
        assert page.field("name").input.has_focus

    person.at("host", act)
    assert not person.changed
    assert "host" not in person.remembered().done


def test_a_warning_holds_once_and_then_lets_pass(person: Person) -> None:
    person.findings["host"] = [Finding("warning", "No address yet.", "Make an A record.")]

    async def act(pilot: Pilot[None]) -> None:
        assert (await go_on(pilot)).step == "host"
        assert "Make an A record." in shown(pilot)
        assert (await go_on(pilot)).step == "network"

    person.at("host", act)


def test_what_was_changed_after_a_warning_is_tested_again(person: Person) -> None:
    person.findings["host"] = [Finding("warning", "No address yet.")]

    async def act(pilot: Pilot[None]) -> None:
        await go_on(pilot)
        person.findings["host"] = [Finding("problem", "Worse.")]
        await fill(pilot, name="other.example.com")
        assert (await go_on(pilot)).step == "host"
        assert "Worse." in shown(pilot)

    person.at("host", act)


def test_escape_goes_back_and_keeps_what_was_done(person: Person) -> None:
    async def act(pilot: Pilot[None]) -> None:
        await pilot.press("escape")
        await settled(pilot)
        assert isinstance(pilot.app.screen, StepPage)
        assert pilot.app.screen.step == "network"

    person.at("time", act)
    assert person.remembered().done == ORDER[:3]


def test_the_language_speaks_from_the_next_page_on(person: Person) -> None:
    async def act(pilot: Pilot[None]) -> None:
        pilot.app.screen.query_one("#language", Choice).highlighted = 1
        await pilot.pause()
        await go_on(pilot)
        assert "Rechnername" in shown(pilot)

    person.at("language", act)
    assert person.remembered().language == "de"


def test_a_network_that_nobody_confirms_is_taken_back(person: Person) -> None:
    async def act(pilot: Pilot[None]) -> None:
        pilot.app.screen.query_one("#how", Choice).highlighted = 2
        await pilot.pause()
        await fill(pilot, address="192.0.2.99/24")
        await pilot.press("f2")
        await pilot.pause(0.3)
        await pilot.press("escape")  # the safe answer
        await settled(pilot)
        assert isinstance(pilot.app.screen, StepPage)
        assert pilot.app.screen.step == "network"

    person.at("network", act)
    assert [one[0] for one in person.changed] == ["begin", "undo"]


def test_a_network_that_is_confirmed_stays(person: Person) -> None:
    async def act(pilot: Pilot[None]) -> None:
        pilot.app.screen.query_one("#how", Choice).highlighted = 1
        await pilot.pause()
        await pilot.press("f2")
        await pilot.pause(0.3)
        await pilot.press("tab", "enter")
        await settled(pilot)

    person.at("network", act)
    assert [one[0] for one in person.changed] == ["begin", "confirm"]
    assert "network" in person.remembered().done


def test_a_network_that_cannot_be_changed_is_only_shown(person: Person) -> None:
    person.network = msgspec.structs.replace(person.network, read_only="Something else runs this network.")

    async def act(pilot: Pilot[None]) -> None:
        assert not pilot.app.screen.query("#how")
        assert "Something else runs this network." in shown(pilot)
        assert (await go_on(pilot)).step == "time"

    person.at("network", act)
    assert not person.changed


def test_an_unknown_time_zone_is_refused(person: Person) -> None:
    async def act(pilot: Pilot[None]) -> None:
        await fill(pilot, zone="Berlin")
        assert (await go_on(pilot)).step == "time"
        await fill(pilot, zone="UTC")
        await go_on(pilot)

    person.at("time", act)
    assert person.changed == [("change_zone", "UTC")]


def test_passphrase_recovery_key_typed_back_started_and_opened(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    person.progress = msgspec.structs.replace(person.progress, archive="none")
    person.box.open = person.runtime.running = False
    made: list[bool] = []

    def begin(paths: Paths, was: Progress, *, passphrase: str, unlocks_itself: bool) -> tuple[Progress, str]:
        made.append(unlocks_itself)
        return msgspec.structs.replace(was, archive="making"), KEY

    def confirm(paths: Paths, was: Progress, *, key: str, typed: str) -> Progress:
        if typed.replace(" ", "").upper() != key.replace("-", ""):
            raise KeyringError("The recovery key has a slip in it.")
        return making.keep(paths, was)

    monkeypatch.setattr(making, "begin", begin)
    monkeypatch.setattr(making, "confirm", confirm)

    async def act(pilot: Pilot[None]) -> None:
        await fill(pilot, passphrase="too short", again="too short")
        assert isinstance(await go_on(pilot), PassphrasePage)
        await fill(pilot, passphrase="a few unrelated words", again="a few unrelated word")
        assert isinstance(await go_on(pilot), PassphrasePage)
        assert not made
        await fill(pilot, again="a few unrelated words")
        assert isinstance(await go_on(pilot), RecoveryKeyPage)
        assert "PG0PW - 8WWZ9" in shown(pilot)
        page = await go_on(pilot)
        assert isinstance(page, TypeBackPage)
        await fill(pilot, typed=KEY[:-1] + "4")
        assert isinstance(await go_on(pilot), TypeBackPage)
        assert person.runtime.started == 0
        await fill(pilot, typed=KEY.replace("-", " ").lower())
        assert (await go_on(pilot)).step == "administrator"

    app = person.at("archive", act)
    assert made == [False]
    assert person.runtime.started == 1
    assert person.box.told == [("unlock", "a few unrelated words")]
    assert (app.wizard.passphrase, app.wizard.recovery_key) == ("", ""), "a secret is left in memory"  # type: ignore[attr-defined]
    assert person.remembered().archive == "made"


def test_a_made_archive_is_started_and_opened_by_its_passphrase(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tui.setup.pages import archive

    person.paths.data.mkdir()
    person.paths.keyring.write_text("{}")
    person.box.open = person.runtime.running = False
    monkeypatch.setattr(archive, "unlocks_itself", lambda _paths: False)

    async def act(pilot: Pilot[None]) -> None:
        await fill(pilot, passphrase="a few unrelated words")
        assert (await go_on(pilot)).step == "administrator"

    person.at("archive", act)
    assert person.runtime.started == 1
    assert person.box.told == [("unlock", "a few unrelated words")]


@pytest.mark.parametrize(
    ("answers", "field"),
    [
        ({"address": "anna", "password": "x" * 12, "again": "x" * 12}, "address"),
        ({"address": "anna@example.com", "password": "short", "again": "short"}, "password"),
        ({"address": "anna@example.com", "password": "x" * 12, "again": "y" * 12}, "again"),
    ],
)
def test_an_administrator_has_an_address_and_a_password_typed_twice(
    person: Person, answers: dict[str, str], field: str
) -> None:
    async def act(pilot: Pilot[None]) -> None:
        await fill(pilot, **answers)
        page = await go_on(pilot)
        assert page.field(field).input.has_focus

    person.at("administrator", act)
    assert not person.box.told


def test_the_administrator_is_made_once(person: Person) -> None:
    async def act(pilot: Pilot[None]) -> None:
        await fill(pilot, name="Anna", address="anna@example.com", password="x" * 12, again="x" * 12)
        assert (await go_on(pilot)).step == "certificate"
        await pilot.press("escape")
        await settled(pilot)
        assert "There is an administrator." in shown(pilot)
        await go_on(pilot)

    person.at("administrator", act)
    assert person.box.told == [("administrator", ("Anna", "anna@example.com", "x" * 12))]


def test_a_domain_becomes_an_address_that_nobody_guesses(person: Person) -> None:
    async def act(pilot: Pilot[None]) -> None:
        await fill(pilot, address="nonsense")
        await go_on(pilot)
        assert "Enter a full address" in shown(pilot)
        await fill(pilot, address="journal.example.com")
        assert isinstance(await go_on(pilot), MailboxPage)
        assert ADDRESS in shown(pilot)
        assert "GX4T-91KM-ZZ0P-7QRA" in shown(pilot)
        assert (await go_on(pilot)).step == "instructions"
        assert f"send journal reports to {ADDRESS}" in shown(pilot)

    person.at("mailbox", act)
    assert person.box.told == [("mailbox", "@journal.example.com")]
    assert person.remembered().mailbox == "ab" * 16
    assert "GX4T" not in person.paths.setup.read_text()


def test_a_remote_is_added_only_after_it_was_tried(person: Person) -> None:
    async def act(pilot: Pilot[None]) -> None:
        choice = pilot.app.screen.query_one("#type", Choice)
        choice.highlighted = choice.get_option_index("local")
        await pilot.pause()
        await go_on(pilot)
        await fill(pilot, **{"option-path": "/bad"})
        await go_on(pilot)
        assert "no such folder" in shown(pilot)
        assert not [one for one in person.box.told if one[0] == "remote"]
        await fill(pilot, **{"option-path": "/good"})
        assert (await go_on(pilot)).step == "finish"

    person.at("remote", act)
    assert person.box.told[-1] == ("remote", ("replica", "local", "/good"))


def test_the_last_page_shows_the_first_report_and_ends_the_set_up(person: Person) -> None:
    person.box.there.append(api.MailboxInfo(id="ab" * 16, name="Journal", address=ADDRESS, state="active"))
    ended = []

    async def act(pilot: Pilot[None]) -> None:
        assert "Waiting for the first journal report" in shown(pilot)
        person.box.arrived = Arrivals(0, 0, 0, 2, 1, None)
        await pilot.pause(1.3)
        assert "2 put off, 1 refused" in shown(pilot)
        person.box.arrived = Arrivals(1, 1, 1, 0, 0, int(NOW))
        await pilot.pause(1.3)
        assert "has arrived" in shown(pilot)
        assert "Minutes of Monday" in shown(pilot)
        pilot.app.set_up = lambda: ended.append(True)  # type: ignore[attr-defined]
        await pilot.press("f2")
        await settled(pilot)

    person.at("finish", act)
    assert ended
    assert person.remembered().finished


def test_set_up_goes_on_where_it_was_left(person: Person) -> None:
    person.progress = msgspec.structs.replace(person.progress, done=ORDER[:7])
    progress.save(person.paths, person.progress)
    made = Wizard(person.app("language"), person.paths, box=person.box, runtime=person.runtime)
    made.progress = person.progress = msgspec.structs.replace(person.progress, done=ORDER[:7])
    assert made.go_on().step == "mailbox"
    person.runtime.running = False
    assert made.go_on().step == "archive"


def test_an_archive_that_stops_meanwhile_is_told_and_loses_nothing(person: Person) -> None:
    person.box.down = True
    person.paths.data.mkdir()

    async def act(pilot: Pilot[None]) -> None:
        await pilot.press("escape")
        await settled(pilot)
        assert isinstance(pilot.app.screen, StepPage)
        assert pilot.app.screen.step == "certificate"
        assert "The archive is not running." in shown(pilot)

    person.at("certificate", act)


def test_what_another_console_did_meanwhile_stays(person: Person) -> None:
    async def act(pilot: Pilot[None]) -> None:
        other = progress.load(person.paths)
        progress.save(person.paths, msgspec.structs.replace(other, mailbox="cd" * 16).with_done("mailbox"))
        await go_on(pilot)

    person.at("time", act)
    assert person.remembered().mailbox == "cd" * 16
    assert {"time", "mailbox"} <= set(person.remembered().done)


def test_a_page_that_is_longer_than_the_screen_can_be_read_to_its_end(person: Person) -> None:
    person.box.there.append(api.MailboxInfo(id="ab" * 16, name="Journal", address=ADDRESS, state="active"))

    async def act(pilot: Pilot[None]) -> None:
        body = pilot.app.screen.query_one("#body")
        before = body.scroll_y
        await pilot.press("pagedown")
        assert body.scroll_y > before
        await pilot.press("pageup")
        assert body.scroll_y == before

    person.at("instructions", act)


def qr_on_screen(app: Console) -> list[list[bool]]:
    """The modules (True: dark) of the code that the screen shows, read off its cells and their colours."""
    code = app.screen.query_one(Qr)
    assert app.screen.find_widget(code).visible_region == code.region, "the code is cut off"
    rows: list[list[bool]] = []
    for line in app.screen._compositor.render_strips()[code.region.y : code.region.bottom]:
        upper: list[bool] = []
        lower: list[bool] = []
        for segment in line.crop(code.region.x, code.region.right).apply_filter(app._filters[-1], BLACK):
            assert segment.style is not None
            assert segment.style.color is not None and segment.style.bgcolor is not None
            assert segment.style.color.get_truecolor() == (255, 255, 255)
            assert segment.style.bgcolor.get_truecolor() == (0, 0, 0)
            upper += [cell not in "█▀" for cell in segment.text]
            lower += [cell not in "█▄" for cell in segment.text]
        rows += [upper, lower]
    return rows


@pytest.mark.parametrize("page", ["instructions", "archive-recovery-key"])
def test_a_qr_code_is_whole_on_the_smallest_screen(person: Person, page: str) -> None:
    person.box.there.append(api.MailboxInfo(id="ab" * 16, name="Journal", address=ADDRESS, state="active"))

    async def act(pilot: Pilot[None]) -> None:
        app = pilot.app
        assert isinstance(app, Console)
        app.shows_qr = True
        await pilot.press("f3")
        await settled(pilot)
        wanted = segno.make(ADDRESS if page == "instructions" else KEY, error="l", micro=False)
        modules = [[bool(one) for one in row] for row in wanted.matrix_iter(border=2)]
        assert qr_on_screen(app)[: len(modules)] == modules
        await pilot.press("f3")
        await settled(pilot)
        assert isinstance(app.screen, StepPage)

    person.at(PAGES[page], act)


def test_there_is_no_qr_code_where_the_screen_cannot_draw_it(person: Person) -> None:
    async def act(pilot: Pilot[None]) -> None:
        assert "F3" not in "".join(str(one.render()) for one in pilot.app.screen.query("FooterKey").results())
        await pilot.press("f3")
        await settled(pilot)
        assert isinstance(pilot.app.screen, StepPage)

    person.at(_recovery, act)


@pytest.mark.parametrize(("plain", "font", "shown"), [
    (True, None, False), (True, "ab█▀▄", True), (True, "ab█▄", False), (False, None, True), (False, "ab", False),
])  # fmt: skip
def test_the_font_decides_about_qr_codes_and_where_it_does_not_tell_the_look(
    tmp_path: Path, plain: bool, font: str | None, shown: bool
) -> None:
    known = None if font is None else frozenset(font)
    assert Console(Paths(tmp_path), plain=plain, font=known).shows_qr is shown


def test_the_keyboard_is_asked_for_on_the_machine_s_own_screen(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "linux")
    monkeypatch.setattr(keyboard, "current", lambda: keyboard.Keyboard("us"))
    monkeypatch.setattr(keyboard, "change", person._note("keyboard"))

    async def act(pilot: Pilot[None]) -> None:
        pilot.app.screen.query_one("#language", Choice).highlighted = 1
        await pilot.pause()
        assert (await go_on(pilot)).query_one("#layout", Choice).value == "de"
        assert "language" not in person.remembered().done
        assert (await go_on(pilot)).step == "host"

    person.at("language", act)
    assert person.changed == [("keyboard", "de")]


def _recovery(made: Wizard) -> StepPage:
    made.recovery_key = KEY
    return RecoveryKeyPage(made)


PAGES: dict[str, Id | Callable[[Wizard], StepPage]] = {
    **{str(one): one for one in ORDER},
    "archive-recovery-key": _recovery,
    "archive-type-back": TypeBackPage,
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("page", PAGES)
def test_each_page_looks_as_it_did(person: Person, snap_compare: Any, page: str, size: str) -> None:
    if page in ("instructions", "finish"):
        person.box.there.append(api.MailboxInfo(id="ab" * 16, name="Journal", address=ADDRESS, state="active"))
    if page == "archive":
        person.progress = msgspec.structs.replace(person.progress, archive="none")
    cells, plain = SIZES[size]

    async def wait(pilot: Pilot[None]) -> None:
        await settled(pilot)

    assert snap_compare(person.app(PAGES[page], plain=plain), terminal_size=cells, run_before=wait)
