"""RFC 6962 tree hashes, against the values of Certificate Transparency's reference implementation."""

from __future__ import annotations

import pytest

from appliance.store import merkle

ENTRIES = [bytes.fromhex(text) for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657")]
ENTRIES.append(bytes.fromhex("606162636465666768696a6b6c6d6e6f"))
ROOTS = {  # google/certificate-transparency, merkletree tests
    0: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    4: "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    5: "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    6: "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    7: "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}


def test_roots_are_those_of_certificate_transparency():
    for count, expected in ROOTS.items():
        hashes = [merkle.leaf_hash(entry) for entry in ENTRIES[:count]]
        assert merkle.root(iter(hashes)).hex() == expected, count


PATHS = {  # google/certificate-transparency, merkletree tests: (leaf from 1, size) to the path
    (1, 1): [],
    (1, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (6, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (3, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (2, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}


def test_audit_paths_are_those_of_certificate_transparency() -> None:
    for (leaf, size), expected in PATHS.items():
        hashes = [merkle.leaf_hash(entry) for entry in ENTRIES[:size]]
        assert [one.hex() for one in merkle.path(hashes, leaf - 1)] == expected, (leaf, size)


def test_every_path_leads_its_own_leaf_to_the_root_and_nothing_else() -> None:
    for size in range(1, 40):
        hashes = [merkle.leaf_hash(bytes([number])) for number in range(size)]
        root = merkle.root(hashes)
        for index, leaf in enumerate(hashes):
            path = merkle.path(hashes, index)
            assert merkle.root_of_path(leaf, index, size, path) == root
            assert merkle.root_of_path(merkle.leaf_hash(b"another"), index, size, path) != root
            assert merkle.root_of_path(leaf, index, size, (*path, root)) is None
            assert merkle.root_of_path(leaf, size, size, path) is None
            if path:
                assert merkle.root_of_path(leaf, index, size, path[:-1]) != root
                other = (index + 1) % size
                assert merkle.root_of_path(leaf, other, size, path) != root


def test_a_leaf_that_is_not_there_has_no_path() -> None:
    for index in (-1, 3):
        with pytest.raises(IndexError):
            merkle.path([bytes(32)] * 3, index)
