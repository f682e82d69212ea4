"""What a recovery key opens at a remote, when there is nothing else: the keyring, and by it the generations."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec

from appliance.cloud.manifests import Newest, ReplicaKeys, generation_names, generations, highest_epoch, newest_of
from appliance.cloud.objects import Manifest, generation_name
from appliance.cloud.remote import Remote
from appliance.errors import DamageError, KeyringError, NotFoundError
from appliance.keys import recovery
from appliance.keys.keyring import Keyring, Unlocked

LARGEST_KEYRING: Final = 256 * 1024 * 1024
"""Bytes of a keyring at most; what is larger is none."""

_KEYRING: Final = re.compile(r"keyrings/([0-9a-f]{64})")
_NOWHERE: Final = Path("keyring.json")


class Surveyed(msgspec.Struct, frozen=True):
    """What there is to be restored."""

    generations: tuple[Manifest, ...]  # the newest first
    unopened: tuple[str, ...]  # manifests that are not what was written
    epoch: int  # of the last restore that has begun here

    @property
    def warnings(self) -> tuple[str, ...]:
        """What does not look as it should, in sentences."""
        found = [f"{name} is not what was written there: it was altered, exchanged or cut." for name in self.unopened]
        if self.generations and self.epoch > self.generations[0].epoch:
            found.append(behind(self.epoch, self.generations[0]))
        return tuple(found)


def behind(epoch: int, newest: Manifest) -> str:
    """A restore has begun here, and no generation has followed it."""
    return (
        f"A restore from here has begun epoch {epoch}, but the newest generation is of epoch {newest.epoch}. Either "
        "the box that was restored then never finished a generation here, or newer generations were taken away."
    )


def passed_over(chosen: Newest) -> tuple[str, ...]:
    """What to tell of generations that have later names than the chosen one and do not open."""
    return tuple(
        f"{name} is not what was written there: it was altered, cut, or is a forgery. Generation "
        f"{chosen.manifest.number} was restored instead, the newest that is whole. Mail that came in later than it may "
        "be missing: look at the other remotes, and into who can write to this one."
        for name in chosen.forged
    )


def find_keys(remote: Remote, recovery_key: str) -> ReplicaKeys:
    """The keys of the archive whose replica this is. Raises KeyringError where the recovery key does not open any
    keyring there, NotFoundError where there is none, and as ``Remote.list`` and ``read`` do."""
    recovery.from_text(recovery_key)  # a slip is told before anything is asked of the remote
    listed = [one for one in remote.list("keyrings") if _KEYRING.fullmatch(one.name) and one.size <= LARGEST_KEYRING]
    if not listed:
        raise NotFoundError(
            f"There is no replica at this place of {remote.config.name}: no keyring lies there. Look at the path: it "
            "is the one that was given to `mailkeep remote add`."
        )
    altered = 0
    for one in sorted(listed, key=lambda one: (one.modified, one.name), reverse=True):
        try:
            content = _keyring(remote, one.name)
            unlocked = Keyring.parse(content, _NOWHERE).unlock_with_recovery_key(recovery_key)
        except DamageError:
            altered += 1
        except (KeyringError, NotFoundError):  # of an older recovery key, or of another archive; or gone meanwhile
            continue
        else:
            return _keys(unlocked)
    raise KeyringError(
        f"The recovery key is well-formed, but opens none of the {len(listed)} keyrings at {remote.config.name}. It "
        "belongs to another archive, or a newer one has taken its place."
        + (f" {altered} of the keyrings are not what was written there." if altered else "")
    )


def survey(remote: Remote, keys: ReplicaKeys) -> Surveyed:
    """All generations, and what of the listing does not look as it should. Raises as ``Remote.list`` and ``read``."""
    listed = [generation_name(*one) for one in generation_names(remote)]
    opened = generations(remote, keys)
    good = {generation_name(one.epoch, one.number) for one in opened}
    unopened = tuple(name for name in listed if name not in good)
    return Surveyed(tuple(opened), unopened, highest_epoch(remote, keys))


def choose(remote: Remote, keys: ReplicaKeys, number: int | None) -> Newest:
    """The generation of that number, or the newest that opens, with the names of those that were passed over.

    Raises NotFoundError, and DamageError where it is not what was written.
    """
    listed = generation_names(remote)
    if not listed:
        raise NotFoundError(f"No generation was ever finished at {remote.config.name}: there is nothing to restore.")
    wanted = [one for one in listed if number is None or one[1] == number]
    if not wanted:
        raise NotFoundError(f"There is no generation {number}. `mailkeep restore --list` shows those there are.")
    try:
        return newest_of(remote, keys, wanted)
    except DamageError as error:
        raise DamageError(
            f"{error.message} Nothing of it was used. `mailkeep restore --list` shows the generations that are whole; "
            "give the number of one with --generation."
        ) from error


def open_keyring(
    remote: Remote, keys: ReplicaKeys, manifest: Manifest, recovery_key: str
) -> tuple[bytes, Unlocked]:  # fmt: skip
    """The keyring of a generation: its bytes, and itself unlocked. Raises KeyringError, DamageError, NotFoundError."""
    content = _keyring(remote, manifest.keyring)
    try:
        unlocked = Keyring.parse(content, _NOWHERE).unlock_with_recovery_key(recovery_key)
    except KeyringError as error:
        raise KeyringError(
            f"This recovery key was replaced by a newer one before generation {manifest.number} was written. Use the "
            "newer one, or an older generation with --generation."
        ) from error
    if _keys(unlocked) != keys:
        raise DamageError(f"{manifest.keyring} of the replica is of another archive.")
    return content, unlocked


def _keyring(remote: Remote, name: str) -> bytes:
    found = _KEYRING.fullmatch(name)
    content = remote.read(name) if found is not None else b""
    if found is None or sha256(content).hexdigest() != found[1]:
        raise DamageError(f"{name} of the replica is not what was written there.")
    return content


def _keys(unlocked: Unlocked) -> ReplicaKeys:
    return ReplicaKeys(unlocked.archive_id, unlocked.key("service"), unlocked.verify_key)
