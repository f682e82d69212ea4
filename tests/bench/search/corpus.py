"""The list corpus as documents, and queries as people put them."""

from __future__ import annotations

import os
import random
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from appliance.index.schema import Document
from appliance.mail import message, words

REPOSITORY = Path(__file__).parents[3]
ARCHIVES = 20


def corpora() -> Path:
    """The folder of shared mail; SystemExit where it is absent."""
    folder = Path(os.environ.get("MAILKEEP_CORPORA", REPOSITORY.parent / "shared" / "corpora"))
    if not (folder / "list-mail-15k.tar.xz").exists():
        raise SystemExit(f"{folder} holds no list-mail-15k.tar.xz; set MAILKEEP_CORPORA to the corpora's folder.")
    return folder


def raw_messages(limit: int) -> Iterator[bytes]:
    """The first ``limit`` messages of the list corpus, oldest first."""
    with tarfile.open(corpora() / "list-mail-15k.tar.xz", "r:xz") as archive:
        for member in archive:
            stored = archive.extractfile(member) if member.isfile() else None
            if stored is None:
                continue
            if limit <= 0:
                return
            limit -= 1
            yield stored.read()


def document(number: int, raw: bytes) -> Document:
    """A message as the projection would put it, owned by one or two of ``ARCHIVES`` people."""
    facts = message.read(raw)
    owners = {f"archive{number % ARCHIVES}", f"archive{number // 7 % ARCHIVES}"}
    return Document(
        id=f"{number:032x}",
        archives=tuple(sorted(owners)),
        from_=facts.from_,
        to=facts.to,
        cc=facts.cc,
        subject=facts.subject,
        body=facts.text,
        attachments=tuple((attachment.name, attachment.text) for attachment in facts.attachments),
        date=facts.date or 0,
        received=facts.date or 0,
        size=facts.size,
        message_id=facts.message_id,
        references=facts.references,
    )


def queries(documents: list[Document], count: int, *, seed: int = 1) -> list[str]:
    """``count`` queries: words rare and common, phrases, beginnings, people, dates, sizes, and mixtures."""
    chance = random.Random(seed)
    frequency: Counter[str] = Counter()
    for one in documents:
        frequency.update({token.forms[0] for token in words.tokens(one.body[:5000]) if len(token.forms[0]) > 2})
    ranked = [word for word, _ in frequency.most_common(20_000)]

    def word() -> str:
        return ranked[min(int(chance.paretovariate(0.35)), len(ranked)) - 1]

    def text(one: Document) -> list[str]:
        return one.body.split() or one.subject.split() or ["mail"]

    def phrase() -> str:
        found = text(chance.choice(documents))
        start = chance.randrange(len(found))
        return '"' + " ".join(found[start : start + 3]).replace('"', " ").replace("“", " ") + '"'

    def person() -> str:
        return (chance.choice([one for one in documents if one.from_]).from_[0]).address or "list@example.com"

    kinds = {
        lambda: word(): 18,
        lambda: f"{word()} {word()}": 16,
        lambda: f"{word()} OR {word()}": 8,
        lambda: f"{word()} -{word()}": 6,
        lambda: f"{word()[:4]}*": 8,
        lambda: f"{word()[:2]}*": 3,
        phrase: 8,
        lambda: f"from:{person()}": 7,
        lambda: f"from:{person().partition('@')[2]} {word()}": 5,
        lambda: f"participant:{person().partition('@')[0]}": 4,
        lambda: f"subject:{word()} body:{word()}": 4,
        lambda: f"subject:({word()} OR {word()}) after:2010": 3,
        lambda: f"{word()} after:2005 before:2020-06 larger:2k": 4,
        lambda: f"has:attachment {word()}": 2,
        lambda: "*": 2,
        lambda: f"bcc:{word()}": 2,
    }
    return [chance.choices(list(kinds), list(kinds.values()))[0]() for _ in range(count)]
