"""An independent reader of mailkeep's files, written from docs/format.md alone. It imports nothing of mailkeep.

As a program it opens every byte of a data folder's keyring, volumes, seals and search index and every value of its
databases, and fails at the first one that the document does not account for::

    python tests/reference_reader.py DATA --keyfile FILE | --passphrase TEXT | --recovery-key TEXT
        [--mailbox-secret TEXT]…

A sealed mailbox opens to its password or to one of its tokens only.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import hmac
import json
import re
import shutil
import sqlite3
import struct
import sys
import tempfile
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

import google_crc32c
import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id


class FormatError(Exception):
    """Bytes that the document does not explain."""


def need(condition: object, what: str) -> None:
    if not condition:
        raise FormatError(what)


def hkdf(key: bytes, salt: bytes, info: bytes) -> bytes:
    secret = hmac.new(salt or bytes(32), key, hashlib.sha256).digest()
    return hmac.new(secret, info + b"\x01", hashlib.sha256).digest()


def crc(data: bytes) -> bytes:
    return google_crc32c.value(data).to_bytes(4, "big")


# -- Merkle trees (format.md, "Merkle trees"; RFC 6962 section 2.1, written as the RFC words it) ---------------------


def tree_hash(entries: list[bytes]) -> bytes:
    if not entries:
        return hashlib.sha256(b"").digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\x00" + entries[0]).digest()
    split = 1
    while split * 2 < len(entries):
        split *= 2
    return hashlib.sha256(b"\x01" + tree_hash(entries[:split]) + tree_hash(entries[split:])).digest()


# -- keyring.json ----------------------------------------------------------------------------------------------------

KEY_INFO = b"mailkeep key v1\x00"
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def recovery_secret(text: str) -> bytes:
    number = 0
    for character in text.replace("-", ""):
        number = number * 32 + CROCKFORD.index(character)
    data = number.to_bytes(25, "big")
    need(hashlib.sha256(b"mailkeep recovery key v1" + data[:22]).digest()[:3] == data[22:], "recovery key checksum")
    return data[:22]


def slow_hash(secret: bytes, salt: bytes, cost: dict) -> bytes:
    return Argon2id(
        salt=salt, length=32, iterations=cost["passes"], lanes=cost["lanes"], memory_cost=cost["memory"]
    ).derive(secret)


def unwrap(key: bytes, wrapped: str, aad: bytes) -> bytes:
    data = base64.b64decode(wrapped, validate=True)
    return AESGCM(key).decrypt(data[:12], data[12:], KEY_INFO + aad)


def keyring_of(raw: bytes) -> tuple[dict, bytes, bytes]:
    """The member ``keyring``, the archive's id, the MAC."""
    stored = json.loads(raw)
    need(list(stored) == ["keyring", "mac", "recovery_mac"], "keyring.json has other members")
    keyring = stored["keyring"]
    members = ["version", "archive", "slots", "verify_key", "signing_key", "base", "mailboxes"]
    need(list(keyring) in (members, [name for name in members if name != "base"]), "keyring has other members")
    need(keyring["version"] == 1, "keyring version")
    for slot in keyring["slots"]:
        need(set(slot) <= {"kind", "salt", "wrapped", "created", "argon2", "name"}, "slot has other members")
    for keys in keyring["mailboxes"].values():
        need(set(keys) <= {"public", "private", "content", "created", "password", "tokens"}, "mailbox's members")
        need(("private" in keys) == ("content" in keys), "a half sealed mailbox")
        need(len(base64.b64decode(keys["public"])) == 1216, "public key")
    return keyring, bytes.fromhex(keyring["archive"].replace("-", "")), base64.b64decode(stored["mac"])


def mailbox_private(raw: bytes, mailbox: bytes, secret: str) -> bytes:
    """A mailbox's private key by its password or token; the appliance key is not needed."""
    keyring, archive, _ = keyring_of(raw)
    keys = keyring["mailboxes"][mailbox.hex()]
    token = re.fullmatch(r"mkp_([0-9a-f]{32})([0-9a-f]{8})([0-9a-f]{64})", secret)
    if token:
        need(token[1] == mailbox.hex(), "another mailbox's token")
        (wrap,) = [one for one in keys["tokens"] if base64.b64decode(one["salt"])[:4].hex() == token[2]]
        salt, what, key = base64.b64decode(wrap["salt"]), b"mailbox token", bytes.fromhex(token[3])
    else:
        wrap, what = keys["password"], b"mailbox password"
        salt = base64.b64decode(wrap["salt"])
        plain = re.sub(r"[- \t\r\n]", "", secret.upper()).replace("O", "0").replace("I", "1").replace("L", "1")
        if re.fullmatch(f"[{CROCKFORD}]{{20}}", plain):
            secret = "-".join(plain[at : at + 4] for at in range(0, 20, 4))
        key = slow_hash(unicodedata.normalize("NFC", secret).encode(), salt, wrap["argon2"])
    return unwrap(hkdf(key, salt, KEY_INFO + what), wrap["wrapped"], archive + what + mailbox)


