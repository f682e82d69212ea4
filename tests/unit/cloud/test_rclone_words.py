"""What administrators read when a service says no, in its own words; and which settings are refused at once."""

from __future__ import annotations

import json

import pytest

from appliance.cloud.backends import BACKENDS, backend, check_config, is_secret, rclone_options, secret_values
from appliance.cloud.remote import RemoteConfig
from appliance.cloud.words import LONGEST_DETAIL, explain, explain_refused_deletion
from appliance.errors import (
    ForbiddenError,
    MailkeepError,
    NotFoundError,
    RemoteDeniedError,
    RemoteFullError,
    UnavailableError,
    UsageError,
)

CONFIG = RemoteConfig("offsite", "s3", {}, path="bucket")

# As rclone passes them on; the codes are the services' documented ones.
SAID = (
    ("googleapi: Error 403: The user's Drive storage quota has been exceeded., storageQuotaExceeded", RemoteFullError),
    ("googleapi: Error 403: User rate limit exceeded., userRateLimitExceeded", UnavailableError),
    ("googleapi: Error 403: Quota exceeded for quota metric 'Queries', rateLimitExceeded", UnavailableError),
    ("quotaLimitReached: Insufficient Space Available", RemoteFullError),
    ("invalidRequest: activityLimitReached: The request has been throttled", UnavailableError),
    ("upload failed: path/insufficient_space/..", RemoteFullError),
    ("too_many_write_operations/..", UnavailableError),
    ("storage_limit_exceeded: Account storage limit reached", RemoteFullError),
    ("Cannot upload files, storage cap exceeded. (403 storage_cap_exceeded)", RemoteFullError),
    (
        "operation error S3: PutObject, https response error StatusCode: 403, api error QuotaExceeded: full",
        RemoteFullError,
    ),
    ('Put "https://h/x": 507 Insufficient Storage', RemoteFullError),
    ("write /mnt/nas/x: no space left on device", RemoteFullError),
    ('sftp: "quota exceeded" (SSH_FX_QUOTA_EXCEEDED)', RemoteFullError),
    ("response error STATUS_DISK_FULL", RemoteFullError),
    ("StatusCode: 503, api error SlowDown: Please reduce your request rate.", UnavailableError),
    ("StatusCode: 403, api error InvalidAccessKeyId: The Access Key Id does not exist", RemoteDeniedError),
    ("StatusCode: 403, api error SignatureDoesNotMatch: check your key", RemoteDeniedError),
    ("StatusCode: 403, api error AccessDenied: Access Denied", RemoteDeniedError),
    ("StatusCode: 403, api error RequestTimeTooSkewed: The difference is too large", RemoteDeniedError),
    ("StatusCode: 404, api error NoSuchBucket: The specified bucket does not exist", NotFoundError),
    ('oauth2: cannot fetch token: 400 Bad Request: {"error":"invalid_grant"}', RemoteDeniedError),
    ("ssh: handshake failed: ssh: unable to authenticate, attempted methods [none password]", RemoteDeniedError),
    ("response error: The attempted logon is invalid. (STATUS_LOGON_FAILURE)", RemoteDeniedError),
    ("401 Unauthorized", RemoteDeniedError),
    ("mkdir /mnt/nas/x: read-only file system", RemoteDeniedError),
    ("tls: failed to verify certificate: x509: certificate has expired or is not yet valid", RemoteDeniedError),
    ("dial tcp: lookup s3.exmaple.com: no such host", UnavailableError),
    ("dial tcp 10.0.0.9:443: i/o timeout", UnavailableError),
    ("dial tcp 127.0.0.1:1: connect: connection refused", UnavailableError),
    ("read tcp: connection reset by peer", UnavailableError),
    ("500 Internal Server Error", UnavailableError),
    ("something that nobody has seen before", UnavailableError),
)


@pytest.mark.parametrize(("said", "kind"), SAID)
def test_each_service_is_understood(said: str, kind: type[MailkeepError]) -> None:
    error = explain(CONFIG, 500, said)
    assert type(error) is kind
    assert "“offsite”" in error.message
    assert said.split()[-1] in error.message or said[-5:] in error.message, "the service's own words are kept"


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("api error RequestTimeTooSkewed", "NTP"),
        ("oauth2: invalid_grant", "rclone authorize"),
        ("lookup x: no such host", "spelled"),
        ("x509: unknown authority", "certificate"),
        ("SSH knownhosts: key mismatch", "host_keys"),
        ("api error NoSuchBucket", "region"),
        ("StatusCode: 403, SignatureDoesNotMatch", "as it is"),
    ],
)
def test_it_is_said_what_to_do(said: str, hint: str) -> None:
    assert hint in explain(CONFIG, 500, said).message


def test_long_words_are_cut() -> None:
    assert len(explain(CONFIG, 500, "x" * 10_000).message) < LONGEST_DETAIL + 200


def test_a_missing_object_is_not_a_missing_bucket() -> None:
    assert "object" in explain(CONFIG, 404, "object not found").message


@pytest.mark.parametrize(
    "said",
    [
        "StatusCode: 403, api error AccessDenied: Access Denied because object protected by object lock.",
        "409 BlobImmutableDueToPolicy: This operation is not permitted as the blob is immutable due to a policy.",
        "googleapi: Error 403: Object is subject to bucket's retention policy, retentionPolicyNotMet",
    ],
)
def test_a_locked_object_is_told_from_a_forbidden_one(said: str) -> None:
    assert isinstance(explain_refused_deletion(CONFIG, 500, said), ForbiddenError)
    denied = explain_refused_deletion(CONFIG, 500, "api error AccessDenied: Access Denied")
    assert isinstance(denied, RemoteDeniedError)


