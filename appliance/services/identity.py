"""Signing in: passwords, one-time codes, TOTP, sessions, and the first administrator."""

from __future__ import annotations

import hashlib
import hmac
import io
import ipaddress
import os
import secrets
import threading
import time
from collections.abc import Callable

import pyotp
import segno
from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from sqlalchemy import func, select

from appliance.errors import ConflictError, ForbiddenError, SignInError, UsageError
from appliance.language import later
from appliance.mail.addresses import normalise
from appliance.services import api
from appliance.services.access import others
from appliance.services.archive import Archive
from appliance.services.directories.passwords import whom_to_ask
from appliance.services.principal import KEYHOLDER, Principal
from appliance.services.tries import WrongTries
from appliance.settings import events, tables

SESSION_SECONDS = 12 * 3600
INVITATION_SECONDS = 7 * 24 * 3600
SHORTEST_PASSWORD = 12
ARGON2 = {"length": 32, "iterations": 2, "lanes": 1, "memory_cost": 64 * 1024}

TRIES = 5
"""Wrong passwords for one address, or from one client, before it has to wait."""
FIRST_WAIT = 30.0
LONGEST_WAIT = 3600.0
CHECKS_AT_A_TIME = 2
"""Passwords checked at the same time, and directories asked: each takes 64 MiB, and anybody may ask."""
LONGEST_ADDRESS = 320
"""Characters of an address that is tried: more is in no directory, and every try is written down."""

CLIENT_TRIES = 50
"""Wrong passwords from one client's address: behind it there may be a whole office."""

_WRONG = "The address, the password or the code is wrong."


