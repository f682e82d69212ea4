"""How far set-up is: a small file beside the data folder, so that it can be left and gone on with.

It survives a power cut, and there is never a secret in it. What a step decided is in force where it belongs (the
archive's settings, the host's files) before the step counts as done, so that a step that was cut off is asked again and
finds what is there.
"""

from __future__ import annotations

import os
from typing import Literal

import msgspec

from appliance import decoding
from appliance.errors import StorageError
from appliance.files import FILES, Files, read_file, replace_file
from appliance.language import LANGUAGES
from appliance.services.paths import Paths

VERSION = 1


class Listen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the product listens (HOST:PORT) when set-up starts it without systemd, whose sockets say so themselves."""

    smtp: tuple[str, ...] = ("0.0.0.0:25",)
    http: tuple[str, ...] = ("0.0.0.0:443",)
    redirect: tuple[str, ...] = ("0.0.0.0:80",)
    pop3s: tuple[str, ...] = ()
    allow_plain_swap: bool = False


class Progress(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is remembered of a set-up.

    ``archive`` is ``making`` from before the first key exists until the recovery key was typed back (or written to its
    file): until then nothing was served, no mail can be in it, and it is made anew when set-up goes on.
    """

    version: int = VERSION
    language: str = ""
    done: tuple[str, ...] = ()
    host_name: str = ""
    archive: Literal["none", "making", "made"] = "none"
    mailbox: str = ""  # the id of the first one
    listen: Listen = Listen()
    finished: bool = False

    def with_done(self, step: str) -> Progress:
        """The same with one more step done."""
        return self if step in self.done else msgspec.structs.replace(self, done=(*self.done, step))


def load(paths: Paths, *, files: Files = FILES) -> Progress:
    """What is remembered; a fresh start where nothing is, or where it cannot be understood. Raises StorageError."""
    try:
        found = decoding.from_json(read_file(files, paths.setup), Progress)
    except (FileNotFoundError, msgspec.MsgspecError):
        return Progress(archive="made" if paths.keyring.exists() else "none")
    except OSError as error:
        raise StorageError(f"{paths.setup} cannot be read ({error.strerror}). Set-up has changed nothing.") from error
    return found


def save(paths: Paths, progress: Progress, *, files: Files = FILES) -> None:
    """Remember it, durably. Raises StorageError."""
    try:
        paths.setup.parent.mkdir(parents=True, exist_ok=True)
        replace_file(files, paths.setup, msgspec.json.format(msgspec.json.encode(progress)) + b"\n", 0o644)
    except OSError as error:
        raise StorageError(
            f"{paths.setup} cannot be written ({error.strerror}). What was set up so far stays; make room, or run this "
            "as root, and go on."
        ) from error


def is_needed(paths: Paths) -> bool:
    """Whether there is no archive yet, or one whose set-up is not finished."""
    if not paths.keyring.exists():
        return True
    return paths.setup.exists() and not load(paths).finished


def language(paths: Paths) -> str:
    """The language that was chosen; before that the one of the environment, as far as there is a translation."""
    try:
        chosen = load(paths).language
    except StorageError:
        chosen = ""
    if chosen in LANGUAGES:
        return chosen
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if value := os.environ.get(name):
            return value[:2] if value[:2] in LANGUAGES else "en"
    return "en"