def read_keyring(raw: bytes, kind: str, secret: bytes) -> dict:
    """Open keyring.json by one slot; ``secret`` is what the slot's kind asks for, as bytes."""
    keyring, archive, mac = keyring_of(raw)
    slot = next(slot for slot in keyring["slots"] if slot["kind"] == kind)
    salt = base64.b64decode(slot["salt"])
    if "argon2" in slot:
        secret = slow_hash(secret, salt, slot["argon2"])
    appliance_key = unwrap(hkdf(secret, salt, KEY_INFO + b"slot"), slot["wrapped"], archive + kind.encode())
    mac_key = hkdf(appliance_key, b"", KEY_INFO + b"keyring")
    compact = json.dumps(keyring, separators=(",", ":"), ensure_ascii=False).encode()
    need(hmac.new(mac_key, compact, hashlib.sha256).digest() == mac, "keyring's MAC")
    recovery = {**keyring, "slots": [slot for slot in keyring["slots"] if slot["kind"] == "recovery"]}
    compact = json.dumps(recovery, separators=(",", ":"), ensure_ascii=False).encode()
    recovery_mac = base64.b64decode(json.loads(raw)["recovery_mac"])
    need(hmac.new(mac_key, compact, hashlib.sha256).digest() == recovery_mac, "keyring's MAC with its recovery key")
    wrapping = hkdf(appliance_key, b"", KEY_INFO + b"wrap")
    signing = unwrap(wrapping, keyring["signing_key"], archive + b"signing")
    need(len(signing) == 32, "signing key")
    base = unwrap(wrapping, keyring["base"], archive + b"base") if "base" in keyring else appliance_key
    need(len(base) == 32, "base of the purposes' keys")
    mailboxes = {}
    for name, keys in keyring["mailboxes"].items():
        if "private" in keys:
            identity = bytes.fromhex(name)
            need(len(unwrap(wrapping, keys["content"], archive + b"mailbox content" + identity)) == 32, "content key")
            mailboxes[identity] = unwrap(wrapping, keys["private"], archive + b"mailbox private" + identity)
    return {
        "archive": archive,
        "verify_key": base64.b64decode(keyring["verify_key"]),
        "base": base,
        "mailboxes": mailboxes,
    }


# -- volumes ---------------------------------------------------------------------------------------------------------

SUITE = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


def read_header(data: bytes, private: bytes) -> dict:
    need(len(data) >= 1280, "volume shorter than its header")
    magic, version, volume_id, mailbox, writer, sequence, created, previous, size = struct.unpack(
        ">8sH16s16s16sQQ32sH", data[:108]
    )
    need(magic == b"\x89MKV\r\n\x1a\n" and version == 1 and size == 1168, "volume magic, version or key size")
    need(crc(data[:1276]) == data[1276:1280], "header CRC")
    key = hpke.MLKEM768X25519PrivateKey(
        MLKEM768PrivateKey.from_seed_bytes(private[:64]), X25519PrivateKey.from_private_bytes(private[64:])
    )
    return {
        "volume_id": volume_id,
        "mailbox": mailbox,
        "writer": writer.rstrip(b"\x00").decode("ascii"),
        "sequence": sequence,
        "created": created,
        "previous": previous,
        "key": SUITE.decrypt(data[108:1276], key, b"mailkeep volume key v1\x00" + data[:108]),
    }


def read_record(
    data: bytes, start: int, header: dict, *, types: range = range(1, 5), dictionary: bytes | None = None
) -> tuple[dict, int]:
    """The record at ``start`` and where it ends."""
    clear = data[start : start + 68]
    magic, kind, flags, reserved, record_id, salt, time = struct.unpack(">4sBBH16s32sQ", clear[:64])
    need(magic == b"\xabMKR" and crc(clear[:64]) == clear[64:], f"record header at {start}")
    need(kind in types and reserved == 0, f"record type at {start}")
    need(flags == (1 if dictionary is None or kind != 7 else 3), f"record flags at {start}")
    cipher = AESGCM(hkdf(header["key"], salt, header["volume_id"] + record_id))
    plaintext, offset, number, last = b"", start + 68, 0, False
    while not last:
        (length,) = struct.unpack(">I", data[offset : offset + 4])
        last, length = bool(length >> 31), length & 0x7FFFFFFF
        need(16 <= length <= 1048576 + 16, f"frame length at {offset}")
        nonce, sealed = data[offset + 4 : offset + 16], data[offset + 16 : offset + 16 + length]
        plaintext += cipher.decrypt(nonce, sealed, clear + struct.pack(">IB", number, last))
        offset += 16 + length
        number += 1
    leaf, length = struct.unpack(">32sQ", data[offset : offset + 40])
    end = offset + 44
    need(length == end - start and crc(data[start : end - 4]) == data[end - 4 : end], f"trailer at {offset}")
    original_length, frames = struct.unpack(">QI", plaintext[-12:])
    need(frames == number, f"frame count at {start}")
    commitment_salt = plaintext[:32]
    (size,) = struct.unpack(">I", plaintext[32:36])
    provenance, compressed = plaintext[36 : 36 + size], plaintext[36 + size : -12]
    given = zstandard.ZstdCompressionDict(dictionary, dict_type=zstandard.DICT_TYPE_RAWCONTENT) if flags & 2 else None
    decompressor = zstandard.ZstdDecompressor(dict_data=given).decompressobj()
    original = decompressor.decompress(compressed)
    need(decompressor.eof and not decompressor.unused_data, f"compressed original at {start}")
    need(len(original) == original_length, f"length of the original at {start}")
    need(hashlib.sha256(commitment_salt + original).digest() == leaf, f"leaf at {start}")
    record = {
        "offset": start, "length": length, "type": kind, "record_id": record_id, "time": time, "leaf": leaf,
        "provenance": provenance, "salt": commitment_salt, "original": original,
    }  # fmt: skip
    return record, end


