"""The answer file: whatever is wrong in it is told with its line before anything is done."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from appliance.errors import UsageError
from appliance.services.setup import answers
from appliance.services.setup.answers import SecretFile, parse, secret

ROOT = Path(__file__).resolve().parents[4]


def test_the_example_of_the_manual_is_a_whole_answer_file() -> None:
    examples = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "setup.md").read_text(), re.DOTALL)
    found = parse(examples[0], "docs/setup.md")
    assert found.hostname == "archive.example.com"
    assert found.archive.passphrase == SecretFile("/run/secrets/passphrase")
    assert found.remote is not None
    assert found.remote.options["secret_access_key"] == SecretFile("/run/secrets/s3")
    given = [name for name in found.__struct_fields__ if getattr(found, name) in (None, "")]
    assert given == ["listen"], "an answer that the example does not show"


def test_the_manual_names_every_key() -> None:
    table = (ROOT / "docs" / "setup.md").read_text().split("| key | what it means |")[1].split("\n\n")[0]
    for part in ("network", "time", "archive", "administrator", "certificate", "mailbox", "remote", "listen"):
        kind = getattr(answers, f"{part.capitalize()}Answer", None) or answers.Listen
        lines = [line for line in table.splitlines() if line.startswith(f"| `{part}.")]
        assert lines, part
        for key in kind.__struct_fields__:
            assert any(f"`{key}`" in line or f".{key}`" in line for line in lines), f"{part}.{key}"


def test_the_cloud_config_of_the_manual_has_answers_in_it() -> None:
    text = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "setup.md").read_text(), re.DOTALL)[1]
    content = text.split("content: |\n")[1].split("runcmd:")[0]
    assert parse(content, "user-data").archive.unlocks_itself


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("archive: {passphrase: 1234}\n", "line 1: archive.passphrase: this has to be text"),
        ("archive:\n  passphrase: x\n  colour: red\n", "line 3: archive.colour: there is no such key"),
        ("archive:\n  passphrase: x\ncertificate:\n  source: mine\n", "line 4: certificate.source: 'mine' is none"),
        ("hostname: x\n", "line 1: “archive” is missing here"),
        ("archive: {}\n", "line 1: archive: give a passphrase"),
        ("archive:\n  passphrase: x\n  passphrase: y\n", "line 3: “passphrase” stands here twice"),
        ("archive: {passphrase: x}\nlisten:\n  smtp: [1]\n", "line 3: listen.smtp.0: this has to be text"),
        ("archive: {passphrase: x}\nmailbox: {name: A}\n", "line 2: mailbox: “address” is missing here"),
        ("archive: {passphrase: x}\ncertificate: {source: acme, contact: a@b}\n", "line 2: certificate: “agree: true”"),
        ("archive: {passphrase: x}\ncertificate: {source: own}\n", "line 2: certificate: name the files"),
        ("archive: [\n", "line 2: this is not YAML"),
        ("", "is empty"),
        ("- a\n- b\n", "line 1: this has to be keys with values"),
    ],
)
def test_what_is_wrong_is_told_by_line_and_key(text: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text, "setup.yaml")
    assert told in caught.value.message
    assert caught.value.message.endswith("Nothing was done.")


def test_an_error_never_repeats_a_secret() -> None:
    with pytest.raises(UsageError) as caught:
        parse("archive:\n  passphrase: [correct-horse]\n", "setup.yaml")
    assert "correct-horse" not in caught.value.message


def test_secrets_are_not_shown_by_what_holds_them() -> None:
    found = parse(
        "archive: {passphrase: hidden-1}\n"
        "administrator: {address: a@example.com, password: hidden-2}\n"
        "remote: {name: a, type: s3, options: {secret_access_key: hidden-3}}\n"
        "certificate: {source: own, files: [a], password: hidden-4}\n",
        "setup.yaml",
    )
    assert "hidden" not in repr(found)


def test_the_first_line_of_a_file_is_the_secret(tmp_path: Path) -> None:
    place = tmp_path / "passphrase"
    place.write_bytes(b"a few words\r\nnot this\n")
    assert secret(SecretFile(str(place))) == "a few words"
    with pytest.raises(UsageError, match="cannot be read"):
        secret(SecretFile(str(tmp_path / "none")))
