"""Errors as they cross a socket: the same error arrives, and who is told in another language reads its sentence."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from appliance import errors, language
from appliance.errors import (
    ConflictError,
    KeyringError,
    MailkeepError,
    QueryError,
    ThrottledError,
    UnavailableError,
    UsageError,
)
from appliance.framing import Failure, error_of, failure_of, words_of
from appliance.language import later, use

NOT_RIGHT = later("The passphrase is not right.")
TAKEN = later("There is a mailbox with the address {address} already: {name}.")


@pytest.fixture
def german() -> Iterator[None]:
    use("de")
    yield
    use("en")


def crossed(error: MailkeepError) -> MailkeepError:
    """The error on the other side."""
    return error_of(failure_of(error))


@pytest.mark.parametrize(
    "error",
    [
        KeyringError(NOT_RIGHT),
        ConflictError(TAKEN, address="a@example.com", name="{braces} and %"),
        QueryError("There is no field “x”.", 4),
        UsageError("100 % of {nothing} is known here."),
        MailkeepError(""),
    ],
)
def test_an_error_arrives_as_it_was_raised(error: MailkeepError) -> None:
    there = crossed(error)
    assert (type(there), there.message, str(there)) == (type(error), error.message, error.message)
    assert getattr(there, "position", None) == getattr(error, "position", None)
    assert failure_of(there) == failure_of(error), "and can be handed on"


def test_every_error_arrives_as_its_kind() -> None:
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, MailkeepError) and kind not in (QueryError, ThrottledError):
            assert type(crossed(kind("What happened."))) is kind
    assert type(crossed(ThrottledError("It asks for patience.", 60.0))) is UnavailableError


def test_a_sentence_is_read_in_the_language_in_use(german: None) -> None:
    assert crossed(KeyringError(NOT_RIGHT)).message == language._(NOT_RIGHT) != NOT_RIGHT
    there = crossed(ConflictError(TAKEN, address="a@example.com", name="Board"))
    assert "a@example.com" in there.message and "Board" in there.message
    assert there.message != TAKEN.format(address="a@example.com", name="Board")
    assert failure_of(there).message == TAKEN.format(address="a@example.com", name="Board"), "handed on in English"


def test_what_has_no_translation_stays_english(german: None) -> None:
    assert crossed(UsageError("That is none of its sentences.")).message == "That is none of its sentences."
    assert crossed(MailkeepError("")).message == ""


def test_what_an_archive_of_another_version_sends_is_shown_as_it_came(german: None) -> None:
    unknown = Failure(
        "usage", "Of another version: 3.", text="Of another version: {count.real}.", fields={"count": "3"}
    )
    other = Failure("conflict", "There is a mailbox already: Board.", text=TAKEN, fields={"mailbox": "Board"})
    for sent in (unknown, other):
        assert error_of(sent).message == sent.message


def test_the_words_of_work_that_failed_are_its_errors(german: None) -> None:
    failure = failure_of(ConflictError(TAKEN, address="a@example.com", name="Board"))
    assert words_of(failure.message, failure) == error_of(failure).message
    assert words_of(NOT_RIGHT, None) == language._(NOT_RIGHT)
    assert words_of("", None) == ""