def read_volume(data: bytes, private: bytes, *, may_be_torn: bool = False) -> dict:
    """A whole volume, every byte explained. ``may_be_torn``: an unclosed end that fits nothing is given as ``torn``."""
    header = read_header(data, private)
    records, batches, offset, closed, torn = [], 0, 1280, False, 0
    try:
        while offset < len(data):
            magic = data[offset : offset + 4]
            if magic == b"\xabMKB":
                batch, durable = struct.unpack(">QQ", data[offset + 4 : offset + 20])
                need(crc(data[offset : offset + 20]) == data[offset + 20 : offset + 24], f"marker CRC at {offset}")
                need(batch == batches + 1 and durable == offset, f"marker at {offset}")
                batches, offset = batch, offset + 24
            elif magic == b"\xabMKX":
                read_footer(data, offset, records)
                closed, offset = True, len(data)
            else:
                need(batches, f"a record outside a batch at {offset}")
                record, offset = read_record(data, offset, header)
                records.append(record)
    except (FormatError, struct.error) as error:
        if not may_be_torn:
            raise FormatError(str(error)) from error
        torn = len(data) - offset
    return {**header, "records": records, "closed": closed, "torn": torn, "end": offset}


def read_footer(data: bytes, offset: int, records: list[dict]) -> None:
    (count,) = struct.unpack(">I", data[offset + 4 : offset + 8])
    need(len(data) == offset + 8 + 73 * count + 80, "footer size")
    need(data[-4:] == b"\xabMKE" and crc(data[offset:-8]) == data[-8:-4], "footer CRC")
    entries = [struct.unpack(">QQB16sQ32s", data[at : at + 73]) for at in range(offset + 8, len(data) - 80, 73)]
    need(
        entries == [(r["offset"], r["length"], r["type"], r["record_id"], r["time"], r["leaf"]) for r in records],
        "record index",
    )
    leaf_root, cipher_root, logical_end = struct.unpack(">32s32sQ", data[-80:-8])
    need(logical_end == offset, "logical end")
    need((leaf_root, cipher_root) == roots(data, records), "Merkle roots")


def roots(data: bytes, records: list[dict]) -> tuple[bytes, bytes]:
    """Leaf root and ciphertext root."""
    return (
        tree_hash([struct.pack(">B16sQ32s", r["type"], r["record_id"], r["time"], r["leaf"]) for r in records]),
        tree_hash([data[r["offset"] : r["offset"] + r["length"]] for r in records]),
    )


# -- archive volumes (format.md, "Archive volumes") ------------------------------------------------------------------


