"""``python load.py SECONDS CLIENTS ADDRESS``: mail for a while, a connection a message; JSON about it on the way out.

With 0 seconds it goes on until standard input ends. Run inside the network of a machine, so it imports nothing of
the project.
"""

import json
import smtplib
import sys
import threading
import time

HOST, PORT = "127.0.0.1", 25
PAUSE = 0.02
"""Seconds between two messages of one client: mail all the time, and time for what is looked at meanwhile."""


def send(enough: threading.Event, client: int, address: str, accepted: list[str], failures: list[str]) -> None:
    """Message after message; what is said after a message's 250 does not count."""
    number = 0
    while not enough.is_set():
        number += 1
        name = f"{client}.{number}@load.example"
        text = (
            f"Message-ID: <{name}>\r\nSubject: load {client} {number}\r\nFrom: a@load.example\r\n\r\nhello {number}\r\n"
        )
        try:
            session = smtplib.SMTP(HOST, PORT, timeout=60)
            session.sendmail("a@load.example", [address], text)
            accepted.append(name)
            session.close()
        except (OSError, smtplib.SMTPException) as error:
            failures.append(f"{type(error).__name__}: {error}")
        enough.wait(PAUSE)


def main() -> None:
    """Send, then say how it went."""
    seconds, clients, address = float(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    accepted: list[str] = []
    failures: list[str] = []
    enough = threading.Event()
    threads = [
        threading.Thread(target=send, args=(enough, client, address, accepted, failures)) for client in range(clients)
    ]
    for thread in threads:
        thread.start()
    if seconds:
        time.sleep(seconds)
    else:
        sys.stdin.read()
    enough.set()
    for thread in threads:
        thread.join()
    print(json.dumps({"accepted": accepted, "failures": failures}))


if __name__ == "__main__":
    main()
