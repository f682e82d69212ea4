"""An independent reader of mailkeep's files, written from docs/format.md alone. It imports nothing of mailkeep.

As a program it opens every byte of a data folder's keyring, volumes and seals, and fails at the first one that the
document does not account for::

    python tests/reference_reader.py DATA --keyfile FILE | --passphrase TEXT | --recovery-key TEXT
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import json
import re
import struct
import sys
from pathlib import Path

import google_crc32c
import zstandard
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


def read_keyring(raw: bytes, kind: str, secret: bytes) -> dict:
    """Open keyring.json by one slot; ``secret`` is what the slot's kind asks for, as bytes."""
    stored = json.loads(raw)
    need(set(stored) == {"keyring", "mac"}, "keyring.json has other members")
    keyring = stored["keyring"]
    need(
        list(keyring) == ["version", "archive", "slots", "verify_key", "signing_key", "mailboxes"],
        "keyring has other members",
    )
    need(keyring["version"] == 1, "keyring version")
    archive = bytes.fromhex(keyring["archive"].replace("-", ""))

    def unwrap(key: bytes, wrapped: str, aad: bytes) -> bytes:
        data = base64.b64decode(wrapped, validate=True)
        return AESGCM(key).decrypt(data[:12], data[12:], KEY_INFO + archive + aad)

    slot = next(slot for slot in keyring["slots"] if slot["kind"] == kind)
    need(set(slot) <= {"kind", "salt", "wrapped", "created", "argon2"}, "slot has other members")
    salt = base64.b64decode(slot["salt"])
    if "argon2" in slot:
        cost = slot["argon2"]
        secret = Argon2id(
            salt=salt, length=32, iterations=cost["passes"], lanes=cost["lanes"], memory_cost=cost["memory"]
        ).derive(secret)
    appliance_key = unwrap(hkdf(secret, salt, KEY_INFO + b"slot"), slot["wrapped"], kind.encode())
    mac_key = hkdf(appliance_key, b"", KEY_INFO + b"keyring")
    compact = json.dumps(keyring, separators=(",", ":"), ensure_ascii=False).encode()
    need(hmac.new(mac_key, compact, hashlib.sha256).digest() == base64.b64decode(stored["mac"]), "keyring's MAC")
    wrapping = hkdf(appliance_key, b"", KEY_INFO + b"wrap")
    signing = unwrap(wrapping, keyring["signing_key"], b"signing")
    need(len(signing) == 32, "signing key")
    mailboxes = {}
    for name, keys in keyring["mailboxes"].items():
        need(set(keys) == {"public", "private", "content", "created"}, "mailbox has other members")
        identity = bytes.fromhex(name)
        need(len(base64.b64decode(keys["public"])) == 1216, "public key")
        need(len(unwrap(wrapping, keys["content"], b"mailbox content" + identity)) == 32, "content key")
        mailboxes[identity] = unwrap(wrapping, keys["private"], b"mailbox private" + identity)
    return {
        "archive": archive,
        "verify_key": base64.b64decode(keyring["verify_key"]),
        "appliance_key": appliance_key,
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


def read_record(data: bytes, start: int, header: dict) -> tuple[dict, int]:
    """The record at ``start`` and where it ends."""
    clear = data[start : start + 68]
    magic, kind, flags, reserved, record_id, salt, time = struct.unpack(">4sBBH16s32sQ", clear[:64])
    need(magic == b"\xabMKR" and crc(clear[:64]) == clear[64:], f"record header at {start}")
    need(1 <= kind <= 5 and flags == 1 and reserved == 0, f"record type or flags at {start}")
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
    decompressor = zstandard.ZstdDecompressor().decompressobj()
    original = decompressor.decompress(compressed)
    need(decompressor.eof and not decompressor.unused_data, f"compressed original at {start}")
    need(len(original) == original_length, f"length of the original at {start}")
    need(hashlib.sha256(commitment_salt + original).digest() == leaf, f"leaf at {start}")
    record = {
        "offset": start, "length": length, "type": kind, "record_id": record_id, "time": time, "leaf": leaf,
        "provenance": provenance, "original": original,
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


# -- a whole data folder ---------------------------------------------------------------------------------------------


def read_folder(data: Path, kind: str, secret: bytes) -> dict:
    """Open every byte of the keyring, the volumes and the seals below a data folder."""
    keyring = read_keyring((data / "keyring.json").read_bytes(), kind, secret)
    volumes, records, covered, seals = {}, 0, 0, []
    heads: dict[tuple[bytes, str], tuple[int, bytes]] = {}
    for path in sorted((data / "volumes").rglob("*")):
        if path.is_dir() or path.suffix == ".new":
            continue
        name = path.relative_to(data / "volumes").as_posix()
        found = re.fullmatch(r"([0-9a-f]{32})/([a-z][a-z0-9]{0,15})-(\d{8})\.(mkv|seal)", name)
        need(found, f"{name}: no file of the format")
        if found[4] == "seal":
            seals.append((name, path.read_bytes()))
            continue
        raw = path.read_bytes()
        volume = read_volume(raw, keyring["mailboxes"][bytes.fromhex(found[1])], may_be_torn=True)
        need(
            (volume["mailbox"].hex(), volume["writer"], volume["sequence"]) == (found[1], found[2], int(found[3])), name
        )
        before = heads.get((volume["mailbox"], volume["writer"]), (0, bytes(32)))
        need((volume["sequence"] - 1, volume["previous"]) == before, f"{name}: header chain")
        heads[volume["mailbox"], volume["writer"]] = volume["sequence"], hashlib.sha256(raw[:1280]).digest()
        need(not (volume["closed"] and volume["torn"]), f"{name}: bytes after the footer")
        volumes[name] = raw, volume
        records += len(volume["records"])
        covered += len(raw) - volume["torn"]
    read = sorted(((read_seal(raw, keyring["verify_key"]), raw) for _, raw in seals), key=lambda one: one[0]["number"])
    previous = bytes(32)
    for number, (seal, raw) in enumerate(read, start=1):
        need((seal["number"], seal["previous"]) == (number, previous), f"seal {number}: chain")
        need(bytes.fromhex(seal["archive"].replace("-", "")) == keyring["archive"], f"seal {number}: archive")
        check_seal(seal, seal["volume"], *volumes[seal["volume"]])
        previous = hashlib.sha256(raw).digest()
    torn = sum(volume["torn"] for _, volume in volumes.values())
    return {"volumes": len(volumes), "records": records, "seals": len(read), "bytes": covered, "torn": torn}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    way = parser.add_mutually_exclusive_group(required=True)
    way.add_argument("--keyfile", type=Path)
    way.add_argument("--passphrase")
    way.add_argument("--recovery-key")
    given = parser.parse_args()
    if given.keyfile is not None:
        kind, secret = "keyfile", bytes.fromhex(given.keyfile.read_text().strip())
    elif given.passphrase is not None:
        kind, secret = "passphrase", given.passphrase.encode()
    else:
        kind, secret = "recovery", recovery_secret(given.recovery_key)
    print(json.dumps(read_folder(given.data, kind, secret)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