class MessagePack:
    """As much of MessagePack as the format uses."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, size: int) -> bytes:
        need(self.at + size <= len(self.data), "MessagePack is cut short")
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def value(self) -> object:
        first = self.number(1)
        if first < 0x80:
            return first
        if first < 0x90:
            return self.map(first & 15)
        if first < 0xA0:
            return [self.value() for _ in range(first & 15)]
        if first < 0xC0:
            return self.take(first & 31).decode()
        if first in (0xC2, 0xC3):
            return first == 0xC3
        if first >= 0xE0:
            return first - 256
        if 0xD0 <= first < 0xD4:
            return int.from_bytes(self.take(1 << (first - 0xD0)), "big", signed=True)
        for base, width in ((0xC4, 3), (0xCC, 4), (0xD9, 3), (0xDC, 2), (0xDE, 2)):
            if base <= first < base + width:
                size = 1 << (first - base + (base in (0xDC, 0xDE)))
                count = self.number(size)
                if base == 0xC4:
                    return self.take(count)
                if base == 0xCC:
                    return count
                if base == 0xD9:
                    return self.take(count).decode()
                return [self.value() for _ in range(count)] if base == 0xDC else self.map(count)
        raise FormatError(f"MessagePack type {first:#x}")

    def map(self, count: int) -> dict:
        return {self.value(): self.value() for _ in range(count)}


def unpack(data: bytes) -> object:
    reader = MessagePack(data)
    value = reader.value()
    need(reader.at == len(data), "bytes after MessagePack")
    return value


def decompress(data: bytes) -> bytes:
    decompressor = zstandard.ZstdDecompressor().decompressobj()
    plain = decompressor.decompress(data)
    need(decompressor.eof and not decompressor.unused_data, "a Zstandard frame of the directory")
    return plain


COLUMNS = {"offsets": 8, "lengths": 8, "types": 1, "ids": 16, "times": 8, "leaves": 32, "places": 8, "members": 8}


def read_directory(data: bytes) -> dict:
    """Contents and entries of an archive volume's directory."""
    need(len(data) > 1280 + 16 and data[-4:] == b"\xabMKZ" and crc(data[-16:-8]) == data[-8:-4], "closing bytes")
    start = int.from_bytes(data[-16:-8], "big")
    body = data[start:-16]
    magic, first, second = struct.unpack(">4sII", body[:12])
    need(magic == b"\xabMKD" and len(body) == 12 + first + second + 4, "directory's lengths")
    need(crc(body[:-4]) == body[-4:], "directory CRC")
    contents = unpack(decompress(body[12 : 12 + first]))
    columns = unpack(decompress(body[12 + first : -4]))
    need(set(contents) == {"replaces", "part_list"} and set(columns) == set(COLUMNS), "directory's members")
    count = sum(one["records"] for one in contents["replaces"])
    for name, size in COLUMNS.items():
        need(len(columns[name]) == size * count, f"column {name}")
        columns[name] = [columns[name][at : at + size] for at in range(0, size * count, size)]
        if name not in ("ids", "leaves"):
            columns[name] = [int.from_bytes(one, "big") for one in columns[name]]
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in zip(*(columns[name] for name in COLUMNS), strict=True)]
    for one in contents["replaces"]:
        one["rows"], rows = rows[: one["records"]], rows[one["records"] :]
        for row in one["rows"]:
            row.update(type=row["types"], record_id=row["ids"], time=row["times"], leaf=row["leaves"])
        leaves = [struct.pack(">B16sQ32s", r["type"], r["record_id"], r["time"], r["leaf"]) for r in one["rows"]]
        need(tree_hash(leaves) == one["leaf_root"], f"leaves of {one['volume']}")
    return {**contents, "offset": start}


def read_archive(data: bytes, private: bytes, *, kind: str) -> dict:
    """An archive volume with all records that stand in it; what they are made into is for ``originals``."""
    header, directory = read_header(data, private), read_directory(data)
    records, offset, dictionary = [], 1280, None
    while offset < directory["offset"]:
        types = range(5, 9) if kind == "c0" else range(1, 5)
        record, offset = read_record(data[: directory["offset"]], offset, header, types=types, dictionary=dictionary)
        if record["type"] == 5:
            need(not records, "a dictionary that is not the first record")
            dictionary = record["original"]
        records.append(record)
    return {**header, **directory, "records": records, "closed": True, "torn": 0, "end": directory["offset"]}


def originals(archives: dict[int, dict], volume: dict, kind: str) -> dict[tuple[str, int], bytes]:
    """The original of each record that an archive volume stands for, by its volume's path and its offset there.

    ``archives``: the ``c0`` archive volumes of the mailbox by their sequence.
    """
    found, used = {}, set()
    at = {record["offset"]: record for record in volume["records"]}
    for one in volume["replaces"]:
        for row in one["rows"]:
            if row["places"] == 0:
                need(kind == "d0", "a tombstone in a compacted volume")
                continue
            record = at[row["places"]]
            used.add(row["places"])
            if kind == "d0":
                need((record["record_id"], record["leaf"]) == (row["record_id"], row["leaf"]), "a copied record")
                original = record["original"]
            else:
                need(record["type"] == 7, "a place that is no group")
                original = member(archives, record["original"], row["members"], row["leaf"])
            found[one["volume"], row["offsets"]] = original
    need(used == {r["offset"] for r in volume["records"] if kind == "d0" or r["type"] == 7}, "a record in no directory")
    return found


def member(archives: dict[int, dict], group: bytes, number: int, leaf: bytes) -> bytes:
    length = int.from_bytes(group[:4], "big")
    table = unpack(group[4 : 4 + length])
    need(4 + length + sum(one[3] for one in table) == len(group), "group length")
    salt, _provenance, size, text_length, runs = table[number]
    start = 4 + length + sum(one[3] for one in table[:number])
    text, original, done = group[start : start + text_length], b"", 0
    for where, width, crlf, parts in runs:
        data = b"".join(part(archives, sequence, offset) for sequence, offset in parts)
        encoded = base64.b64encode(data)
        lines = [encoded[at : at + width] for at in range(0, len(encoded), width)]
        original += text[done:where] + (b"\r\n" if crlf else b"\n").join(lines)
        done = where
    original += text[done:]
    need(len(original) == size and hashlib.sha256(salt + original).digest() == leaf, "a member's leaf")
    return original