class Brake:
    """Slows down guessing: after ``TRIES`` failures every further one doubles the wait for that key.

    ``tries`` counts all failures together, for the alarm.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, *, tries: WrongTries | None = None) -> None:
        self._clock = clock
        self._tries = tries
        self._failures: dict[str, tuple[int, float]] = {}
        self._lock = threading.Lock()

    def check(self, *keys: str) -> None:
        """Raises SignInError while one of the keys has to wait."""
        now = self._clock()
        with self._lock:
            wait = max((self._failures.get(key, (0, 0.0))[1] - now for key in keys), default=0.0)
        if wait > 0:
            minutes = int(wait // 60) + 1
            raise SignInError(f"Too many wrong tries. Try again in {minutes} minute{'s' if minutes > 1 else ''}.")

    def failed(self, *keys: str) -> None:
        """Count a failure."""
        now = self._clock()
        if self._tries is not None:
            self._tries.add(keys[-1])
        with self._lock:
            if len(self._failures) > 100_000:
                self._failures = {key: one for key, one in self._failures.items() if one[1] > now}
            for key in keys:
                count = self._failures.get(key, (0, 0.0))[0] + 1
                over = count - (CLIENT_TRIES if key.startswith("client ") else TRIES)
                wait = min(FIRST_WAIT * 2 ** min(over, 10), LONGEST_WAIT) if over >= 0 else 0.0
                self._failures[key] = (count, now + wait)

    def passed(self, *keys: str) -> None:
        """Forget the failures of these keys."""
        with self._lock:
            for key in keys:
                self._failures.pop(key, None)


class Identity:
    """What signing in needs to remember between two calls."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._brake = Brake(tries=archive.tries)
        self._pending_totp: dict[str, str] = {}
        self._used_totp: dict[str, int] = {}
        self._totp_lock = threading.Lock()
        self._checking = threading.Semaphore(CHECKS_AT_A_TIME)
        self._asking = threading.Semaphore(CHECKS_AT_A_TIME)
        self._decoy = hash_password(secrets.token_urlsafe(16))
        self.setup_code = secrets.token_hex(4).upper()
        """Printed on the box while there is no administrator: proof that a browser's owner has access to it."""

    # -- who is it --------------------------------------------------------------------------------------------

    def principal(self, token: str, client: str) -> Principal:
        """The caller of a session. Raises SignInError when there is no such session."""
        token_hash = _token_hash(token)
        found = self._archive.settings.session_of(token_hash) if token else None
        if found is None:
            raise SignInError(later("Your session has ended. Sign in again."))
        return Principal(
            id=found.user, name=found.name, roles=found.roles | {"user"}, archives=found.opened | {found.user},
            client=client, session=token_hash,
        )  # fmt: skip

    def caller(self, principal: Principal) -> api.Caller:
        """The caller as a face shows it. Raises SignInError where the session has ended meanwhile."""
        found = self._archive.settings.session_of(principal.session)
        if found is None:
            raise SignInError("Your session has ended. Sign in again.")
        return api.Caller(
            user_id=found.user, name=found.name, address=found.address,
            roles=tuple(sorted(found.roles | {"user"})),  # type: ignore[arg-type]
            totp_enabled=found.totp, content_roles="auditor" in found.roles,
            opened=others(self._archive, found.opened),
        )  # fmt: skip

    # -- signing in and out -----------------------------------------------------------------------------------

    def sign_in(self, *, address: str, password: str, totp: str, client: str) -> api.SignedIn:
        """A new session. Every reason to refuse gives the same answer after the same time, but for a missing code."""
        plain = normalise(address)[:LONGEST_ADDRESS]
        keys = (f"address {plain}", client_key(client))
        user = self._active_user(plain)
        asked = None if user is not None and user.password else whom_to_ask(self._archive, user)
        # Checking a password takes 64 MiB for a moment, asking a directory a process. Those who wait here are counted
        # before the next one is let in.
        with self._checking if asked is None else self._asking:
            self._brake.check(*keys)
            if asked is None:
                right = check_password(password, user.password if user is not None and user.password else self._decoy)
            else:
                right = asked.is_right(password)
            if user is not None and right and user.totp:
                if not totp:
                    raise SignInError(later("Enter the six digits of your authenticator app as well."))
                right = self._totp_fits_once(user.id, user.totp, totp)
            if user is None or not right:
                self._brake.failed(*keys)
                self._archive.note(Principal(id="nobody", client=client), "sign-in.failed", plain)
                raise SignInError(_WRONG)
            self._brake.passed(*keys)
        return self._open_session(user.id, client, "sign-in")

    def _active_user(self, address: str) -> tables.User | None:
        """The user who holds this address, if there is one who may sign in."""
        settings = self._archive.settings
        with settings.read() as database:
            return database.scalar(
                select(tables.User)
                .join(tables.Address)
                .where(tables.Address.lookup == settings.lookup(address), tables.Address.until.is_(None))
                .where(tables.User.state == "active")
            )

    def sign_out(self, principal: Principal) -> None:
        """End the caller's session."""
        self._archive.settings.session_end(principal.session)
        self._archive.note(principal, "sign-out")

    def _open_session(self, user: str, client: str, action: str) -> api.SignedIn:
        token = secrets.token_urlsafe(32)
        expires = int(time.time()) + SESSION_SECONDS
        self._archive.note(Principal(id=user, client=client), action)
        self._archive.settings.session_open(_token_hash(token), user, expires)
        return api.SignedIn(token, self.caller(self.principal(token, client)), expires)

    # -- passwords --------------------------------------------------------------------------------------------

    def accept_invitation(self, *, code: str, password: str, client: str) -> api.SignedIn:
        """Set a password with a one-time code."""
        key = client_key(client)
        self._brake.check(key)
        code_hash = _code_hash(code)
        with self._archive.settings.read() as database:
            found = database.get(tables.Invitation, code_hash)
            user = database.get(tables.User, found.user_id) if found else None
            usable = found is not None and found.expires > time.time()
        if not usable or user is None or user.state != "active":
            self._brake.failed(key)
            raise SignInError("This code is not valid any more. Ask your administrator for a new one.")
        require_good_password(password)
        who = Principal(id=user.id, client=client)
        self._archive.record(who, events.InvitationUsed(code_hash))
        self._archive.record(who, events.PasswordSet(user.id, self._hashed(password)))
        if user.totp:
            raise SignInError("Your password is set. Sign in with it and the six digits of your authenticator app.")
        return self._open_session(user.id, client, "sign-in")

    def change_password(self, principal: Principal, *, old: str, new: str) -> None:
        """Change one's own password; other sessions of the person end."""
        key = f"user {principal.id}"
        self._brake.check(key)
        with self._archive.settings.read() as database:
            phc = database.get_one(tables.User, principal.id).password
        with self._checking:
            right = check_password(old, phc or self._decoy)
        if not right:
            self._brake.failed(key)
            raise SignInError("The old password is wrong.")
        self._brake.passed(key)
        require_good_password(new)
        self._archive.record(principal, events.PasswordSet(principal.id, self._hashed(new)))
        self._archive.settings.session_open(principal.session, principal.id, int(time.time()) + SESSION_SECONDS)

    def invite(self, principal: Principal, user: str, address: str) -> api.Invitation:
        """A one-time code for a user; codes given out before are void."""
        code = "-".join(secrets.token_hex(2).upper() for _ in range(5))
        expires = int(time.time()) + INVITATION_SECONDS
        self._archive.record(principal, events.InvitationMade(user, _code_hash(code), expires))
        return api.Invitation(user, address, code, expires)

    def _hashed(self, password: str) -> str:
        with self._checking:
            return hash_password(password)

    # -- TOTP (RFC 6238) --------------------------------------------------------------------------------------

    def totp_begin(self, principal: Principal) -> api.TotpSetup:
        """A new secret, not in force before it is confirmed."""
        secret = pyotp.random_base32()
        self._pending_totp[principal.id] = secret
        uri = pyotp.TOTP(secret).provisioning_uri(name=self.caller(principal).address, issuer_name="mailkeep")
        return api.TotpSetup(secret, uri, _picture(uri))

    def totp_confirm(self, principal: Principal, *, code: str) -> api.Caller:
        """Put the secret of ``totp_begin`` in force, given a code made with it."""
        secret = self._pending_totp.get(principal.id)
        if secret is None or _totp_step(secret, code) is None:
            raise SignInError("That code does not fit. Check the clock of your device and try the next one.")
        self._archive.record(principal, events.TotpSet(principal.id, secret))
        self._pending_totp.pop(principal.id, None)
        return self.caller(principal)

    def _totp_fits_once(self, user: str, secret: str, code: str) -> bool:
        """Whether the code is of now or 30 seconds to either side, and later than the last one that was taken.

        RFC 6238 section 5.2: a code is good once.
        """
        step = _totp_step(secret, code)
        with self._totp_lock:
            if step is None or step <= self._used_totp.get(user, 0):
                return False
            self._used_totp[user] = step
            return True

    # -- the first administrator ------------------------------------------------------------------------------

    def needs_administrator(self) -> bool:
        """Whether nobody has the role of administrator yet."""
        with self._archive.settings.read() as database:
            count = database.scalar(select(func.count()).select_from(tables.Grant).where(tables.Grant.role == "admin"))
            return not count

    def create_administrator(self, *, code: str, name: str, address: str, password: str, client: str) -> api.SignedIn:
        """The first administrator, made in the browser with the code that the box shows."""
        if not self.needs_administrator():
            raise ForbiddenError(later("There is an administrator already. Sign in, or ask for an invitation."))
        self._brake.check("set-up")
        if not hmac.compare_digest(code.strip().upper().encode(), self.setup_code.encode()):
            self._brake.failed("set-up")
            raise SignInError("That is not the set-up code that the box shows.")
        require_good_password(password)
        user = self.add_administrator(Principal(id="system", client=client), name, address, password)
        return self._open_session(user, client, "sign-in")

    def first_administrator(self, principal: Principal, *, name: str, address: str, password: str) -> None:
        """The first administrator, made on the box itself. Raises ForbiddenError where there is one."""
        principal.require(KEYHOLDER)
        if not self.needs_administrator():
            raise ForbiddenError("There is an administrator already. Sign in, or ask for an invitation.")
        require_good_password(password)
        self.add_administrator(principal, name, address, password)

    def add_administrator(self, principal: Principal, name: str, address: str, password: str) -> str:
        """Create a user who is an administrator. Returns its id."""
        plain = normalise(address)
        if "@" not in plain and plain != "admin":
            raise UsageError(later("Enter a full address, such as anna@example.com."))
        user = new_user_id()
        with self._archive.directory:
            if self._archive.owners.archive_of(plain, int(self._archive.clock() * 1e6)):
                raise ConflictError(later("The address {address} belongs to another user."), address=plain)
            self._archive.record(principal, events.UserPut(user, name or plain, (plain,)))
        self._archive.record(principal, events.PasswordSet(user, self._hashed(password)))
        self._archive.record(principal, events.RoleGranted(user, "admin", "first administrator"))
        return user


