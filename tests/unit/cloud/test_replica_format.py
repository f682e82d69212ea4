"""A replica is read by what docs/format.md says, with nothing of the product: no name of a key, no structure."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import struct
from pathlib import Path
from typing import Any

import msgspec
import zstandard
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from appliance.cloud.manifests import generation_names, raise_epoch
from tests import reference_reader
from tests.replica_box import ReplicaBox

INFO = b"mailkeep replica v1\x00"


def hkdf(key: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(hashes.SHA256(), 32, salt, info).derive(key)


def unsealed(sealed: bytes, replica: bytes, place: str) -> bytes:
    cipher = AESGCM(hkdf(replica, sealed[:32], INFO + place.encode()))
    offset, number, blocks = 32, 0, []
    while offset < len(sealed):
        (length,) = struct.unpack_from(">I", sealed, offset)
        frame = sealed[offset + 4 : offset + 4 + length]
        offset += 4 + length
        aad = struct.pack(">QB", number, offset == len(sealed))
        plain = cipher.decrypt(number.to_bytes(12, "big"), frame, aad)
        blocks.append(zstandard.ZstdDecompressor().decompress(plain, max_output_size=2**20))
        number += 1
    return b"".join(blocks)


def cut(remote: Path, place: list[Any]) -> bytes:
    path, size, digest, name, offset, _records = place
    data = (remote / name).read_bytes()[offset : offset + size]
    assert hashlib.sha256(data).digest() == digest, path
    return data


def test_the_document_alone_opens_a_replica(tmp_path: Path) -> None:
    box = ReplicaBox(tmp_path)
    box.write_settings("anna")
    box.write_projections(7)
    (box.data / "tls").mkdir()
    (box.data / "tls" / "key.pem").write_bytes(b"a key")
    refs = box.receive(b"one", b"two")
    box.run()
    box.sign()
    box.erase(refs[0].record_id)
    box.run(force_snapshot=True)
    epoch, number = generation_names(box.remote)[0]
    remote = box.remote.folder

    # Everything from here on is by the text.
    name = f"generations/{epoch:04d}-{number:010d}"
    keyrings = [path.read_bytes() for path in (remote / "keyrings").iterdir()]
    keyring = reference_reader.read_keyring(keyrings[0], "recovery", reference_reader.recovery_secret(box.recovery_key))
    document = json.loads(keyrings[0])
    assert document["mac"] == document["recovery_mac"]
    assert {slot["kind"] for slot in document["keyring"]["slots"]} == {"recovery"}
    archive = bytes.fromhex(document["keyring"]["archive"].replace("-", ""))
    service = reference_reader.hkdf(keyring["base"], b"", b"mailkeep key v1\x00purpose service")
    replica = reference_reader.hkdf(service, b"", INFO + archive)
    manifest = msgspec.msgpack.decode(unsealed((remote / name).read_bytes(), replica, "manifest" + name))
    assert (manifest["version"], manifest["epoch"], manifest["number"]) == (1, epoch, number)
    assert manifest["archive"] == document["keyring"]["archive"] and manifest["at"] == box.now
    inventory = msgspec.msgpack.decode(unsealed((remote / manifest["inventory"]).read_bytes(), replica, "inventory"))
    assert inventory["version"] == 1
    places = {place[0]: place for place in inventory["files"]}
    for path in manifest["removed"]:
        places.pop(path, None)
    places.update({place[0]: place for place in manifest["added"]})
    data = tmp_path / "data-again"
    for path, place in places.items():
        (data / path).parent.mkdir(parents=True, exist_ok=True)
        (data / path).write_bytes(cut(remote, place))
    (data / "keyring.json").write_bytes(keyrings[0])
    found = reference_reader.read_folder(data, "recovery", reference_reader.recovery_secret(box.recovery_key))
    assert (found["records"], found["seals"]) == (1, 2)
    seals = {
        json.loads((data / path).read_bytes().splitlines()[0])["number"]: path for path in places if "seal" in path
    }
    newest = (data / seals[manifest["chain_number"]]).read_bytes()
    assert manifest["chain_number"] == max(seals) and manifest["chain_head"] == hashlib.sha256(newest).digest()
    assert manifest["records"] == sum(
        place[5] for path, place in places.items() if path.endswith(".seal") and "/g0-" in path
    )
    box_files = msgspec.msgpack.decode(unsealed(cut(remote, manifest["box"]), replica, "box"))
    assert box_files["files"] == {"tls/key.pem": b"a key"}
    (tmp_path / "s.db").write_bytes(unsealed(cut(remote, manifest["settings"]), replica, "settings"))
    assert sqlite3.connect(tmp_path / "s.db").execute("SELECT text FROM value").fetchall() == [("anna",)]
    snapshot = manifest["snapshot"]
    files = {place[0]: place for place in snapshot["files"]}
    catalogue = files.pop(f"projections/{snapshot['generation']}/catalogue.db")
    (tmp_path / "c.db").write_bytes(unsealed(cut(remote, catalogue), replica, "catalogue"))
    change = sqlite3.connect(tmp_path / "c.db").execute("SELECT value FROM meta WHERE key = 'change'").fetchone()
    assert change == (snapshot["change"],) == (7,)
    for path, place in files.items():
        assert cut(remote, place) == (box.data / path).read_bytes()

    raise_epoch(box.remote, box.keys, tmp_path, now=box.now)
    mark = msgspec.msgpack.decode(unsealed((remote / "epochs" / "0002").read_bytes(), replica, "manifestepochs/0002"))
    assert mark == {"version": 1, "archive": manifest["archive"], "epoch": 2, "at": box.now}