def part(archives: dict[int, dict], sequence: int, offset: int) -> bytes:
    record = next(one for one in archives[sequence]["records"] if one["offset"] == offset)
    need(record["type"] == 6 and len(record["original"]) <= 786432, "a part")
    return record["original"]


# -- seals -----------------------------------------------------------------------------------------------------------


def read_seal(raw: bytes, verify_key: bytes) -> dict:
    need(raw.count(b"\n") == 2 and raw.endswith(b"\n"), "a seal has two lines")
    line, signature = raw.splitlines()
    Ed25519PublicKey.from_public_bytes(verify_key).verify(
        base64.b64decode(signature, validate=True), b"mailkeep seal v1\x00" + line
    )
    seal = json.loads(line)
    need(seal["version"] == 1, "seal version")
    for name in ("previous", "volume_id", "header_hash", "file_hash", "leaf_root", "cipher_root"):
        seal[name] = base64.b64decode(seal[name], validate=True)
    return seal


def check_seal(seal: dict, path: str, data: bytes, volume: dict) -> None:
    need(seal["volume"] == path, "seal's volume")
    need(seal["volume_id"] == volume["volume_id"], "seal's volume id")
    need(seal["size"] == len(data) and seal["file_hash"] == hashlib.sha256(data).digest(), "seal's file hash")
    need(seal["header_hash"] == hashlib.sha256(data[:1280]).digest(), "seal's header hash")
    need(seal["closed"] == volume["closed"] and seal["records"] == len(volume["records"]), "seal's count")
    need((seal["leaf_root"], seal["cipher_root"]) == roots(data, volume["records"]), "seal's roots")
    need(len(seal.get("replaces", ())) == len(volume.get("replaces", ())), "what the seal replaces")
    for said, one in zip(seal.get("replaces", ()), volume.get("replaces", ()), strict=True):
        need(
            (said["volume"], said["number"], base64.b64decode(said["header_hash"]), base64.b64decode(said["leaf_root"]))
            == (one["volume"], one["number"], hashlib.sha256(one["header"]).digest(), one["leaf_root"]),
            "a volume that the seal replaces",
        )


# -- files that are being imported ------------------------------------------------------------------------------------


def read_scratch(path: Path, sealing: bytes) -> bytes:
    """What has arrived of a file; ``sealing`` is the key that seals ``collecting/told``."""
    cipher = AESGCM(hkdf(sealing, b"", b"mailkeep collector v1\x00scratch " + path.name.encode()))
    sealed, frame = path.read_bytes(), 12 + 65536 + 16
    frames = [sealed[start : start + frame] for start in range(0, len(sealed), frame)]
    return b"".join(cipher.decrypt(one[:12], one[12:], number.to_bytes(8, "big")) for number, one in enumerate(frames))


# -- databases --------------------------------------------------------------------------------------------------------

READABLE = {
    "settings.db": {
        "position": {"head", "volume"}, "user": {"id", "state", "origin"}, "address": {"user_id", "lookup"},
        "grant": {"user_id", "role", "granted_by"}, "grant_request": {"id", "user_id", "role", "asked_by"},
        "invitation": {"code_hash", "user_id"}, "access": {"user_id", "archive", "opened_by"},
        "mailbox": {"id", "address", "state", "unknown", "networks", "aliases", "catch_all"},
        "door": {"address", "mailbox"}, "erased": {"record", "mailbox"}, "timestamping": set(),
        "certificate": set(), "watch": {"mailbox", "rule"}, "notifying": set(), "metrics_token": {"token_hash"},
        "directory": {"name"}, "link": {"directory", "lookup", "user_id"}, "profile": {"name"},
        "remote": {"name"}, "replication": set(), "gateway": {"hostname"}, "import_folder": set(),
        "hold": {"id", "archive"}, "audit": {"by", "action"}, "session": {"token_hash", "user_id"},
    },
    "catalogue.db": {
        "meta": {"key"}, "volume": {"path"}, "message": {"id"}, "record": {"id", "mailbox", "content"},
        "ownership": {"archive"}, "participation": {"address", "domain"},
        "folder": {"id", "archive", "role", "path"}, "place": {"record"},  # paths are for ``read_folders``
    },
}  # fmt: skip
"""What of each table is text or bytes and not encrypted; numbers are readable everywhere."""


def purpose_key(keyring: dict, name: str) -> bytes:
    return hkdf(keyring["base"], b"", KEY_INFO + b"purpose " + name.encode())


@contextlib.contextmanager
def database_at(path: Path) -> Iterator[sqlite3.Connection]:
    """A copy of a database with its write-ahead log."""
    with tempfile.TemporaryDirectory() as folder:
        for file in path.parent.glob(path.name + "*"):
            if not file.name.endswith("-shm"):
                shutil.copy(file, folder)
        with contextlib.closing(sqlite3.connect(Path(folder) / path.name)) as database:
            yield database


