"""Folders as mail programs lay them out on a disk become the folders that people know."""

from __future__ import annotations

import pytest

from appliance.imports import placing


@pytest.mark.parametrize(
    ("path", "folder", "role"),
    [
        ("a.eml", (), ""),
        ("Projects/2024/a.eml", ("Projects", "2024"), ""),
        ("export/Projects/a.eml", ("Projects",), ""),
        ("export/Sent/a.eml", ("Sent",), "sent"),
        ("Projects\\2024\\a.eml", ("Projects", "2024"), ""),
        ("Maildir/cur/1700000000.M1.host:2,S", ("INBOX",), "inbox"),
        ("cur/1700000000.M1.host:2,S", ("INBOX",), "inbox"),
        ("anna/Maildir/new/1700000000.M1.host", ("anna", "INBOX"), "inbox"),
        ("Maildir/.Sent/cur/1700000000.M1.host;2,S", ("Sent",), "sent"),
        ("Maildir/.Entw&APw-rfe.Alt/cur/1", ("Entwürfe", "Alt"), ""),
        ("Maildir/.Entwürfe/cur/1", ("Entwürfe",), "drafts"),
        ("anna/.Sent.2024/cur/1", ("anna", "Sent", "2024"), ""),
        ("Mail/Inbox/cur/1700000000.eml", ("Mail", "Inbox"), "inbox"),
        ("V10/0A1B2C3D-0000-1111-2222-0A1B2C3D4E5F/INBOX.mbox/0A1B2C3D-0000-1111-2222-0A1B2C3D4E5F/Data/3/1/Messages/1.emlx",
         ("INBOX",), "inbox"),
        ("INBOX.mbox/Work.mbox/Messages/1.emlx", ("INBOX", "Work"), ""),
    ],
)  # fmt: skip
def test_the_folder_of_a_message(path: str, folder: tuple[str, ...], role: str) -> None:
    place = placing.placed(placing.names(path), "export.zip")
    assert (place.layout in ("message", "emlx"), place.folder, place.role) == (True, folder, role)


@pytest.mark.parametrize(
    ("path", "folder"),
    [
        ("Inbox", ("Inbox",)),
        ("Inbox.sbd/Work.sbd/2024", ("Inbox", "Work", "2024")),
        ("ab12cd34.default-release/Mail/Local Folders/Inbox.sbd/Work", ("Local Folders", "Inbox", "Work")),
        ("ab12cd34.default/ImapMail/imap.example.org/INBOX", ("imap.example.org", "INBOX")),
        ("old/anna.pst", ("old", "anna")),
        ("Takeout/Mail/All mail Including Spam and Trash.mbox", ("All mail Including Spam and Trash",)),
        ("Work.mbox/mbox", ("Work",)),
        ("mails/2024.mbox.gz", ("mails", "2024")),
    ],
)
def test_the_folder_of_a_file_with_many_messages(path: str, folder: tuple[str, ...]) -> None:
    place = placing.placed(placing.names(path), "export.tar.gz")
    assert (place.layout, placing.container(place)) == ("", folder)


@pytest.mark.parametrize(
    "path",
    ["Inbox.msf", ".DS_Store", "__MACOSX/a/._b.eml", "Maildir/dovecot.index.log", "Maildir/maildirfolder",
     "x/msgFilterRules.dat", "Maildir/.Sent/maildirfolder", "a.plist", "Takeout/archive_browser.html"],
)  # fmt: skip
def test_what_is_kept_beside_mail_is_no_mail(path: str) -> None:
    assert placing.placed(placing.names(path), "x.zip").layout == "furniture"


def test_an_unfinished_delivery_is_none() -> None:
    assert placing.placed(placing.names("Maildir/tmp/1700000000.M1.host"), "x.tar").layout == "unfinished"


def test_a_maildirs_name_says_flags_and_time() -> None:
    place = placing.placed(placing.names("Maildir/cur/1700000000.M1P2.host,S=12:2,DFPRSTax"), "x.tar")
    assert set(place.flags) == {"draft", "flagged", "forwarded", "answered", "seen", "deleted"}
    assert place.received == 1_700_000_000_000_000


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", "..\\..\\etc\\passwd", "./a/../etc/./passwd"])
def test_names_are_words_and_lead_nowhere(path: str) -> None:
    assert placing.names(path)[-2:] == ("etc", "passwd")
    assert not set(placing.names(path)) & {"..", ".", ""}


def test_names_are_bounded_and_clean() -> None:
    found = placing.names("a" * 10_000 + "/" + "x/" * 1000 + "b\0c\n\udcff")
    assert len(found) <= 60
    assert max(map(len, found)) <= 255
    assert found[-1] == "b\ufffdc\ufffd\ufffd"