def config(kind: str, path: str = "box/mail", **options: str) -> RemoteConfig:
    return RemoteConfig("offsite", kind, options, path=path)


TOKEN = json.dumps({"access_token": "a-token-4711", "refresh_token": "r-token-4711", "expiry": "2030-01-01T00:00:00Z"})

FITS = (
    config("s3", access_key_id="AK", secret_access_key="SK"),
    config("s3", env_auth="true"),
    config("azureblob", account="a", key="k"),
    config("google cloud storage", service_account_credentials="{}"),
    config("drive", token=TOKEN, client_id="c", client_secret="s"),
    config("onedrive", token=TOKEN, drive_id="d", drive_type="business"),
    config("box", token=TOKEN),
    config("dropbox", token=TOKEN),
    config("b2", account="a", key="k"),
    config("sftp", path="", host="h", user="u", key_pem="-----BEGIN"),
    config("webdav", path="", url="https://h/"),
    config("smb", host="h"),
    config("local", path="/mnt/nas/mailkeep"),
    config("pcloud", token="whatever rclone takes"),
    RemoteConfig("a", "local", path="/x", bandwidth="08:00,512k 19:00,off"),
    RemoteConfig("a-1", "local", path="/x", bandwidth="Mon-08:00,1.5M:off Sat-00:00,off"),
)


@pytest.mark.parametrize("fits", FITS, ids=lambda one: f"{one.type}-{one.bandwidth}")
def test_settings_that_can_work_are_taken(fits: RemoteConfig) -> None:
    check_config(fits)


DOES_NOT = (
    (RemoteConfig("Has Space", "local", path="/x"), "cannot name"),
    (RemoteConfig("x" * 33, "local", path="/x"), "cannot name"),
    (config("crypt", remote="other:"), "before another remote"),
    (config("http", url="https://h"), "keeps nothing"),
    (config("memory"), "keeps nothing"),
    (config(" "), "type"),
    (config("s3", access_key_id="AK"), "secret_access_key"),
    (config("s3", path="", access_key_id="AK", secret_access_key="SK"), "bucket"),
    (config("drive"), "a token or a service account key"),
    (config("dropbox", token="Paste the following into your remote machine --->"), "line in braces"),
    (config("onedrive", token=TOKEN, drive_id="d"), "drive_type"),
    (config("sftp", host="h", user="u"), "a password or a private key"),
    (config("sftp", host="h", user="u", ssh="sh -c 'anything'"), "start a program"),
    (config("webdav", url="https://h/", bearer_token_command="anything"), "start a program"),
    (RemoteConfig("a", "webdav", {"url": "https://h", "override.password_command": "x"}), "no option"),
    (config("local", path="mnt/nas"), "begin with /"),
    (config("webdav", path="../other", url="https://h/"), "no path"),
    (RemoteConfig("a", "local", path="/x", bandwidth="fast"), "no bandwidth limit"),
    (RemoteConfig("a", "local", path="/x", bandwidth="1M --config /etc/x"), "no bandwidth limit"),
    (RemoteConfig("a", "local", path="/x", interval=1), "interval"),
    (RemoteConfig("a", "local", path="/x", transfers=0), "transfers"),
    (RemoteConfig("a", "local", path="/x", lock_days=7), "S3 only"),
)


@pytest.mark.parametrize(("wrong", "words"), DOES_NOT, ids=lambda one: one if isinstance(one, str) else one.type)
def test_settings_that_cannot_work_are_refused_in_words(wrong: RemoteConfig, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        check_config(wrong)


def test_the_assistant_knows_every_service_that_is_promised() -> None:
    promised = {"s3", "azureblob", "google cloud storage", "drive", "onedrive", "box", "dropbox", "b2", "sftp"}
    assert promised | {"webdav", "smb", "local"} == {one.type for one in BACKENDS}
    for one in BACKENDS:
        assert one.title and one.help
        assert [field.key for field in one.fields].count("path") == 1
        assert one.oauth == any(field.key == "token" for field in one.fields)
        for field in one.fields:
            assert field.secret == is_secret(field.key), field.key
            if field.key == "token":
                assert f'rclone authorize "{one.type}"' in field.help
    assert backend("nothing-of-this-name") is None


def test_what_is_secret_is_known() -> None:
    secret = {
        "pass",
        "password2",
        "secret_access_key",
        "session_token",
        "key",
        "key_pem",
        "sas_url",
        "token",
        "api_key",
    }
    shown = {"access_key_id", "key_file", "host_keys", "user", "endpoint", "token_url", "sse_kms_key_id", "pubkey"}
    assert all(map(is_secret, secret))
    assert not any(map(is_secret, shown))


def test_secrets_inside_secrets_are_found() -> None:
    found = secret_values(config("drive", token=TOKEN, scope="drive.file", sas_url="https://h/?sv=1&sig=abc%2Bdef"))
    assert {"a-token-4711", "r-token-4711", "abc%2Bdef", "abc+def"} <= set(found)
    assert "drive.file" not in found


def test_what_was_pasted_in_several_lines_goes_to_rclone_in_one() -> None:
    key = config("sftp", key_pem="-----BEGIN\nAAAA\n-----END\n")
    assert rclone_options(key)["key_pem"] == "-----BEGIN\\nAAAA\\n-----END"
    assert "-----BEGIN\\nAAAA\\n-----END" in secret_values(key)
    account = config("drive", service_account_credentials='{\n  "private_key": "a\\nb"\n}\n')
    assert json.loads(rclone_options(account)["service_account_credentials"]) == {"private_key": "a\nb"}
    assert "\n" not in rclone_options(account)["service_account_credentials"]