def read_database(path: Path, keyring: dict) -> int:
    """The number of values that are encrypted; each of them opens."""
    cipher, opened = AESGCM(purpose_key(keyring, "settings")), 0
    readable = READABLE[path.name] | {"alembic_version": {"version_num"}}
    with database_at(path) as database:
        tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        need(set(tables) == set(readable), f"{path.name}: tables {sorted(set(tables) ^ set(readable))}")
        for table in tables:
            rows = database.execute(f'SELECT * FROM "{table}"')
            columns = [one[0] for one in rows.description]
            for column, value in (pair for row in rows for pair in zip(columns, row, strict=True)):
                if value is None or isinstance(value, int) or column in readable[table]:
                    continue
                need(isinstance(value, bytes), f"{path.name}: {table}.{column} is readable")
                cipher.decrypt(value[:12], value[12:], b"").decode()
                opened += 1
    return opened


def catalogue_numbers(path: Path) -> dict[str, int]:
    with database_at(path) as database:
        return dict(database.execute("SELECT key, value FROM meta"))


def read_folders(path: Path, keyring: dict, log: list[dict] | None) -> int:
    """The number of places, each of which the log has, where all of it is here; every folder's path opens, and its id
    is made of it."""
    cipher, hashing = AESGCM(purpose_key(keyring, "catalogue-folders")), purpose_key(keyring, "catalogue-lookup")
    with database_at(path) as database:
        folders = {n: row for n, *row in database.execute("SELECT n, id, archive, parent, path FROM folder")}
        lain = "SELECT place.record, folder.id FROM place JOIN folder ON folder.n = place.folder"
        places = set(database.execute(lain))
    paths = {n: unpack(cipher.decrypt(sealed[:12], sealed[12:], own)) for n, (own, _, _, sealed) in folders.items()}
    used = set()
    for n, (own, archive, parent, _) in folders.items():
        need(own == folder_id(hashing, archive, paths[n]), f"folder {n}: id")
        need((paths[parent] if parent else []) == paths[n][:-1] if len(paths[n]) > 1 else parent is None, f"folder {n}")
        used.add(parent)
    if log is not None:
        said = {(one["record"], folder_id(hashing, one["archive"], shallow(one["folder"]))) for one in log}
        need(places <= said, "a place that the log has not")
    filled = {folder for _, folder in places}
    need(all(row[0] in filled or n in used for n, row in folders.items()), "a folder without anything in it")
    return len(places)


def shallow(path: list[str]) -> list[str]:
    return path if len(path) <= 32 else [*path[:31], "/".join(path[31:])]


def folder_id(key: bytes, archive: str, path: list[str]) -> bytes:
    names = [one.encode() for one in (archive, *path)]
    told = b"folder\x00" + b"".join(len(one).to_bytes(4, "big") + one for one in names)
    return hmac.new(key, told, hashlib.sha256).digest()[:16]


# -- the search index -------------------------------------------------------------------------------------------------

TANTIVY_FILE = re.compile(r"[0-9a-f]{32}\.(idx|pos|term|store|fast|fieldnorm|\d+\.del)")


def read_projection(folder: Path, keyring: dict, log: list[dict] | None) -> int:
    """One generation; the number of documents in its index. ``log`` are the places that the log has."""
    read_database(folder / "catalogue.db", keyring)
    read_folders(folder / "catalogue.db", keyring, log)
    numbers = catalogue_numbers(folder / "catalogue.db")
    documents = 0
    for shard in sorted((folder / "index").iterdir()) if (folder / "index").exists() else ():
        if shard.name == "writer.lock":
            need(not shard.read_bytes(), "writer.lock is empty")
            continue
        need(re.fullmatch(r"\d{5}", shard.name), f"{shard}: no file of the format")
        documents += read_shard(shard, keyring, numbers)
    return documents


def read_shard(shard: Path, keyring: dict, numbers: dict[str, int]) -> int:
    place = numbers["identity"].to_bytes(8, "big") + int(shard.name).to_bytes(4, "big")
    key = purpose_key(keyring, "index")
    manifest = unpack(read_sealed((shard / "manifest").read_bytes(), key, place + b"manifest"))
    version, mark, sequence, documents, oldest, newest, archives, meta, packs, threads = manifest
    need(version == 2 and re.fullmatch(r"[0-9a-f]{32}", mark), "manifest's version or mark")
    need(sequence <= numbers["change"] and oldest <= newest and len(threads) % 4 == 0, "manifest's numbers")
    need(all(isinstance(one, str) for one in archives), "manifest's archives")
    segments = {one["segment_id"].replace("-", "") for one in json.loads(meta)["segments"]}
    need({name for name, _, _ in packs} | {"manifest"} == {one.name for one in shard.iterdir()}, f"packs of {shard}")
    held = set()
    for name, size, files in packs:
        raw = (shard / name).read_bytes()
        need(len(raw) == size, f"size of {name}")
        plain = read_sealed(raw, key, place + name.encode())
        need(len(plain) == sum(length for _, length in files), f"contents of {name}")
        need(all(TANTIVY_FILE.fullmatch(file) for file, _ in files), f"files in {name}")
        held |= {file.split(".")[0] for file, _ in files}
    need(segments <= held, "a segment without files")
    return documents