def new_user_id() -> str:
    """An id for a user and its archive: short, random, safe in a URL and as one word of the index."""
    return "u" + secrets.token_hex(7)


def require_good_password(password: str) -> None:
    """Raises UsageError for a password that is too short to be one."""
    if len(password) < SHORTEST_PASSWORD:
        raise UsageError(later("Choose a password of at least {count} characters."), count=SHORTEST_PASSWORD)


def hash_password(password: str) -> str:
    """The password's Argon2id hash (RFC 9106) in PHC form."""
    return Argon2id(salt=os.urandom(16), **ARGON2).derive_phc_encoded(password.encode())  # type: ignore[arg-type]


def check_password(password: str, phc: str) -> bool:
    """Whether the password fits."""
    try:
        Argon2id.verify_phc_encoded(password.encode(), phc)
    except InvalidKey:
        return False
    return True


def _picture(uri: str) -> str:
    """A QR code as an SVG image of its own: with the name space that it needs outside a page's markup."""
    written = io.BytesIO()
    segno.make(uri).save(written, kind="svg", scale=4, border=2, xmldecl=False)
    return written.getvalue().decode()


def _totp_step(secret: str, code: str) -> int | None:
    """Which 30 seconds the code is of; None where it does not fit."""
    totp, digits = pyotp.TOTP(secret), code.replace(" ", "")
    now = int(time.time()) // totp.interval
    steps = (now - 1, now, now + 1)
    return next((step for step in steps if totp.verify(digits, for_time=step * totp.interval)), None)


def client_key(client: str) -> str:
    """What one browser's guesses are counted under: its address, of IPv6 the /64 that one subscriber has."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return f"client {client}"
    return f"client {ipaddress.ip_network((address, 64), strict=False) if address.version == 6 else address}"


def _token_hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _code_hash(code: str) -> bytes:
    return hashlib.sha256("".join(filter(str.isalnum, code.upper())).encode()).digest()
