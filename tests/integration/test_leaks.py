"""Nothing on the disk can be read: no word of the mail, no name and no address of a person, whatever the product does.

Readable by design are the addresses of mailboxes and the host name (docs/format.md); the live index is in memory.
"""

from __future__ import annotations

import base64
import gzip
import os
import random
import re
import smtplib
import time
import zlib
from pathlib import Path

import pytest
import zstandard

from appliance.mail import message
from tests.faults.proof import await_idle
from tests.leaks import Words
from tests.product import JOURNAL, ROOT, Product
from tests.scratch import report

pytestmark = pytest.mark.integration

WANTED = 200
MAILS = 120
PEOPLE = (
    ("Wilhelmina Quittenbaum", "w.quittenbaum@plainspoken.example", "mina@plainspoken.example"),
    ("Bartholomäus Krähwinkel", "b.kraehwinkel@plainspoken.example", "barty@plainspoken.example"),
)
SOUGHT = "pumpernickelfabrik"
"""Somebody searches for it: it is in the audit trail."""
FETCHED = ("threadneedlewick", "zwiebelkuchenrezept", "kammerjaegerlehrling")
"""Server, secret and folder of an archiving profile, which the collector is told and tries."""

_WORD = re.compile(r"[A-Za-z]{6,}")


def chosen_words(corpora: Path) -> tuple[list[bytes], set[str]]:
    """Some messages of the corpus, and words of theirs: of texts, subjects, people, attachments' names."""
    random_ = random.Random(4)
    mails = [path.read_bytes() for path in sorted((corpora / "eml").glob("*.eml"))]
    mails = random_.sample([one for one in mails if len(one) < 200_000], MAILS)
    places: list[set[str]] = [set(), set(), set(), set()]
    for raw in mails:
        facts = message.read(raw)
        people = [*facts.from_, *facts.to, *facts.cc]
        for place, texts in zip(
            places,
            (
                [facts.text],
                [facts.subject],
                [text for one in people for text in (one.name, one.address)],
                [one.name for one in facts.attachments],
            ),
            strict=True,
        ):
            place.update(word.lower() for text in texts for word in _WORD.findall(text))
    chosen: set[str] = set()
    for place in reversed(places):  # the places with the fewest words first
        chosen.update(random_.sample(sorted(place), min(len(place), WANTED // 4)))
    rest = sorted(places[0] - chosen)
    chosen.update(random_.sample(rest, WANTED - len(chosen)))
    return mails, chosen


def test_no_word_name_or_address_is_readable_on_the_disk(tmp_path: Path, corpora: Path) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    replica = tmp_path / "replica"
    mails, chosen = chosen_words(corpora)
    product = Product.create(tmp_path / "data", environment={"TMPDIR": str(temporary)})
    # What is there before any mail is of the product itself: names of columns and members, its messages.
    with product.serving():
        with smtplib.SMTP("127.0.0.1", product.smtp) as smtp:
            smtp.sendmail("a@sender.example", [JOURNAL], b"Subject: A\r\n\r\nB\r\n")
        await_idle(product)
        product.run("remote", "add", "cellar", "--type", "local", f"path={replica}")
        product.run("replicate", "--now")
        own = [path.read_bytes() for path in product.data.rglob("*") if path.is_file()]
    own += [path.read_bytes() for path in (product.log, *product.data.rglob("*")) if path.is_file()]
    chosen = {one for one in chosen if not any(one.encode() in content.lower() for content in own)}
    chosen = {one for one in chosen if one not in JOURNAL}
    assert len(chosen) > WANTED * 0.9
    people = {word.lower() for person in PEOPLE for text in person for word in re.findall(r"\w{5,}", text)}
    words = Words({*chosen, *(people - {"example"}), SOUGHT, *FETCHED})
    places = (product.data, product.log, temporary, replica)
    before = set(ROOT.iterdir())
    csv = tmp_path / "people.csv"
    csv.write_text("primary,aliases,name\n" + "".join(f"{one},{other},{name}\n" for name, one, other in PEOPLE))

    product.start()
    try:
        product.run("user", "import", str(csv))
        with smtplib.SMTP("127.0.0.1", product.smtp) as smtp:
            for raw in mails:
                smtp.sendmail(
                    "exchange@sender.example", [JOURNAL], report(raw, f"To: {PEOPLE[0][1]}", sender=PEOPLE[1][1])
                )
        await_idle(product)
        _fail_to_fetch(product)
        assert product.total("*") > MAILS / 2
        assert product.total(SOUGHT) == 0
        found = [word for word in sorted(chosen) if product.total(word)]
        assert len(found) > WANTED / 2, "the words are to be found by searching"
        product.export("*", tmp_path / "export.zip")
        product.run("replicate", "--now")
        time.sleep(4)  # so that the index has been written to the disk meanwhile
        assert any((product.data / "projections").rglob("manifest"))
        assert words.found_below(*places) == {}, "while it runs"
    finally:
        product.kill()
    assert words.found_below(*places) == {}, "after it was killed"
    with product.serving():
        assert product.total("*") > MAILS / 2
    assert words.found_below(*places) == {}, "after it was stopped"
    product.run("rebuild")
    product.run("search", sorted(chosen)[0])
    assert words.found_below(*places) == {}, "after a rebuild"
    left = {path.name for path in set(ROOT.iterdir()) - before}
    assert not [name for name in left if name.startswith(("core", "tmp"))]
    assert not list(tmp_path.rglob("core*"))


def _fail_to_fetch(product: Product) -> None:
    server, secret, folder = FETCHED
    product.attempt(
        "profile", "add", "office", "--kind", "imap", f"host={server}.invalid", f"user={PEOPLE[0][1]}", "password=-",
        "--archive", PEOPLE[1][1], "--include", folder, "--sender", PEOPLE[0][1], said=f"{secret}\n",
    )  # fmt: skip
    assert product.attempt("profile", "run", "office").returncode == 1
    (run,) = product.run("profile", "history", "office")
    assert (run["state"], run["seen"]) == ("failed", 0)


def test_the_search_for_words_finds_them(tmp_path: Path) -> None:
    """Each way in which a word could lie there is met."""
    words = Words({"quittenbaum", "krähwinkel"})
    noise = random.Random(1).randbytes(1000)
    text = "Von Quittenbaum an Krähwinkel".encode()
    ways = {
        "plain": text,
        "capitals": text.upper(),
        "utf-16-le": "Quittenbaum".encode("utf-16-le"),
        "utf-16-be": "Quittenbaum".encode("utf-16-be"),
        **{f"base64 {shift}": base64.b64encode(bytes(shift) + text) for shift in range(3)},
        "zlib": zlib.compress(text),
        "gzip": gzip.compress(text),
        "zstd": zstandard.compress(text),
        "cut zlib": zlib.compress(text + os.urandom(1000))[:200],
    }
    for name, content in ways.items():
        assert words.found_in(noise + content + noise), name
        (tmp_path / name).write_bytes(noise + content)
    assert len(words.found_below(tmp_path)) == len(ways)
    (tmp_path / "quittenbaum.txt").write_bytes(noise)
    assert str(tmp_path / "quittenbaum.txt") in words.found_below(tmp_path)
    assert not words.found_in(noise)