def read_sealed(data: bytes, key: bytes, place: bytes) -> bytes:
    cipher = AESGCM(hkdf(key, data[:32], b"mailkeep index v1\x00" + place))
    plain, at, number = [], 32, 0
    while at < len(data) or not number:
        length = int.from_bytes(data[at : at + 4], "big")
        frame, at = data[at + 4 : at + 4 + length], at + 4 + length
        need(at <= len(data), "a frame is cut short")
        aad = number.to_bytes(8, "big") + bytes([at == len(data)])
        plain.append(decompress(cipher.decrypt(number.to_bytes(12, "big"), frame, aad)))
        need(len(plain[-1]) == 2**20 or (at == len(data) and len(plain[-1]) <= 2**20), "a block's size")
        number += 1
    return b"".join(plain)


# -- a whole data folder ---------------------------------------------------------------------------------------------


def read_folder(data: Path, kind: str, secret: bytes, mailbox_secrets: Sequence[str] = ()) -> dict:
    """Open every byte of the keyring, the volumes, the seals and the search index below a data folder, and every value
    of its databases.

    ``mailbox_secrets`` are passwords or tokens, each tried at each sealed mailbox.
    """
    raw = (data / "keyring.json").read_bytes()
    keyring = read_keyring(raw, kind, secret)
    for name in keyring_of(raw)[0]["mailboxes"]:
        for own in mailbox_secrets if bytes.fromhex(name) not in keyring["mailboxes"] else ():
            with contextlib.suppress(InvalidTag, FormatError):
                keyring["mailboxes"][bytes.fromhex(name)] = mailbox_private(raw, bytes.fromhex(name), own)
    places: list[dict] = []
    found = read_volumes(data / "volumes", keyring, places)
    if (data / "settings.db").exists():
        found["settings"] = read_database(data / "settings.db", keyring)
    if (data / "projections").exists():
        generations = sorted((data / "projections").glob("[0-9]*"))
        elsewhere = (data / "volumes" / "absent").exists()
        log = None if elsewhere else places
        found["documents"] = sum(read_projection(folder, keyring, log) for folder in generations)
    return found


IMPORTS = (1).to_bytes(16, "big")
PLACE = {
    "record": bytes, "archive": str, "folder": list, "role": str, "profile": str, "account": str, "item": str,
    "flags": list, "at": int,
}  # fmt: skip


def read_places(original: bytes) -> list[dict]:
    places = unpack(original)
    need(isinstance(places, list) and places, "an array of places")
    for place in places:
        need(isinstance(place, dict) and set(place) == set(PLACE), "members of a place")
        need(all(isinstance(place[name], kind) for name, kind in PLACE.items()), "values of a place")
        need(len(place["record"]) == 16, "the record of a place")
        need(all(isinstance(one, str) for one in (*place["folder"], *place["flags"])), "texts of a place")
    return places


