#!/usr/bin/env python3
"""Check a proof that mailkeep made, without mailkeep and without trusting it.

    python3 verify_proof.py PROOF MESSAGE --key KEY [--tsa-ca FILE] [--received FILE]

PROOF is the file that `mailkeep proof ID` wrote, MESSAGE the message (an .eml file as it was exported, bit for bit).
KEY is the archive's public key, from a source that you trust: 64 hexadecimal digits, base64, a file that holds either,
or a copy of the archive's keyring.json. With --tsa-ca, a file of PEM certificates, the timestamp is checked by
`openssl ts -verify`; without it the time it names is printed as a claim. --received writes the bytes as the archive
received them: for a message that came in a journal report, the whole report.

Exit code 0: proven. 1: not proven, and the last line says what does not fit. 2: it could not be checked.

Needs Python 3.9 or later and the package `cryptography`. Written from docs/format.md alone, section "Proofs".
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import json
import re
import subprocess
import sys
import tempfile
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

FORMAT = "mailkeep proof v1"
SIGNED_PREFIX = b"mailkeep seal v1\x00"
EPOCH = datetime(1970, 1, 1)  # every time here is UTC

OID_SIGNED_DATA = bytes.fromhex("2a864886f70d010702")
OID_TST_INFO = bytes.fromhex("2a864886f70d0109100104")
OID_SHA256 = bytes.fromhex("608648016503040201")


class RefusedError(Exception):
    """The proof does not prove it; the text says what does not fit."""


class UnusableError(Exception):
    """It cannot be checked: a file cannot be read, or no key was given."""


def main() -> int:
    parser = argparse.ArgumentParser(description="Check a proof that mailkeep made.")
    parser.add_argument("proof", type=Path)
    parser.add_argument("message", type=Path)
    parser.add_argument("--key", required=True, help="the archive's public key: hex, base64, or a file")
    parser.add_argument("--tsa-ca", type=Path, help="certificates of the time-stamping authority (PEM)")
    parser.add_argument("--received", type=Path, help="write what the archive received to this file")
    arguments = parser.parse_args()
    try:
        key = read_key(arguments.key)
        proof, message = read(arguments.proof), read(arguments.message)
        if arguments.tsa_ca is not None:
            read(arguments.tsa_ca)
        lines, received = check(proof, message, key, arguments.tsa_ca)
        if arguments.received is not None:
            arguments.received.write_bytes(received)
    except RefusedError as refused:
        print("NOT PROVEN: " + str(refused))
        return 1
    except (UnusableError, OSError) as error:
        print("It could not be checked: " + str(error), file=sys.stderr)
        return 2
    print("\n".join(lines))
    return 0


def check(raw: bytes, message: bytes, key: bytes, tsa_ca: Path | None) -> tuple[list[str], bytes]:
    """What is proven, in lines, and what the archive received. Raises RefusedError where anything does not fit."""
    proof = parse(raw)
    if proof["key"] != hashlib.sha256(key).hexdigest():
        raise RefusedError("the proof was made with another key than the one that you gave.")
    received = received_bytes(proof["enclosed"], message)
    record = proof["record"]
    commitment = hashlib.sha256(proof["salt"] + received).digest()
    if commitment != record["commitment"]:
        raise RefusedError("the message is not the one that was archived, or it was altered.")
    entry = bytes([record["type"]]) + bytes.fromhex(record["id"]) + record["time"].to_bytes(8, "big") + commitment
    seals = [check_seal(line, signature, key) for line, signature in proof["seals"]]
    check_volume(proof, seals[0], entry)
    check_chain(proof, seals)
    lines = [
        "PROVEN: this message is in the archive, unaltered.",
        f"Archive    {proof['archive']}, key with the SHA-256 {proof['key']}",
        f"Message    {len(message):,} bytes, SHA-256 {hashlib.sha256(message).hexdigest()}",
        "Received   " + how_received(proof["enclosed"], len(received)),
        f"Record     {record['id']}, written {moment(record['time'])} by the archive's clock",
        f"Volume     {proof['volume']}, record {proof['index'] + 1} of {proof['records']}",
        f"Signed     {moment(seals[0]['sealed_at'])} by the archive's clock, as seal {seals[0]['number']}",
    ]
    if len(seals) > 1:
        last = seals[-1]
        lines.append(f"Chained    to seal {last['number']}, signed {moment(last['sealed_at'])} by the archive's clock")
    file_hash = seal_hash(*proof["seals"][-1])
    lines.append(f"Newest     seal in this proof: {seals[-1]['number']}, SHA-256 of its file {file_hash.hex()}")
    lines.append("Timestamp  " + timestamp_line(proof["timestamp"], seals, file_hash, tsa_ca))
    return lines, received


# -- the proof file -------------------------------------------------------------------------------------------


def parse(raw: bytes) -> dict:
    """The proof's members, checked for form, byte strings decoded."""
    try:
        data = json.loads(raw.decode("utf-8"), object_pairs_hook=members, parse_constant=no_number)
    except (ValueError, RecursionError) as error:
        raise RefusedError(f"the proof file is damaged: it is no JSON as mailkeep writes it ({error}).") from error
    names = ("proof", "archive", "key", "record", "volume", "index", "records", "salt", "enclosed", "path", "seals",
             "timestamp")  # fmt: skip
    proof = exactly(data, "the proof", *names)
    if proof["proof"] != FORMAT:
        raise RefusedError(f"this is no {FORMAT}.")
    record = exactly(proof["record"], "record", "id", "type", "time", "commitment")
    record["id"] = text(record["id"], "the record's id", r"[0-9a-f]{32}")
    record["type"] = number(record["type"], "the record's type", 255)
    record["time"] = number(record["time"], "the record's time", 2**64 - 1)
    record["commitment"] = octets(record["commitment"], "the commitment", 32)
    text(proof["archive"], "the archive's id", r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
    text(proof["key"], "the key's hash", r"[0-9a-f]{64}")
    text(proof["volume"], "the volume's path", r"[0-9a-f]{32}/[a-z][a-z0-9]{0,15}-[0-9]{8}\.mkv")
    proof["records"] = number(proof["records"], "the number of records", 2**32 - 1)
    proof["index"] = number(proof["index"], "the record's place", 2**32 - 1)
    proof["salt"] = octets(proof["salt"], "the salt", 32)
    proof["path"] = [octets(one, "the Merkle path", 32) for one in array(proof["path"], "the Merkle path")]
    proof["seals"] = [seal_lines(one) for one in array(proof["seals"], "the seals")]
    if not proof["seals"]:
        raise RefusedError("the proof holds no seal.")
    if proof["enclosed"] is not None:
        enclosed = exactly(proof["enclosed"], "enclosed", "before", "after")
        proof["enclosed"] = {name: octets(value, "what was round the message") for name, value in enclosed.items()}
    if proof["timestamp"] is not None:
        stamp = exactly(proof["timestamp"], "timestamp", "seal", "response")
        stamp["seal"] = number(stamp["seal"], "the timestamp's seal", 2**64 - 1)
        stamp["response"] = octets(stamp["response"], "the timestamp")
    return proof


def seal_lines(value: object) -> tuple[str, str]:
    lines = array(value, "a seal")
    if len(lines) != 2 or not all(isinstance(line, str) and "\n" not in line for line in lines):
        raise RefusedError("a seal in the proof does not consist of two lines.")
    return lines[0], lines[1]


def members(pairs: list) -> dict:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member is given twice")
    return found


def no_number(name: str) -> None:
    raise ValueError(f"{name} is no number")


def exactly(value: object, what: str, *names: str) -> dict:
    if not isinstance(value, dict) or set(value) != set(names):
        raise RefusedError(f"the proof file is damaged: {what} does not have the members that belong there.")
    return value


def array(value: object, what: str) -> list:
    if not isinstance(value, list):
        raise RefusedError(f"the proof file is damaged: {what} is no list.")
    return value


def number(value: object, what: str, largest: int) -> int:
    if type(value) is not int or not 0 <= value <= largest:
        raise RefusedError(f"the proof file is damaged: {what} is no number that it can be.")
    return value


def text(value: object, what: str, form: str) -> str:
    if not isinstance(value, str) or not re.fullmatch(form, value):
        raise RefusedError(f"the proof file is damaged: {what} is not written as it must be.")
    return value


def octets(value: object, what: str, size: int | None = None) -> bytes:
    """Base64, only in the one way in which it is written."""
    try:
        decoded = base64.b64decode(value, validate=True) if isinstance(value, str) else b""
    except (binascii.Error, ValueError):
        decoded = b""
    if base64.b64encode(decoded).decode() != value or (size is not None and len(decoded) != size):
        raise RefusedError(f"the proof file is damaged: {what} is not written as it must be.")
    return decoded


# -- the message and the record -------------------------------------------------------------------------------


def received_bytes(enclosed: dict | None, message: bytes) -> bytes:
    """What the archive received: the message, or the journal report round it."""
    if enclosed is None:
        return message
    before, after = enclosed["before"], enclosed["after"]
    if not encloses(before, message, after):
        raise RefusedError("the proof's bytes round the message are no journal report that encloses it, and only it.")
    return before + message + after


def encloses(before: bytes, message: bytes, after: bytes) -> bool:
    """Whether this is a journal report with the message as its second part, and not some slice of a mail."""
    head = re.sub(rb"\n[ \t]+", b" ", before.replace(b"\r\n", b"\n").partition(b"\n\n")[0])
    boundary = re.search(rb"(?im)^content-type:.*?boundary=(?:\"([^\"\n]+)\"|([^\s;\"]+))", head)
    if boundary is None or not re.search(rb"(?im)^x-(?:ms|wm)-journal-report[ \t]*:", head):
        return False
    delimiter = rb"(?:^|\n)--" + re.escape(boundary[1] or boundary[2])
    parts = re.split(delimiter, before)
    part = re.sub(rb"\n[ \t]+", b" ", parts[-1].replace(b"\r\n", b"\n"))
    return (
        len(parts) == 3
        and re.search(delimiter, message) is None
        and (after == b"" or re.match(rb"\r?" + delimiter, after) is not None)
        and re.fullmatch(
            rb"(?is)[ ]*\n(?:[^\n]+\n)*content-type:[ \t]*message/(?:rfc822|global)\b[^\n]*\n(?:[^\n]+\n)*\n", part
        )
        is not None
    )


def how_received(enclosed: dict | None, size: int) -> str:
    if enclosed is None:
        return "as it is: these bytes and no others"
    return f"enclosed in a journal report of {size:,} bytes; --received writes it to a file"


def merkle_root(entry: bytes, index: int, size: int, path: list) -> bytes:
    """RFC 9162, section 2.1.3.2; the tree is that of RFC 6962, section 2.1."""
    result = hashlib.sha256(b"\x00" + entry).digest()
    node, last = index, size - 1
    for sibling in path:
        if last == 0:
            raise RefusedError("the Merkle path is longer than the volume's tree is high.")
        if node & 1 or node == last:
            result = hashlib.sha256(b"\x01" + sibling + result).digest()
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            result = hashlib.sha256(b"\x01" + result + sibling).digest()
        node, last = node >> 1, last >> 1
    if last != 0:
        raise RefusedError("the Merkle path is shorter than the volume's tree is high.")
    return result


# -- the seals ------------------------------------------------------------------------------------------------


def check_seal(line: str, signature: str, key: bytes) -> dict:
    """The members of a seal that the key signed."""
    signed = SIGNED_PREFIX + line.encode()
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(octets(signature, "a signature", 64), signed)
    except InvalidSignature:
        raise RefusedError("a seal was not signed by the archive's key, or it was altered.") from None
    seal = json.loads(line)
    if seal["version"] != 1:
        raise RefusedError("a seal is of a version that this program does not know.")
    for name in ("previous", "leaf_root"):
        seal[name] = octets(seal[name], f"a seal's {name}", 32)
    return seal


def seal_hash(line: str, signature: str) -> bytes:
    """SHA-256 of the seal's file."""
    return hashlib.sha256(f"{line}\n{signature}\n".encode()).digest()


def check_volume(proof: dict, seal: dict, entry: bytes) -> None:
    """That the first seal attests the volume, and the record in it."""
    if seal["archive"] != proof["archive"]:
        raise RefusedError("the volume's seal belongs to another archive than the proof names.")
    if seal["volume"] != proof["volume"]:
        raise RefusedError("the first seal is that of another volume than the proof names.")
    if seal["records"] != proof["records"] or proof["index"] >= proof["records"]:
        raise RefusedError("the volume does not hold as many records as the proof says.")
    if merkle_root(entry, proof["index"], proof["records"], proof["path"]) != seal["leaf_root"]:
        raise RefusedError("the record is not at that place of the volume: its path does not lead to the signed root.")


def check_chain(proof: dict, seals: list) -> None:
    """That each further seal follows the one before it."""
    for place, seal in enumerate(seals[1:]):
        before = seals[place]
        if seal["archive"] != proof["archive"]:
            raise RefusedError(f"seal {seal['number']} belongs to another archive than the proof names.")
        if seal["number"] != before["number"] + 1 or seal["previous"] != seal_hash(*proof["seals"][place]):
            raise RefusedError(f"seal {seal['number']} does not follow seal {before['number']}: the chain is broken.")


# -- the timestamp --------------------------------------------------------------------------------------------


def timestamp_line(stamp: dict | None, seals: list, file_hash: bytes, tsa_ca: Path | None) -> str:
    if stamp is None:
        if tsa_ca is not None:
            raise RefusedError("there is no timestamp in the proof.")
        return "none: when all this was so rests on the archive's clock and on whoever holds its key"
    if stamp["seal"] != seals[-1]["number"]:
        raise RefusedError("the timestamp is of a seal that is not the last of the proof.")
    imprint, at = read_timestamp(stamp["response"])
    if imprint != file_hash:
        raise RefusedError("the timestamp is of something else than the last seal of the proof.")
    when = f"{at:%Y-%m-%d %H:%M:%S} UTC"
    if tsa_ca is None:
        return f"says {when}, NOT CHECKED: give --tsa-ca to check the authority's signature"
    verify_timestamp(stamp["response"], file_hash, at, tsa_ca)
    return f"{when}, signed by an authority certified in {tsa_ca}: the message was archived before that"


def read_timestamp(response: bytes) -> tuple[bytes, datetime]:
    """The SHA-256 that was stamped and the time, from a TimeStampResp (RFC 3161, section 2.4.2) in DER."""
    try:
        return timestamp_info(response)
    except (IndexError, ValueError) as error:
        raise RefusedError("the timestamp is damaged: it cannot be read as RFC 3161 has it.") from error


def timestamp_info(response: bytes) -> tuple[bytes, datetime]:
    status, token = items(whole(response, 0x30))[:2]
    if items(status[1])[0] not in ((0x02, b"\x00"), (0x02, b"\x01")):
        raise ValueError("not granted")
    kind, signed = items(token[1])
    if kind != (0x06, OID_SIGNED_DATA):
        raise ValueError("no SignedData")
    content = items(items(whole(signed[1], 0x30))[2][1])
    if content[0] != (0x06, OID_TST_INFO):
        raise ValueError("no TSTInfo")
    _, _, imprint, _, at = items(whole(whole(content[1][1], 0x04), 0x30))[:5]
    algorithm, digest = items(imprint[1])
    if items(algorithm[1])[0] != (0x06, OID_SHA256) or digest[0] != 0x04 or at[0] != 0x18:
        raise ValueError("another algorithm")
    seconds, _, fraction = at[1].decode("ascii").removesuffix("Z").partition(".")
    return digest[1], datetime.strptime(seconds, "%Y%m%d%H%M%S") + timedelta(seconds=float(f"0.{fraction or 0}"))


def items(data: bytes) -> list:
    """The elements (tag, content) that a DER content consists of."""
    found, offset = [], 0
    while offset < len(data):
        tag, length, start = data[offset], data[offset + 1], offset + 2
        if length & 0x80:
            start += length & 0x7F
            length = int.from_bytes(data[offset + 2 : start], "big")
        if start + length > len(data):
            raise ValueError("cut short")
        found.append((tag, data[start : start + length]))
        offset = start + length
    return found


def whole(data: bytes, tag: int) -> bytes:
    """The content of the one element that the data is."""
    (found,) = items(data)
    if found[0] != tag:
        raise ValueError("another element")
    return found[1]


def verify_timestamp(response: bytes, imprint: bytes, at: datetime, tsa_ca: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "timestamp.tsr"
        file.write_bytes(response)
        command = ["openssl", "ts", "-verify", "-digest", imprint.hex(), "-in", str(file), "-CAfile", str(tsa_ca)]
        # The authority's certificate must have been valid when it stamped, not today.
        command += ["-attime", str(int((at - EPOCH).total_seconds()))]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise UnusableError(f"openssl, which checks the timestamp, does not run ({error}).") from error
    if done.returncode != 0 or "Verification: OK" not in done.stdout + done.stderr:
        raise RefusedError(f"the timestamp is not one of an authority certified in {tsa_ca}, or it was altered.")


# -- what was given -------------------------------------------------------------------------------------------


def read_key(given: str) -> bytes:
    """The 32 bytes of an Ed25519 public key."""
    if Path(given).is_file():
        content = read(Path(given)).decode("utf-8", "replace")
        try:
            given = json.loads(content)["keyring"]["verify_key"]
        except (ValueError, KeyError, TypeError):
            given = content.strip()
    if re.fullmatch("[0-9a-fA-F]{64}", given):
        return bytes.fromhex(given)
    try:
        key = base64.b64decode(given, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != 32:
        raise UnusableError("--key is neither 64 hexadecimal digits, nor base64 of 32 bytes, nor a file with either.")
    return key


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnusableError(f"{path} cannot be read ({error.strerror}).") from error


def moment(microseconds: int) -> str:
    try:
        return f"{EPOCH + timedelta(microseconds=microseconds):%Y-%m-%d %H:%M:%S} UTC"
    except OverflowError:
        return f"{microseconds} microseconds after 1970"


if __name__ == "__main__":
    sys.exit(main())
