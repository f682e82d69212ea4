"""The whole product under mail: how soon searchable, how much memory. Run: ``python -m tests.bench.product``.

Two parts. *Steady*: 100 messages a second for half a minute, each with a word of its own; for a sample of them the
time from the 250 until a search finds it. *Many*: short messages as fast as the gateway takes them; then the sum of
the proportional set sizes (PSS) of all processes, once all of them are searchable.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from appliance.services import api
from tests.product import JOURNAL, Product

MIB = 1024 * 1024


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=100)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--messages", type=int, default=100_000)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        product = Product.create(Path(folder) / "data")
        with product.serving():
            print(f"memory at start: {memory(product):.0f} MiB")
            _steady(product, chosen.rate, chosen.seconds)
            _many(product, chosen.messages)
            print(f"memory after {chosen.messages} messages: {memory(product):.0f} MiB")


def memory(product: Product) -> float:
    """The sum of the proportional set sizes of all processes, MiB. Nothing lies on a tmpfs."""
    total = 0
    for pids in product.processes().values():
        for pid in pids:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def _steady(product: Product, rate: int, seconds: int) -> None:
    delays = asyncio.run(_sampled(product, rate, seconds))
    delays.sort()
    print(
        f"searchable after, at {rate} msg/s for {seconds} s ({len(delays)} samples): "
        f"median {statistics.median(delays):.2f} s, p95 {delays[int(len(delays) * 0.95)]:.2f} s, max {delays[-1]:.2f} s"
    )


async def _sampled(product: Product, rate: int, seconds: int) -> list[float]:
    accepted: dict[str, float] = {}
    looking = asyncio.create_task(asyncio.to_thread(_look, product, accepted, rate * seconds))
    sender = await _Sender.connect(product.smtp)
    start = time.monotonic()
    for number in range(rate * seconds):
        await asyncio.sleep(max(start + number / rate - time.monotonic(), 0))
        word = f"needle{number}"
        await sender.send(_mail(number, word))
        accepted[word] = time.monotonic()
    delays = await looking
    await sender.quit()
    return delays


def _look(product: Product, accepted: dict[str, float], count: int) -> list[float]:
    """Ask for one in every 50 messages until it is there."""
    delays = []
    for number in range(0, count, 50):
        word = f"needle{number}"
        while word not in accepted:
            time.sleep(0.01)
        while not product.call("local_search", api.SearchPage, query=word, limit=1).total:
            time.sleep(0.05)
        delays.append(time.monotonic() - accepted[word])
    return delays


def _many(product: Product, count: int) -> None:
    start = time.monotonic()
    asyncio.run(_flood(product, count))
    taken = time.monotonic() - start
    product.run("wait-idle", "--timeout", "3600")
    found = time.monotonic() - start
    print(f"{count} messages: {count / taken:.0f} msg/s acknowledged, {count / found:.0f} msg/s until all searchable")


async def _flood(product: Product, count: int, connections: int = 10) -> None:
    numbers = iter(range(1_000_000, 1_000_000 + count))

    async def one() -> None:
        sender = await _Sender.connect(product.smtp)
        for number in numbers:
            await sender.send(_mail(number, f"flood{number % 5000} tag{number % 97}"))
        await sender.quit()

    await asyncio.gather(*(one() for _ in range(connections)))


def _mail(number: int, words: str) -> bytes:
    return (
        f"From: Sender {number % 300} <sender{number % 300}@example.com>\r\nTo: receiver{number % 200}@example.com\r\n"
        f"Subject: Message {number}\r\nDate: Fri, 20 Nov 2026 08:15:03 +0000\r\n"
        f"Message-ID: <{number}@bench.example>\r\n"
        f"\r\nSome words that many mails have in common, and {words}.\r\n" + "The same line again and again.\r\n" * 20
    ).encode()


class _Sender:
    """A connection that stays open."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def connect(cls, port: int) -> _Sender:
        sender = cls(*await asyncio.open_connection("127.0.0.1", port))
        await sender._reply()
        await sender._say(b"EHLO bench.example\r\n")
        return sender

    async def send(self, mail: bytes) -> None:
        await self._say(b"MAIL FROM:<>\r\n")
        await self._say(f"RCPT TO:<{JOURNAL}>\r\n".encode())
        answer = await self._say(f"BDAT {len(mail)} LAST\r\n".encode() + mail)
        assert answer.startswith(b"250"), answer

    async def quit(self) -> None:
        await self._say(b"QUIT\r\n")
        self._writer.close()

    async def _say(self, line: bytes) -> bytes:
        self._writer.write(line)
        return await self._reply()

    async def _reply(self) -> bytes:
        while (line := await self._reader.readline())[3:4] == b"-":
            pass
        return line


if __name__ == "__main__":
    main()
