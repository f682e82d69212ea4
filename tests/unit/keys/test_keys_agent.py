"""The key agent: what it does for whom, what it forgets when, and that nobody else gets at the keys."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.errors import (
    ConflictError,
    DamageError,
    ForbiddenError,
    KeyringError,
    LockedError,
    MailkeepError,
    NotFoundError,
    SealedError,
    SignInError,
    UnavailableError,
    UsageError,
)
from appliance.keys import agent_wire as wire
from appliance.keys.access import collector_key
from appliance.keys.agent_client import Agent
from appliance.keys.agent_server import MOST_STRANGERS
from appliance.keys.envelope import seal
from appliance.keys.keyring import Keyring
from appliance.store.reader import LogReader
from appliance.store.writer import LogWriter
from tests.unit.keys.conftest import PASSPHRASE, ROOT, AgentProcess

MAILBOX, OTHER = bytes(range(16)), bytes(16)
NOBODY = 65534

PYTHON = shutil.which("python3", path="/usr/bin:/usr/local/bin") or ""

as_root = pytest.mark.skipif(
    os.getuid() != 0 or not PYTHON, reason="needs root, to become another user, and a Python that everybody may start"
)


def eventually(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def refuses(call, error):
    with pytest.raises(error):
        call()
    return True


# -- starting and unlocking ------------------------------------------------------------------------------------------


def test_it_unlocks_itself_with_what_the_box_has(agent, ring):
    agent.start("--keyfile", ring.keyfile)
    state = agent.as_("box").state()
    assert (state.unlocked, state.opened_by) == (True, "keyfile")
    assert agent.keys().key("settings") == ring.unlocked.key("settings")


def test_the_passphrase_comes_first_then_the_credential(agent, ring, tmp_path):
    _, secret = ring.unlocked.add_credential()
    (tmp_path / "creds").mkdir()
    (tmp_path / "creds" / "mailkeep").write_bytes(secret)
    environment = {**os.environ, "CREDENTIALS_DIRECTORY": str(tmp_path / "creds")}
    agent.start("--keyfile", ring.keyfile, env=environment)
    assert agent.as_("box").state().opened_by == "credential"
    agent.stop()
    agent.start("--keyfile", ring.keyfile, "--passphrase-stdin", passphrase=PASSPHRASE, env=environment)
    assert agent.as_("box").state().opened_by == "passphrase"
    agent.stop()
    (tmp_path / "creds" / "mailkeep").write_bytes(b"of another archive")
    agent.start("--keyfile", ring.keyfile, env=environment, stderr=subprocess.DEVNULL)
    assert agent.as_("box").state().opened_by == "keyfile"


def test_a_wrong_passphrase_ends_it_with_a_sentence(agent):
    ended = subprocess.run(
        agent.command("--passphrase-stdin"), cwd=ROOT, input="wrong\n", capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 2 and "The passphrase is not right." in ended.stderr
    assert "wrong" not in ended.stderr and ended.stdout == ""


def test_without_a_keyring_it_says_so(agent, tmp_path):
    agent.keyring = tmp_path / "nothing.json"
    ended = subprocess.run(agent.command(), cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1 and "mailkeep init" in ended.stderr


def test_with_nothing_that_fits_it_starts_locked_and_each_secret_unlocks_it(agent, ring):
    box = agent.start("--keyfile", ring.path.with_name("none"), stderr=subprocess.DEVNULL).as_("box")
    for secret in (
        {"passphrase": PASSPHRASE},
        {"recovery_key": ring.recovery_key},
        {"keyfile": ring.keyfile},
    ):
        assert not box.state().unlocked
        assert refuses(agent.keys, LockedError)
        assert refuses(lambda: box.unlock(passphrase="wrong"), KeyringError)
        box.unlock(**secret)
        assert agent.keys().key("x") == ring.unlocked.key("x")
        box.lock()
    assert refuses(box.unlock, UsageError)
    assert refuses(lambda: box.unlock(recovery_key="00000"), KeyringError)


def test_who_waits_hears_of_the_unlocking_and_who_watches_of_the_lock(agent):
    box = agent.start().as_("box")
    projector = agent.as_("projector")
    assert projector.wait_unlocked(0.05) is False
    heard = []
    waiting = threading.Thread(target=lambda: heard.append(projector.wait_unlocked(30)))
    waiting.start()
    box.unlock(passphrase=PASSPHRASE)
    waiting.join(20)
    assert heard == [True] and projector.wait_unlocked(0)
    locked, died, already = threading.Event(), threading.Event(), threading.Event()
    agent.as_("archiver").watch(locked.set)
    box.lock()
    assert locked.wait(20)
    projector.watch(already.set)
    assert already.wait(20)
    box.unlock(passphrase=PASSPHRASE)
    agent.as_("archiver").watch(died.set)
    assert not died.is_set()
    agent.stop()
    assert died.wait(20)
    assert refuses(box.state, UnavailableError) and not box.is_unlocked()
    assert refuses(lambda: projector.watch(died.set), UnavailableError)


# -- the keys through the agent --------------------------------------------------------------------------------------


def test_its_keys_are_the_keyrings(agent, ring):
    made = ring.unlocked.create_mailbox(MAILBOX)
    keys = agent.start("--keyfile", ring.keyfile).keys()
    own = ring.unlocked
    assert (keys.archive_id, keys.verify_key, dict(keys.mailboxes)) == (own.archive_id, own.verify_key, own.mailboxes)
    assert keys.key("settings") == own.key("settings") != keys.key("index") == own.key("index")
    assert keys.public_key(MAILBOX) == made.public and keys.content_key(MAILBOX) == own.content_key(MAILBOX)
    assert keys.sign(b"message") == own.sign(b"message")
    assert keys.volume_key(MAILBOX, seal(made.public, b"d" * 32, b"i"), b"i") == b"d" * 32
    assert refuses(lambda: keys.volume_key(MAILBOX, seal(made.public, b"d" * 32, b"i"), b"j"), DamageError)
    for call in (keys.content_key, keys.public_key, keys.is_sealed):
        assert refuses(lambda call=call: call(b"?" * 16), NotFoundError)


def test_everything_that_changes_keys_goes_through_it(agent, ring, tmp_path):
    keys = agent.start("--keyfile", ring.keyfile).keys()
    other = agent.keys("projector")
    made, sealed = keys.create_mailbox(MAILBOX), keys.create_mailbox(OTHER, sealed=True)
    assert set(keys.mailboxes) == {MAILBOX, OTHER} and keys.is_sealed(OTHER)
    assert refuses(lambda: keys.create_mailbox(MAILBOX), ConflictError)
    assert refuses(lambda: keys.content_key(OTHER), SealedError)
    other.refresh()
    assert other.public_key(OTHER) == sealed.public
    again = keys.set_mailbox_password(MAILBOX)
    token = keys.add_mailbox_token(OTHER, "importer", password=sealed.password)
    assert [one.id for one in keys.mailbox_tokens(OTHER)] == [token.id]
    for mailbox, secret in ((MAILBOX, again), (OTHER, sealed.password), (OTHER, token.token)):
        with keys.open_mailbox(mailbox, secret) as opened:
            assert keys.granted(opened.grant) == mailbox == opened.mailbox_id
    assert refuses(lambda: keys.open_mailbox(MAILBOX, made.password), SignInError)
    keys.remove_mailbox_token(OTHER, token.id)
    assert refuses(lambda: keys.open_mailbox(OTHER, token.token), SignInError)

    id = keys.add_passphrase("the deputy's", "deputy")
    keys.change_passphrase(id, "the new deputy's")
    spare, (_, secret) = keys.add_keyfile(tmp_path / "spare.keyfile"), keys.add_credential("TPM")
    text = keys.begin_recovery_key()
    assert refuses(lambda: keys.confirm_recovery_key(ring.recovery_key), KeyringError)
    keys.confirm_recovery_key(text)
    assert [slot.name for slot in keys.slots()] == ["", "", "deputy", "", "TPM", ""]
    locked = ring.load()
    for opened in (
        locked.unlock_with_passphrase("the new deputy's"),
        locked.unlock_with_keyfile(tmp_path / "spare.keyfile"),
        locked.unlock_with_credential(secret),
        locked.unlock_with_recovery_key(text),
    ):
        assert opened.key("x") == keys.key("x")
    keys.remove_slot(spare)
    newest = keys.new_appliance_key(passphrase="the new deputy's")
    assert keys.slots()[0].id == id and len(keys.slots()) == 2
    keys.refresh()
    assert ring.load().unlock_with_recovery_key(newest).sign(b"m") == keys.sign(b"m")


def test_mail_is_read_through_it(agent, ring, tmp_path):
    public = ring.unlocked.create_mailbox(MAILBOX).public
    writer = LogWriter(tmp_path / "volumes", "g0", reserve=0)
    writer.append(MAILBOX, public, b"From: anna\r\n\r\nhello").result()
    writer.close()
    reader = LogReader(tmp_path / "volumes", agent.start("--keyfile", ring.keyfile).keys("projector"))
    (ref,) = reader.scan(reader.volumes()[0])
    assert reader.read(ref).original == b"From: anna\r\n\r\nhello"


def test_many_threads_share_its_keys(agent, ring):
    made = ring.unlocked.create_mailbox(MAILBOX)
    keys = agent.start("--keyfile", ring.keyfile).keys()
    wrong = []

    def work(number):
        for turn in range(30):
            key = bytes([number, turn]) * 16
            if keys.volume_key(MAILBOX, seal(made.public, key, b"i"), b"i") != key:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong


def test_a_keyring_that_somebody_altered_is_not_believed(agent, ring):
    ring.unlocked.create_mailbox(MAILBOX)
    keys = agent.start("--keyfile", ring.keyfile).keys()
    whole = ring.path.read_text()
    public = Keyring.load(ring.path).public_key(MAILBOX)
    ring.path.write_text(whole.replace(ring.load()._data.mailboxes[MAILBOX.hex()].public.hex(), "") + " ")
    keys.refresh()  # white space is no change
    stored = msgspec.json.decode(whole)
    stored["keyring"]["mailboxes"][MAILBOX.hex()]["created"] += 1
    ring.path.write_bytes(msgspec.json.encode(stored))
    assert refuses(keys.refresh, KeyringError) and keys.public_key(MAILBOX) == public
    ring.path.write_text(whole)
    keys.refresh()


# -- who may what ----------------------------------------------------------------------------------------------------

SAMPLES = {
    "state": wire.State(),
    "wait": wire.Wait(0.0),
    "vouch": wire.Vouch(),
    "key": wire.Key("settings"),
    "content key": wire.ContentKey(MAILBOX),
    "volume key": wire.VolumeKey(MAILBOX, b"", b""),
    "collector key": wire.CollectorKey(),
    "sign": wire.Sign(b"m"),
    "slots": wire.Slots(),
    "add passphrase": wire.AddPassphrase("a passphrase", ""),
    "add keyfile": wire.AddKeyfile("/nonexistent/keyfile", ""),
    "add credential": wire.AddCredential(""),
    "begin recovery": wire.BeginRecoveryKey(),
    "confirm recovery": wire.ConfirmRecoveryKey(""),
    "change passphrase": wire.ChangePassphrase("00000000", "x"),
    "remove slot": wire.RemoveSlot("00000000"),
    "new key": wire.NewApplianceKey("", ""),
    "create mailbox": wire.CreateMailbox(b"", False, True),
    "set password": wire.SetMailboxPassword(b"?" * 16, "", ""),
    "tokens": wire.MailboxTokens(b"?" * 16),
    "add token": wire.AddMailboxToken(b"?" * 16, "", ""),
    "remove token": wire.RemoveMailboxToken(b"?" * 16, ""),
    "open mailbox": wire.OpenMailbox(b"?" * 16, "mkp_", ""),
    "opened volume key": wire.OpenedVolumeKey(MAILBOX, b"", b""),
    "granted": wire.Granted(""),
    "unlock": wire.Unlock(),
}
PROJECTOR = {"state", "wait", "vouch", "key", "content key", "volume key"}
PULL = {"open mailbox", "opened volume key"}
REPLICA = {"state", "wait", "vouch", "key"}
COLLECTOR = {"state", "wait", "collector key"}


def test_each_role_gets_its_own_requests_only(agent, ring):
    ring.unlocked.create_mailbox(MAILBOX)
    agent.start("--keyfile", ring.keyfile)
    assert {type(one) for one in SAMPLES.values()} | {wire.Lock} == set(wire.Request.__subclasses__())
    forbidden = "does not do that for this caller"
    for role, may in (
        ("archiver", set(SAMPLES)), ("box", set(SAMPLES)), ("projector", PROJECTOR), ("pull", PULL),
        ("replica", REPLICA), ("collector", COLLECTOR),
    ):  # fmt: skip
        with agent.connect(role) as connection:
            allowed = set()
            for name, request in SAMPLES.items():
                answer = agent.ask(connection, request)
                if answer.error is None or forbidden not in answer.error.message:
                    allowed.add(name)
            assert allowed == may, role
            if role in ("projector", "pull", "replica", "collector"):
                assert forbidden in agent.ask(connection, wire.Lock()).error.message
    assert agent.as_("box").state().unlocked


def test_the_projector_cannot_sign_nor_make_mailboxes(agent, ring):
    keys = agent.start("--keyfile", ring.keyfile).keys("projector")
    assert keys.key("catalogue-lookup") == ring.unlocked.key("catalogue-lookup")
    for call in (lambda: keys.sign(b"m"), lambda: keys.create_mailbox(MAILBOX), agent.as_("projector").lock):
        assert refuses(call, ForbiddenError)


def test_the_collector_gets_a_key_of_its_own_from_which_nobody_finds_the_service_key(agent, ring):
    agent.start("--keyfile", ring.keyfile)
    collector = agent.as_("collector")
    given = collector.collector_key()
    assert given == collector_key(ring.unlocked.key("service"), ring.unlocked.archive_id)
    assert given not in (ring.unlocked.key("service"), ring.unlocked.key("collector"))
    assert collector.state().archive == ring.unlocked.archive_id.bytes
    assert refuses(lambda: agent.keys("collector"), ForbiddenError)
    agent.as_("box").lock()
    assert collector.state().archive == ring.unlocked.archive_id.bytes
    assert refuses(collector.collector_key, LockedError)


def test_the_replicator_gets_the_service_key_and_no_other(agent, ring):
    ring.unlocked.create_mailbox(MAILBOX)
    keys = agent.start("--keyfile", ring.keyfile).keys("replica")
    assert keys.key("service") == ring.unlocked.key("service")
    assert (keys.archive_id, keys.verify_key) == (ring.unlocked.archive_id, ring.unlocked.verify_key)
    for purpose in ("settings", "catalogue-lookup", "index", "Service", ""):
        assert refuses(lambda purpose=purpose: keys.key(purpose), ForbiddenError)
    for call in (lambda: keys.sign(b"m"), lambda: keys.content_key(MAILBOX), lambda: keys.create_mailbox(OTHER)):
        assert refuses(call, ForbiddenError)


def test_the_pull_role_gets_the_keys_of_the_mailbox_that_it_opened_and_no_others(agent, ring):
    made, other = ring.unlocked.create_mailbox(MAILBOX), ring.unlocked.create_mailbox(OTHER)
    agent.start("--keyfile", ring.keyfile)
    theirs = seal(other.public, b"o" * 32, b"i")
    with agent.as_("pull").open_mailbox(MAILBOX, made.password) as opened:
        assert opened.volume_key(MAILBOX, seal(made.public, b"d" * 32, b"i"), b"i") == b"d" * 32
        assert refuses(lambda: opened.volume_key(OTHER, theirs, b"i"), ForbiddenError)
        assert refuses(lambda: opened.volume_key(MAILBOX, theirs, b"i"), DamageError)
    with agent.connect("pull") as connection:
        for request in (
            wire.OpenedVolumeKey(OTHER, theirs, b"i"), wire.VolumeKey(OTHER, theirs, b"i"), wire.Key("settings"),
        ):  # fmt: skip
            assert agent.ask(connection, request).error.code in ("locked", "forbidden")
    assert refuses(lambda: agent.keys("pull"), ForbiddenError)


def test_a_mailbox_opens_while_the_archive_is_locked(agent, ring):
    made, sealed = ring.unlocked.create_mailbox(MAILBOX), ring.unlocked.create_mailbox(OTHER, sealed=True)
    token = ring.unlocked.add_mailbox_token(MAILBOX, "t").token
    pull = agent.start().as_("pull")
    for mailbox, public, secret in (
        (MAILBOX, made.public, made.password), (MAILBOX, made.public, token), (OTHER, sealed.public, sealed.password),
    ):  # fmt: skip
        with pull.open_mailbox(mailbox, secret) as opened:
            assert opened.volume_key(mailbox, seal(public, b"d" * 32, b"i"), b"i") == b"d" * 32
    assert refuses(lambda: pull.open_mailbox(MAILBOX, "wrong"), SignInError)


def test_secrets_lie_where_only_their_role_reads_and_a_wrong_one_is_refused(agent, ring, tmp_path):
    agent.start("--keyfile", ring.keyfile)
    secrets = {agent.secret(role).read_text() for role in wire.ROLES}
    assert len(secrets) == len(wire.ROLES)
    for role in wire.ROLES:
        assert stat.S_IMODE(agent.secret(role).parent.stat().st_mode) == 0o700
        assert stat.S_IMODE(agent.secret(role).stat().st_mode) & 0o007 == 0
    assert stat.S_IMODE(agent.socket.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(agent.socket.stat().st_mode) & 0o007 == 0
    (tmp_path / "guess").write_text("0" * 64)
    for path, error in ((tmp_path / "guess", ForbiddenError), (tmp_path / "none", UnavailableError)):
        assert refuses(Agent(agent.socket, path).state, error)
    with agent.connect() as connection:
        assert agent.ask(connection, wire.Key("settings")) is None
    with agent.connect() as connection:
        assert agent.ask(connection, wire.Hello("")).error.code == "forbidden"


@pytest.fixture
def public_folder():
    """A folder that other users may enter; pytest's own may not be."""
    folder = Path(tempfile.mkdtemp(prefix="mailkeep-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def as_nobody(code: str, *arguments: str) -> str:
    """What a program of another user prints."""
    return subprocess.run(
        [PYTHON, "-c", code, *arguments],
        user=NOBODY, group=NOBODY, extra_groups=(), capture_output=True, text=True, timeout=60, check=True,
    ).stdout  # fmt: skip


@as_root
def test_another_user_is_refused_whatever_he_knows(ring, public_folder):
    """Even where the socket's and the secret's modes would let him."""
    agent = AgentProcess(public_folder, ring.path).start("--keyfile", ring.keyfile)
    try:
        agent.socket.parent.chmod(0o755)
        agent.socket.chmod(0o666)
        code = (
            "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
            "s.sendall(bytes.fromhex(sys.argv[2])); print(s.recv(4096))"
        )
        hello = msgspec.msgpack.encode(wire.Hello(agent.secret("box").read_text()))
        frame = len(hello).to_bytes(4, "big") + hello
        said = as_nobody(code, str(agent.socket), frame.hex())
        assert "forbidden" in said and "own users only" in said
        with agent.connect() as connection:
            connection.sendall(frame)
            assert b"forbidden" not in connection.recv(4096)
    finally:
        agent.stop()


# -- nobody looks into it --------------------------------------------------------------------------------------------


@as_root
def test_its_memory_is_closed_to_other_processes_of_its_user(ring, public_folder):
    shutil.copy(ring.path, public_folder / "keyring.json")
    shutil.copy(ring.keyfile, public_folder / "keyfile")
    for path in (public_folder, *public_folder.iterdir()):
        os.chown(path, NOBODY, NOBODY)
    agent = AgentProcess(public_folder, public_folder / "keyring.json")
    try:
        agent.start("--keyfile", public_folder / "keyfile", as_user=NOBODY)
        assert agent.as_("box").state().unlocked
        own = subprocess.Popen([PYTHON, "-c", "input()"], user=NOBODY, group=NOBODY, extra_groups=(), stdin=-1)
        looking = (
            "import sys\n"
            "for name in ('mem', 'environ', 'maps'):\n"
            "    try:\n"
            "        open(f'/proc/{sys.argv[1]}/{name}', 'rb')\n"
            "        print(name, 'open')\n"
            "    except PermissionError:\n"
            "        print(name, 'closed')\n"
        )
        eventually(lambda: "mem open" in as_nobody(looking, str(own.pid)))  # so it is not for want of rights
        own.kill()
        own.wait()
        own.stdin.close()
        assert as_nobody(looking, str(agent.pid)) == "mem closed\nenviron closed\nmaps closed\n"
    finally:
        agent.stop()


def test_an_agent_that_was_locked_is_as_closed_as_before(agent):
    """It has started itself anew, and the kernel gives a started program's files in /proc to its user."""
    box = agent.start().as_("box")
    box.unlock(passphrase=PASSPHRASE)
    before = Path(f"/proc/{agent.pid}/limits").read_text()
    box.lock()
    assert not box.state().unlocked
    assert Path(f"/proc/{agent.pid}/limits").read_text() == before
    status = dict(line.split(":", 1) for line in Path(f"/proc/{agent.pid}/status").read_text().splitlines())
    assert box.state().memory_locked is (int(status["VmLck"].split()[0]) > 0)
    assert status["NoNewPrivs"].strip() == "1"


def test_it_leaves_no_core_file_and_says_whether_its_memory_is_locked(agent, ring):
    state = agent.start("--keyfile", ring.keyfile).as_("box").state()
    proc = Path(f"/proc/{agent.pid}")
    (core,) = [line.split() for line in (proc / "limits").read_text().splitlines() if line.startswith("Max core")]
    assert core[4:6] == ["0", "0"]
    status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
    locked = int(status["VmLck"].split()[0])
    assert (locked >= int(status["VmRSS"].split()[0]) // 2) is state.memory_locked
    assert status["NoNewPrivs"].strip() == "1"


def in_memory(pid: int, needle: bytes) -> bool:
    """Whether a process has these bytes anywhere. Raises PermissionError."""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            span, rights = line.split()[:2]
            if "r" not in rights or "[v" in line:
                continue
            start, end = (int(part, 16) for part in span.split("-"))
            with contextlib.suppress(OSError, ValueError, OverflowError):
                memory.seek(start)
                if needle in memory.read(end - start):
                    return True
    return False


@as_root
def test_after_lock_nothing_of_the_key_is_left_in_its_memory(agent, ring):
    made = ring.unlocked.create_mailbox(MAILBOX)
    agent.start("--keyfile", ring.keyfile)
    agent.keys().volume_key(MAILBOX, seal(made.public, b"d" * 32, b"i"), b"i")
    key = ring.unlocked._appliance_key
    try:
        assert in_memory(agent.pid, key)
    except PermissionError:
        pytest.skip("this root may not read other processes' memory")
    agent.as_("box").lock()
    assert not agent.as_("box").state().unlocked
    assert not in_memory(agent.pid, key)


def test_after_lock_nothing_answers(agent, ring):
    made = ring.unlocked.create_mailbox(MAILBOX)
    agent.start("--keyfile", ring.keyfile)
    keys, opened = agent.keys(), agent.as_("pull").open_mailbox(MAILBOX, made.password)
    raw = agent.connect("archiver")
    agent.as_("box").lock()
    sealed = seal(made.public, b"d" * 32, b"i")
    for call in (
        lambda: keys.key("never asked for"),
        lambda: keys.sign(b"m"),
        lambda: keys.volume_key(MAILBOX, sealed, b"i"),
        keys.refresh,
        keys.slots,
        lambda: keys.create_mailbox(OTHER),
        agent.keys,
    ):
        assert refuses(call, LockedError)
    assert refuses(lambda: opened.volume_key(MAILBOX, sealed, b"i"), UnavailableError)
    assert raw.recv(1) == b""
    agent.as_("box").lock()
    agent.as_("box").unlock(passphrase=PASSPHRASE)
    assert keys.volume_key(MAILBOX, sealed, b"i") == b"d" * 32


def test_a_caller_that_does_not_wait_for_the_lock_has_locked_all_the_same(agent, ring):
    agent.start("--keyfile", ring.keyfile)
    frame = msgspec.msgpack.encode(wire.Lock())
    with agent.connect("box") as connection:
        connection.sendall(len(frame).to_bytes(4, "big") + frame)
    eventually(lambda: not agent.as_("box").is_unlocked())
    eventually(lambda: works(agent.as_("box").state))
    assert not agent.as_("box").state().unlocked


def test_locking_many_times_loses_no_call(agent):
    box = agent.start().as_("box")
    for _ in range(5):
        box.unlock(passphrase=PASSPHRASE)
        assert box.state().unlocked
        box.lock()
        assert not box.state().unlocked


# -- forgetting ------------------------------------------------------------------------------------------------------


def test_a_mailbox_is_forgotten_when_its_connection_ends(agent, ring):
    made = ring.unlocked.create_mailbox(MAILBOX)
    archiver = agent.start("--keyfile", ring.keyfile).keys()
    opened, other = (agent.as_("pull").open_mailbox(MAILBOX, made.password) for _ in range(2))
    assert archiver.granted(opened.grant) == archiver.granted(other.grant) == MAILBOX

    def forgotten(grant):
        try:
            archiver.granted(grant)
        except ForbiddenError:
            return True
        return False

    opened.close()
    eventually(lambda: forgotten(opened.grant))
    assert archiver.granted(other.grant) == MAILBOX
    assert refuses(lambda: opened.volume_key(MAILBOX, b"", b""), UnavailableError)

    code = (
        "import sys, time; from pathlib import Path; from appliance.keys.agent_client import Agent;"
        "opened = Agent(Path(sys.argv[1]), Path(sys.argv[2])).open_mailbox(bytes(range(16)), sys.argv[3]);"
        "print(opened.grant, flush=True); time.sleep(600)"
    )
    reader = subprocess.Popen(
        [sys.executable, "-c", code, str(agent.socket), str(agent.secret("pull")), made.password],
        cwd=ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    grant = reader.stdout.readline().strip()
    assert archiver.granted(grant) == MAILBOX
    reader.kill()
    reader.wait()
    reader.stdout.close()
    eventually(lambda: forgotten(grant))


def test_it_ends_with_the_process_that_started_it(agent, ring):
    code = "import subprocess, sys; p = subprocess.Popen(sys.argv[1:]); print(p.pid, flush=True); sys.stdin.read()"
    parent = subprocess.Popen(
        [sys.executable, "-c", code, *agent.command("--keyfile", ring.keyfile)],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    said = {parent.stdout.readline().strip(), parent.stdout.readline().strip()}
    (pid,) = (int(one) for one in said - {"ready"})
    agent.as_("box").lock()
    assert not agent.as_("box").state().unlocked
    parent.kill()
    parent.wait()

    def gone():
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except FileNotFoundError:
            return True

    eventually(gone)


# -- guessing --------------------------------------------------------------------------------------------------------


def test_who_guesses_a_mailboxs_password_is_slowed_down_and_others_are_not(agent, ring):
    made, other = ring.unlocked.create_mailbox(MAILBOX), ring.unlocked.create_mailbox(OTHER)
    token = ring.unlocked.add_mailbox_token(MAILBOX, "t").token
    pull = agent.start("--keyfile", ring.keyfile).as_("pull")
    said = []
    for _ in range(8):
        with pytest.raises(SignInError) as refused:
            pull.open_mailbox(MAILBOX, "wrong password", client="192.0.2.1")
        said.append("too many" in refused.value.message)
    assert said[0] is False and said[-1] is True
    with pytest.raises(SignInError, match="too many"):
        pull.open_mailbox(MAILBOX, made.password, client="192.0.2.1")
    for mailbox, secret, client in (
        (MAILBOX, made.password, "192.0.2.2"), (MAILBOX, token, "192.0.2.1"), (OTHER, other.password, "192.0.2.1"),
    ):  # fmt: skip
        pull.open_mailbox(mailbox, secret, client=client).close()


def test_who_guesses_from_everywhere_is_slowed_down_too(agent, ring):
    made = ring.unlocked.create_mailbox(MAILBOX)
    pull = agent.start("--keyfile", ring.keyfile).as_("pull")
    said = []
    for number in range(60):
        with pytest.raises(SignInError) as refused:
            pull.open_mailbox(MAILBOX, "wrong password", client=f"198.51.100.{number}")
        said.append("too many" in refused.value.message)
    assert not any(said[:50]) and said[-1]
    with pytest.raises(SignInError, match="too many"):
        pull.open_mailbox(MAILBOX, made.password, client="203.0.113.1")


def test_an_owner_at_his_usual_address_gets_in_while_others_guess(agent, ring):
    made = ring.unlocked.create_mailbox(MAILBOX)
    pull = agent.start("--keyfile", ring.keyfile).as_("pull")
    pull.open_mailbox(MAILBOX, made.password, client="203.0.113.1").close()
    with pytest.raises(SignInError, match="too many"):
        for number in range(60):
            with contextlib.suppress(SignInError):
                pull.open_mailbox(MAILBOX, "wrong password", client=f"198.51.100.{number}")
        pull.open_mailbox(MAILBOX, made.password, client="198.51.100.200")
    pull.open_mailbox(MAILBOX, made.password, client="203.0.113.1").close()
    for _ in range(6):
        with contextlib.suppress(SignInError):
            pull.open_mailbox(MAILBOX, "wrong password", client="203.0.113.1")
    with pytest.raises(SignInError, match="too many"):
        pull.open_mailbox(MAILBOX, made.password, client="203.0.113.1")


def test_who_guesses_the_passphrase_over_the_network_does_not_keep_out_who_sits_at_the_box(agent, ring):
    box = agent.start().as_("archiver")
    with pytest.raises(SignInError):
        for number in range(30):
            with contextlib.suppress(KeyringError):
                box.unlock(passphrase="wrong", client=f"client 198.51.100.{number}")
    assert refuses(lambda: box.unlock(passphrase=PASSPHRASE, client="client 203.0.113.1"), SignInError)
    box.unlock(passphrase=PASSPHRASE)
    assert box.is_unlocked()


def test_who_guesses_the_passphrase_or_a_sealed_mailboxs_password_is_slowed_down(agent, ring):
    ring.unlocked.create_mailbox(MAILBOX, sealed=True)
    box = agent.start("--keyfile", ring.keyfile).as_("box")
    said = []
    for _ in range(15):
        with pytest.raises(MailkeepError) as refused:
            box.unlock(passphrase="wrong")
        said.append(type(refused.value))
    assert said[0] is KeyringError and said[-1] is SignInError
    assert refuses(lambda: box.unlock(passphrase=PASSPHRASE), SignInError)
    keys = agent.keys()
    said = []
    for _ in range(8):
        with pytest.raises(SignInError) as wrong:
            keys.set_mailbox_password(MAILBOX, old="wrong password")
        said.append("too many" in wrong.value.message)
    assert said[0] is False and said[-1] is True


# -- what is no request ----------------------------------------------------------------------------------------------


def frames():
    def framed(body):
        return len(body).to_bytes(4, "big") + body

    values = st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.binary(max_size=40) | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
        max_leaves=8,
    )
    kinds = [kind for kind in wire.Request.__subclasses__() if kind not in (wire.Lock, wire.Wait, wire.AddKeyfile)]
    named = st.builds(
        lambda kind, given: {"type": kind.__name__, **dict(zip(kind.__struct_fields__, given, strict=False))},
        st.sampled_from(kinds),
        st.lists(values, max_size=4),
    )
    return st.binary(max_size=80) | st.builds(framed, (values | named).map(msgspec.msgpack.encode))


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def fuzz(agent, box, data):
    role = data.draw(st.sampled_from([None, *wire.ROLES]))
    with contextlib.suppress(OSError), agent.connect(role) as connection:
        for frame in data.draw(st.lists(frames(), min_size=1, max_size=4)):
            connection.sendall(frame)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass
    assert agent.process.poll() is None and box.state().unlocked


def test_what_is_no_request_ends_nothing_but_its_connection(agent, ring):
    ring.unlocked.create_mailbox(MAILBOX)
    box = agent.start("--keyfile", ring.keyfile).as_("box")
    fuzz(agent, box)
    for role, largest in (("box", wire.LARGEST_REQUEST), ("pull", wire.LARGEST_SMALL_REQUEST)):
        with agent.connect(role) as connection:
            connection.sendall((largest + 1).to_bytes(4, "big"))
            assert connection.recv(1) == b""
    with agent.connect() as connection:
        connection.sendall((wire.LARGEST_HELLO + 1).to_bytes(4, "big"))
        assert connection.recv(1) == b""
    with agent.connect("box") as connection:
        assert agent.ask(connection, wire.Hello("x")).error.code == "usage"
        assert agent.ask(connection, wire.State()).error is None
    assert ring.again().key("x") == agent.keys().key("x")


def test_who_stalls_blocks_nobody(agent, ring):
    """Strangers without end, half frames, and callers who ask and do not listen."""
    ring.unlocked.create_mailbox(MAILBOX)
    box = agent.start("--keyfile", ring.keyfile).as_("box")
    held = [agent.connect() for _ in range(3 * MOST_STRANGERS)]
    half = [agent.connect("projector") for _ in range(20)]
    for connection in half:
        connection.sendall(b"\x00\x00\x10\x00half")
    deaf = agent.connect("projector")
    deaf.setblocking(False)
    frame = msgspec.msgpack.encode(wire.Key("x"))
    with contextlib.suppress(BlockingIOError):
        while True:
            deaf.send((len(frame).to_bytes(4, "big") + frame) * 100)
    assert box.state().unlocked and agent.keys().key("x") == ring.unlocked.key("x")
    assert held[0].recv(1) == b""  # the oldest stranger had to go
    for connection in (*held, *half, deaf):
        connection.close()
    assert box.state().unlocked


def test_one_role_cannot_take_the_others_connections(agent, ring, monkeypatch):
    agent.start("--keyfile", ring.keyfile)
    held = []
    refused = False
    while not refused:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.connect(str(agent.socket))
        held.append(connection)
        refused = agent.ask(connection, wire.Hello(agent.secret("projector").read_text())).error is not None
        assert len(held) <= 100
    assert agent.keys("archiver").sign(b"m") == ring.unlocked.sign(b"m")
    for connection in held:
        connection.close()
    eventually(lambda: works(agent.as_("projector").state))


def works(call) -> bool:
    try:
        call()
    except UnavailableError:
        return False
    return True