def read_volumes(folder: Path, keyring: dict, places: list[dict] | None = None) -> dict:
    """Open every byte of the volumes, archive volumes and seals below ``folder``. ``places`` gets those that are told
    of fetched mail."""
    volumes, seals, covered, absent = {}, [], 0, {}
    for path in sorted(folder.rglob("*")):
        if path.is_dir() or path.suffix == ".new":
            continue
        name = path.relative_to(folder).as_posix()
        if name == "absent":
            listed = [json.loads(line) for line in path.read_text().splitlines()]
            absent = {one["path"]: (one["size"], bytes.fromhex(one["hash"])) for one in listed}
            continue
        found = re.fullmatch(r"([0-9a-f]{32})/([a-z][a-z0-9]{0,15})-(\d{8})\.(mkv|mka|seal)", name)
        need(found, f"{name}: no file of the format")
        need((found[2] in ("c0", "d0")) >= (found[4] == "mka"), f"{name}: no name of an archive volume")
        raw = path.read_bytes()
        if found[4] == "seal":
            seals.append((name, raw))
            continue
        private = keyring["mailboxes"].get(bytes.fromhex(found[1]))
        need(private, f"{name}: no key opens its mailbox")
        if found[4] == "mka":
            volume = read_archive(raw, private, kind=found[2])
            own = volume["replaces"][0]["volume"] if found[2] == "d0" else name.replace(".mka", ".mkv")
        else:
            volume, own = read_volume(raw, private, may_be_torn=True), name
        named = f"{volume['mailbox'].hex()}/{volume['writer']}-{volume['sequence']:08d}.mkv"
        need(named == own, f"{name}: header of another volume")
        need(not (volume["closed"] and volume["torn"]), f"{name}: bytes after the footer")
        volumes[name] = raw, volume
        covered += len(raw) - volume["torn"]
    read = [(read_seal(raw, keyring["verify_key"]), raw) for _, raw in seals]
    for (name, _), (seal, _) in zip(seals, read, strict=True):
        need(seal["volume"].rsplit(".", 1)[0] == name.removesuffix(".seal"), f"{name}: seal of another volume")
    read.sort(key=lambda one: one[0]["number"])
    previous, standing = bytes(32), {}
    for number, (seal, raw) in enumerate(read, start=1):
        need((seal["number"], seal["previous"]) == (number, previous), f"seal {number}: chain")
        need(bytes.fromhex(seal["archive"].replace("-", "")) == keyring["archive"], f"seal {number}: archive")
        standing.update((one["volume"], seal["volume"]) for one in seal.get("replaces", ()))
        previous = hashlib.sha256(raw).digest()
    by_path = {seal["volume"]: seal for seal, _ in read}
    away: dict[str, bytes] = {}
    for seal, _ in read:
        path = seal["volume"]
        if path in standing:
            need(path not in volumes, f"{path}: replaced, and still there")
        elif "replaces" in seal and path not in standing.values():
            need(path not in volumes, f"{path}: replaced by another archive volume, and still there")
        else:
            if path in absent and path not in volumes:
                need(absent[path] == (seal["size"], seal["file_hash"]), f"{path}: elsewhere, but another file")
                replaced = {one["volume"]: base64.b64decode(one["header_hash"]) for one in seal.get("replaces", ())}
                away.update(replaced or {path: seal["header_hash"]})
                continue
            need(path in volumes, f"{path}: missing")
            check_seal(seal, path, *volumes[path])
    need(all(name in by_path for name in volumes if name.endswith(".mka")), "an archive volume without a seal")
    found, types = {}, {}
    for name, (_, volume) in volumes.items():
        if name.endswith(".mkv"):
            found.update({(name, record["offset"]): record["original"] for record in volume["records"]})
            types.update({(name, record["offset"]): record["type"] for record in volume["records"]})
            continue
        mailbox, kind = name[:33], name[33:35]
        compacted = {one["sequence"]: one for path, (_, one) in volumes.items() if path.startswith(f"{mailbox}c0-")}
        for one in volume["replaces"]:
            own = by_path[one["volume"]]
            need(
                (own["number"], own["header_hash"], own["size"], own["closed"], own["logical_end"], own["leaf_root"],
                 [list(gap) for gap in own["gaps"]], own["records"])
                == (one["number"], hashlib.sha256(one["header"]).digest(), one["size"], one["closed"],
                    one["logical_end"], one["leaf_root"], one["gaps"], one["records"]),
                f"{name}: what it says of {one['volume']}",
            )  # fmt: skip
        found.update(originals(compacted, volume, kind))
        types.update({(one["volume"], r["offsets"]): r["type"] for one in volume["replaces"] for r in one["rows"]})
    check_headers(volumes, away)
    if places is not None:
        fetched = (one for one in sorted(found) if types[one] == 4 and one[0].startswith(IMPORTS.hex()))
        places.extend(place for one in fetched for place in read_places(found[one]))
    torn = sum(volume["torn"] for _, volume in volumes.values())
    return {
        "volumes": len(volumes), "records": len(found), "seals": len(read), "bytes": covered, "torn": torn,
        "digest": hashlib.sha256(b"".join(hashlib.sha256(found[one]).digest() for one in sorted(found))).hexdigest(),
    }  # fmt: skip


def check_headers(volumes: dict, away: dict[str, bytes]) -> None:
    """Each writer's headers are chained, whether their volumes are there, replaced, or elsewhere with this hash."""
    headers = {name: raw[:1280] for name, (raw, _) in volumes.items() if name.endswith(".mkv")}
    for _, volume in volumes.values():
        headers.update({one["volume"]: one["header"] for one in volume.get("replaces", ())})
    heads: dict[str, tuple[int, bytes]] = {}
    for name in sorted({**away, **headers}):
        writer, sequence = name[:-4].rsplit("-", 1)
        before = heads.get(writer, (0, bytes(32)))
        link = headers[name][74:106] if name in headers else before[1]
        need((int(sequence) - 1, link) == before, f"{name}: header chain")
        heads[writer] = int(sequence), hashlib.sha256(headers[name]).digest() if name in headers else away[name]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    way = parser.add_mutually_exclusive_group(required=True)
    way.add_argument("--keyfile", type=Path)
    way.add_argument("--passphrase")
    way.add_argument("--recovery-key")
    parser.add_argument("--mailbox-secret", action="append", default=[])
    given = parser.parse_args()
    if given.keyfile is not None:
        kind, secret = "keyfile", bytes.fromhex(given.keyfile.read_text().strip())
    elif given.passphrase is not None:
        kind, secret = "passphrase", given.passphrase.encode()
    else:
        kind, secret = "recovery", recovery_secret(given.recovery_key)
    print(json.dumps(read_folder(given.data, kind, secret, given.mailbox_secret)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
