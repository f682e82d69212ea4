"""Google's token endpoint and the Admin SDK's Directory API, as their documentation shows them.

    https://developers.google.com/identity/protocols/oauth2/service-account#httprest
    https://developers.google.com/identity/protocols/oauth2/native-app
    https://developers.google.com/workspace/admin/directory/reference/rest/v1/users/list
    https://developers.google.com/workspace/admin/directory/reference/rest/v1/members/list
    https://developers.google.com/workspace/admin/directory/v1/guides/manage-users
    https://developers.google.com/workspace/admin/directory/v1/guides/troubleshoot-error-codes

Both are at one address; the API's real one is https://admin.googleapis.com.
"""

from __future__ import annotations

import json
import re
import secrets
from base64 import urlsafe_b64encode
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.doubles.https import Asked, Double, RefusalError, Said

EMAIL = "mailkeep@my-project.iam.gserviceaccount.com"
CLIENT = "103994123456789012345"
ADMIN = "admin@example.com"
USERS = "https://www.googleapis.com/auth/admin.directory.user.readonly"
MEMBERS = "https://www.googleapis.com/auth/admin.directory.group.member.readonly"

MAIL = "https://mail.google.com/"
DESKTOP, SECRET = "1234-abcd.apps.googleusercontent.com", "GOCSPX-a-secret"
"""An OAuth client of the type desktop app."""

AUDIENCE = "https://oauth2.googleapis.com/token"
"""Wherever the double is: the documentation knows no other."""

_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


def user(name: str, *aliases: str, unit: str = "/", **others: Any) -> dict[str, Any]:
    """A user of the form of …/reference/rest/v1/users#User, with a private address in the profile."""
    address = f"{name}@example.com"
    private = {"address": f"{name}@gmail.example", "type": "home"}
    return {
        "kind": "admin#directory#user",
        "id": str(secrets.randbelow(10**21)).zfill(21),
        "etag": '"8wmZdB6LFfLoWDVBX3cgyzBnQ8wuyGjo6pdZQy10tHQ/K7wAUHGHVIBHpoNSLoPN3hn0dKs"',
        "primaryEmail": address,
        "name": {"givenName": name.split(".")[0].title(), "fullName": name.replace(".", " ").title()},
        "isAdmin": False,
        "suspended": False,
        "archived": False,
        "emails": [{"address": address, "primary": True}, *({"address": one} for one in aliases), private],
        "aliases": list(aliases),
        "nonEditableAliases": [f"{name}@example.com.test-google-a.com"],
        "orgUnitPath": unit,
        "isMailboxSetup": True,
        **others,
    }


class GoogleDouble(Double):
    """A Workspace. ``delegated`` are the scopes that the service account was given; ``page`` is the most of a list
    given at a time."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.users: list[dict[str, Any]] = []
        self.deleted: list[dict[str, Any]] = []
        self.groups: dict[str, list[dict[str, str]]] = {}
        """Members of the form of …/reference/rest/v1/members#Member by the group's address, nested ones' among them."""
        self.delegated = {USERS, MEMBERS}
        self.admins = {ADMIN}
        self.page = 500
        self.given: dict[str, str] = {}
        """For whom each token was given."""
        self._codes: dict[str, tuple[str, dict[str, str], str]] = {}
        self._refresh: dict[str, str] = {}
        self._keys: dict[str, rsa.RSAPublicKey] = {}
        self._tokens: dict[str, set[str]] = {}
        self._places: dict[str, tuple[str, list[dict[str, Any]]]] = {}

    def key(self) -> str:
        """A new key of the service account, as Google Cloud gives it."""
        key = _made(len(self._keys))
        id = secrets.token_hex(20)
        self._keys[id] = key.public_key()
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return json.dumps(
            {
                "type": "service_account",
                "project_id": "my-project",
                "private_key_id": id,
                "private_key": pem.decode(),
                "client_email": EMAIL,
                "client_id": CLIENT,
                "auth_uri": "https://accounts.google.com/o/oauth2/auth",
                "token_uri": f"{self.url}/token",
                "auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs",
                "universe_domain": "googleapis.com",
            }
        )

    def withdraw_keys(self) -> None:
        """All keys of the service account are deleted."""
        self._keys.clear()

    def group(self, address: str, *members: dict[str, Any]) -> None:
        """A group with these users in it."""
        self.groups[address] = [
            {"kind": "admin#directory#member", "id": one["id"], "email": one["primaryEmail"], "type": "USER"}
            for one in members
        ]

    def expire(self) -> None:
        """All tokens that were given have expired."""
        self._tokens.clear()

    def allow(self, address: str, *, by: str, scopes: str = MAIL) -> str:
        """Somebody opens the address of a sign-in and allows it: the address that the browser ends up at.

        https://developers.google.com/identity/protocols/oauth2/native-app#step-2:-send-a-request-to-googles-oauth-2.0-server
        """
        url = urlsplit(address)
        asked = dict(parse_qsl(url.query, strict_parsing=True))
        assert f"{url.scheme}://{url.netloc}{url.path}" == "https://accounts.google.com/o/oauth2/v2/auth"
        assert asked.pop("client_id") == DESKTOP and asked.pop("response_type") == "code"
        assert asked.pop("scope") == MAIL and asked.pop("code_challenge_method") == "S256"
        assert asked.pop("access_type") == "offline" and asked.pop("prompt") == "consent"
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", asked["redirect_uri"])
        assert asked.pop("login_hint") and len(asked["state"]) >= 16
        assert set(asked) == {"redirect_uri", "state", "code_challenge"}
        code = f"4/0A{secrets.token_urlsafe(24)}"
        self._codes[code] = (by, asked, scopes)
        answer = {"state": asked["state"], "code": code, "scope": scopes}
        return f"{asked['redirect_uri']}/?{urlencode(answer)}"

    def withdraw_sign_ins(self) -> None:
        """Everybody has taken back what they allowed."""
        self._refresh.clear()

    def answer(self, asked: Asked) -> Said:
        if (asked.method, asked.path) == ("POST", "/token"):
            return self._token(asked)
        match asked.path.strip("/").split("/"):
            case ["admin", "directory", "v1", "users"]:
                self._need(asked, USERS)
                return self._users(asked)
            case ["admin", "directory", "v1", "groups", group, "members"]:
                self._need(asked, MEMBERS)
                return self._members(asked, group)
        raise self.complain(f"there is nothing at {asked.method} {asked.path}", 404)

    def _token(self, asked: Asked) -> Said:
        form = asked.form
        if form.get("grant_type") in ("authorization_code", "refresh_token"):
            return self._persons(form)
        if form.keys() != {"assertion", "grant_type"} or form["grant_type"] != _GRANT:
            raise self.complain(f"a token request with {sorted(form)}")
        header = jwt.get_unverified_header(form["assertion"])
        if header.get("alg") != "RS256" or header.get("typ") != "JWT":
            raise self.complain(f"the assertion's header is {header}")
        key = self._keys.get(header.get("kid", ""))
        if key is None:
            return _denied("invalid_grant", "Invalid JWT Signature.")
        try:
            claims = jwt.decode(
                form["assertion"],
                key,
                algorithms=["RS256"],
                audience=AUDIENCE,
                issuer=EMAIL,
                options={"require": ["iss", "scope", "aud", "exp", "iat"], "verify_exp": False, "verify_iat": False},
            )
        except jwt.InvalidTokenError as error:
            raise self.complain(f"the assertion is wrong: {error}") from error
        if not (self.now - 3600 < claims["iat"] < self.now + 300 and claims["exp"] - claims["iat"] <= 3600):
            return _denied(
                "invalid_grant",
                "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your "
                "iat and exp values in the JWT claim.",
            )
        scopes = set(claims["scope"].split(" "))
        if not scopes <= self.delegated:
            return _denied(
                "unauthorized_client",
                "Client is unauthorized to retrieve access tokens using this method, or client not authorized for any "
                "of the scopes requested.",
                401,
            )
        if not str(claims.get("sub")).endswith("@example.com"):
            return _denied("invalid_grant", "Invalid email or User ID")
        token = f"ya29.{secrets.token_urlsafe(24)}"
        self._tokens[token] = scopes if claims["sub"] in self.admins else set()
        self.given[token] = claims["sub"]
        return Said(body={"access_token": token, "expires_in": 3599, "token_type": "Bearer"})

    def _persons(self, form: dict[str, str]) -> Said:
        """…/native-app#exchange-authorization-code and #offline"""
        own = (
            {"code", "code_verifier", "redirect_uri"}
            if form["grant_type"] == "authorization_code"
            else {"refresh_token"}
        )
        if form.keys() != {"client_id", "client_secret", "grant_type", *own}:
            raise self.complain(f"a token request with {sorted(form)}")
        if (form["client_id"], form["client_secret"]) != (DESKTOP, SECRET):
            return _denied("invalid_client", "The provided client secret is invalid.", 401)
        more = {}
        if form["grant_type"] == "authorization_code":
            by, asked, scopes = self._codes.pop(form["code"], ("", {}, ""))
            challenge = urlsafe_b64encode(sha256(form["code_verifier"].encode()).digest()).rstrip(b"=").decode()
            if (challenge, form["redirect_uri"]) != (asked.get("code_challenge"), asked.get("redirect_uri")):
                return _denied("invalid_grant", "Bad Request")
            more = {"refresh_token": f"1//0{secrets.token_urlsafe(24)}"}
            self._refresh[more["refresh_token"]] = by
        else:
            scopes = MAIL
            if (by := self._refresh.get(form["refresh_token"], "")) == "":
                return _denied("invalid_grant", "Token has been expired or revoked.")
        token = f"ya29.{secrets.token_urlsafe(24)}"
        self.given[token] = by
        return Said(body={"access_token": token, "expires_in": 3920, "scope": scopes, "token_type": "Bearer", **more})

    def _need(self, asked: Asked, scope: str) -> None:
        if asked.method != "GET" or asked.body:
            raise self.complain(f"there is nothing at {asked.method} {asked.path}", 405)
        if asked.bearer not in self._tokens:
            raise RefusalError(error(401, "authError", "Invalid Credentials"))
        if scope not in self._tokens[asked.bearer]:
            raise RefusalError(error(403, "forbidden", "Not Authorized to access this resource/api"))

    def _users(self, asked: Asked) -> Said:
        self._only(asked, {"customer", "showDeleted", "projection"})
        if asked.query.get("customer") != "my_customer" or asked.query.get("projection", "basic") not in {
            *("basic", "full"),
        }:
            raise self.complain(f"users are asked for with {dict(asked.query)}")
        deleted = asked.query.get("showDeleted", "false")
        if deleted not in {"true", "false"}:
            raise self.complain(f"showDeleted={deleted}")
        return self._listed(asked, "users", self.deleted if deleted == "true" else self.users, 500)

    def _members(self, asked: Asked, group: str) -> Said:
        self._only(asked, {"includeDerivedMembership", "roles"})
        if asked.query.get("includeDerivedMembership") != "true":
            raise self.complain("only the direct members are asked for")
        if group not in self.groups:
            return error(404, "notFound", "Resource Not Found: groupKey")
        return self._listed(asked, "members", self.groups[group], 200)

    def _only(self, asked: Asked, known: set[str]) -> None:
        if strange := asked.query.keys() - known - {"maxResults", "pageToken", "fields"}:
            raise self.complain(f"unknown parameters {sorted(strange)} at {asked.path}")

    def _listed(self, asked: Asked, what: str, all_of_it: list[dict[str, Any]], most: int) -> Said:
        number = asked.query.get("maxResults", "100")
        if not number.isdigit() or not 1 <= int(number) <= most:
            raise self.complain(f"maxResults={number}")
        rest = list(all_of_it)
        # What has to be the same on every page.
        same = f"{asked.path} {sorted((key, one) for key, one in asked.query.items() if key != 'pageToken')}"
        if (token := asked.query.get("pageToken")) is not None:
            place = self._places.pop(token, None)
            if place is None:
                return error(400, "invalid", "Invalid Input: page_token")
            if place[0] != same:
                raise self.complain("a page is asked for with other parameters than the one before")
            rest = place[1]
        size = min(int(number), self.page)
        body: dict[str, Any] = {"kind": f"admin#directory#{what}", "etag": '"x"'}
        if rest:
            body[what] = rest[:size]
        if rest[size:]:
            token = f"~!!~{secrets.token_urlsafe(24)}"
            self._places[token] = (same, rest[size:])
            body["nextPageToken"] = token
        return Said(body=self._masked(asked, body, what))

    def _masked(self, asked: Asked, body: dict[str, Any], what: str) -> dict[str, Any]:
        """Partial responses: https://developers.google.com/workspace/admin/directory/v1/guides/performance"""
        if (mask := asked.query.get("fields")) is None:
            return body
        match = re.fullmatch(rf"((?:\w+,)*){what}\(([\w,/]+)\)", mask)
        if match is None:
            raise self.complain(f"fields={mask}")
        inner = [one.partition("/")[::2] for one in match[2].split(",")]
        shown = {key: one for key, one in body.items() if key in match[1].split(",")}
        if what in body:
            shown[what] = [_picked(one, inner) for one in body[what]]
        return shown


@cache
def _made(_number: int) -> rsa.RSAPrivateKey:
    """The same for each double: making one takes its time."""
    return rsa.generate_private_key(65537, 2048)


def _picked(value: dict[str, Any], inner: list[tuple[str, str]]) -> dict[str, Any]:
    return {key: {below: value[key][below]} if below else value[key] for key, below in inner if key in value}


def error(status: int, reason: str, message: str) -> Said:
    """…/guides/troubleshoot-error-codes"""
    one = {"message": message, "domain": "global", "reason": reason}
    return Said(status, {"error": {"code": status, "message": message, "errors": [one]}})


def _denied(code: str, description: str, status: int = 400) -> Said:
    """https://developers.google.com/identity/protocols/oauth2/service-account#jwt-error-codes"""
    return Said(status, {"error": code, "error_description": description})
