"""Microsoft Entra ID's token endpoint and Microsoft Graph's directory, as their documentation shows them.

    https://learn.microsoft.com/en-us/entra/identity-platform/v2-oauth2-client-creds-grant-flow
    https://learn.microsoft.com/en-us/entra/identity-platform/certificate-credentials
    https://learn.microsoft.com/en-us/graph/api/user-list
    https://learn.microsoft.com/en-us/graph/api/group-list-transitivemembers
    https://learn.microsoft.com/en-us/graph/api/directory-deleteditems-list
    https://learn.microsoft.com/en-us/graph/api/user-get-mailboxsettings
    https://learn.microsoft.com/en-us/graph/json-batching · …/paging · …/errors · …/throttling

Both are at one address, as an authority and a Graph of their own cloud would be at two.
"""

from __future__ import annotations

import base64
import itertools
import json
import re
import secrets
import uuid
from pathlib import Path
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from tests.doubles.https import Asked, Double, RefusalError, Said

TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"
CLIENT = "535fb089-9ff3-47b6-9bfb-4f1264799865"
SECRET = "qWgdYAmab0YSkuL1qKv5bPX~8Q"  # the documentation's example, made to look like a new one

_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_GUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_SELECTABLE = {
    *("id", "displayName", "mail", "userPrincipalName", "proxyAddresses", "accountEnabled", "assignedLicenses"),
    "userType",
}
_E3 = {"disabledPlans": [], "skuId": "05e9a617-0261-4cee-bb44-138d3ef5d965"}


def user(
    name: str,
    *aliases: str,
    domain: str = "contoso.com",
    licensed: bool = True,
    enabled: bool = True,
    kind: str | None = "Member",
    **others: Any,
) -> dict[str, Any]:
    """A user of the form of …/api/resources/user, whose primary address is ``name``'s."""
    address = f"{name}@{domain}"
    return {
        "id": str(uuid.uuid4()),
        "displayName": name.replace(".", " ").title(),
        "mail": address,
        "userPrincipalName": address,
        "proxyAddresses": [f"SMTP:{address}", *(f"smtp:{one}" for one in aliases)],
        "accountEnabled": enabled,
        "assignedLicenses": [_E3] if licensed else [],
        "userType": kind,
        **others,
    }


class GraphDouble(Double):
    """A tenant. ``permissions`` are those that were consented to; ``page`` is the most of a list given at a time."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.users: list[dict[str, Any]] = []
        self.deleted: list[dict[str, Any]] = []
        self.groups: dict[str, dict[str, Any]] = {}
        self.members: dict[str, list[str]] = {}
        self.purposes: dict[str, str] = {}
        """By user's id; who is not among them has no mailbox in Exchange Online."""
        self.mailbox_faults: list[tuple[int, dict[str, str], str]] = []
        """Status, headers and code in place of a batch's next answers."""
        self.permissions = {"User.Read.All", "GroupMember.Read.All", "MailboxSettings.Read"}
        self.secret = SECRET
        self.secret_expired = False
        self.certificate: x509.Certificate | None = None
        self.page = 999
        self._tokens: set[str] = set()
        self._places: dict[str, tuple[str, list[dict[str, Any]], dict[str, str]]] = {}
        self._assertions: set[str] = set()

    def group(self, name: str, *members: dict[str, Any], id: str = "", mail: str | None = None) -> str:
        """A group with these members, nested ones' among them; its id."""
        id = id or str(uuid.uuid4())
        self.groups[id] = {"id": id, "displayName": name, "mail": mail}
        self.members[id] = [one["id"] for one in members]
        return id

    def expire(self) -> None:
        """All tokens that were given have expired."""
        self._tokens.clear()

    def lose_places(self) -> None:
        """All links to next pages have expired."""
        self._places.clear()

    def answer(self, asked: Asked) -> Said:
        match asked.path.strip("/").split("/"):
            case [tenant, "v2.0", ".well-known", "openid-configuration"] if asked.method == "GET":
                return self._configuration(tenant)
            case [tenant, "oauth2", "v2.0", "token"] if asked.method == "POST":
                return self._token(asked, tenant)
            case ["v1.0", *rest]:
                return self._graph(asked, rest)
        raise self.complain(f"there is nothing at {asked.method} {asked.path}", 404)

    def _configuration(self, tenant: str) -> Said:
        if tenant != TENANT:
            return denied(90002, f"Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID.")
        at = f"{self.url}/{tenant}"
        return Said(
            body={
                "token_endpoint": f"{at}/oauth2/v2.0/token",
                "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
                "issuer": f"{at}/v2.0",
                "authorization_endpoint": f"{at}/oauth2/v2.0/authorize",
            }
        )

    def _token(self, asked: Asked, tenant: str) -> Said:
        form = asked.form
        if asked.headers.get("content-type") != "application/x-www-form-urlencoded":
            raise self.complain("a token is asked for by a form")
        known = {"client_id", "scope", "grant_type", "client_secret", "client_assertion", "client_assertion_type"}
        if strange := form.keys() - known - {"client_info"}:
            raise self.complain(f"the token request has {sorted(strange)}")
        if tenant != TENANT or form.get("grant_type") != "client_credentials":
            raise self.complain("another tenant or another grant")
        if form.get("scope") != f"{self.url}/.default":
            return denied(
                70011, f"The provided value for the input parameter 'scope' is not valid: {form.get('scope')}"
            )
        if form.get("client_id") != CLIENT:
            return denied(
                700016,
                f"Application with identifier '{form.get('client_id')}' was not found in the directory 'Contoso'.",
                "unauthorized_client",
            )
        if "client_assertion" in form:
            self._check_assertion(form)
        elif self.secret_expired:
            return denied(7000222, f"The provided client secret keys for app '{CLIENT}' are expired.", "invalid_client")
        elif form.get("client_secret") != self.secret:
            return denied(
                7000215,
                "Invalid client secret provided. Ensure the secret being sent in the request is the client secret "
                f"value, not the client secret ID, for a secret added to app '{CLIENT}'.",
                "invalid_client",
            )
        token = f"eyJ0eXAiOiJKV1QiLCJhbGciOi.{secrets.token_urlsafe(24)}"
        self._tokens.add(token)
        return Said(body={"token_type": "Bearer", "expires_in": 3599, "access_token": token})

    def _check_assertion(self, form: dict[str, str]) -> None:
        """…/identity-platform/certificate-credentials: PS256, x5t#S256, aud, exp, iss, jti, nbf, sub."""
        if form.get("client_assertion_type") != _ASSERTION or "client_secret" in form:
            raise self.complain("an assertion of another type")
        if self.certificate is None:
            words = (
                "The certificate with identifier used to sign the client assertion is not registered on application."
            )
            raise RefusalError(denied(700027, words, "invalid_client"))
        header = jwt.get_unverified_header(form["client_assertion"])
        thumbprint = base64.urlsafe_b64encode(self.certificate.fingerprint(hashes.SHA256())).rstrip(b"=").decode()
        if header.get("alg") != "PS256" or header.get("typ") != "JWT":
            raise self.complain(f"the assertion's header is {header}")
        if header.get("x5t#S256", "").rstrip("=") != thumbprint:  # Entra takes it padded too, as msal writes it
            raise RefusalError(denied(700027, "Client assertion failed signature validation.", "invalid_client"))
        try:
            claims = jwt.decode(
                form["client_assertion"],
                self.certificate.public_key(),  # type: ignore[arg-type]
                algorithms=["PS256"],
                audience=f"{self.url}/{TENANT}/oauth2/v2.0/token",
                options={"require": ["aud", "exp", "iss", "jti", "sub"], "verify_exp": False, "verify_iat": False},
            )
        except jwt.InvalidSignatureError:
            raise RefusalError(
                denied(700027, "Client assertion contains an invalid signature.", "invalid_client")
            ) from None
        except jwt.InvalidTokenError as error:
            raise self.complain(f"the assertion is wrong: {error}") from error
        if claims["iss"] != CLIENT or claims["sub"] != CLIENT or claims["jti"] in self._assertions:
            raise self.complain("the assertion is somebody else's, or was used before")
        self._assertions.add(claims["jti"])
        if not self.now - 300 < claims["exp"] < self.now + 3900:
            words = "Client assertion is not within its valid time range."
            raise RefusalError(denied(700024, words, "invalid_client"))

    def _graph(self, asked: Asked, rest: list[str]) -> Said:
        if asked.bearer not in self._tokens:
            return refused(401, "InvalidAuthenticationToken", "Lifetime validation failed, the token is expired.")
        if asked.method == "POST" and rest == ["$batch"]:
            return self._batch(asked)
        if asked.method != "GET" or asked.body:
            raise self.complain(f"there is nothing at {asked.method} {asked.path}", 405)
        match rest:
            case ["users"]:
                self._need("User.Read.All")
                return self._listed(asked, self.users, _SELECTABLE)
            case ["directory", "deletedItems", "microsoft.graph.user"]:
                self._need("User.Read.All")
                return self._listed(asked, self.deleted, _SELECTABLE)
            case ["groups"]:
                self._need("GroupMember.Read.All")
                return self._listed(asked, self._named(asked), {"id", "displayName", "mail"}, filtered=True)
            case ["groups", id] if re.fullmatch(_GUID, id):
                self._need("GroupMember.Read.All")
                self._only(asked, {"$select"})
                found = self.groups.get(id)
                return Said(body=found) if found else self._not_found(id)
            case ["groups", id, "transitiveMembers"] if re.fullmatch(_GUID, id):
                self._need("GroupMember.Read.All")
                if id not in self.groups:
                    return self._not_found(id)
                members = [{"@odata.type": "#microsoft.graph.user", "id": one} for one in self.members[id]]
                return self._listed(asked, members, {"id"})
        raise self.complain(f"there is nothing at {asked.path}", 404)

    def _listed(
        self, asked: Asked, all_of_it: list[dict[str, Any]], selectable: set[str], *, filtered: bool = False
    ) -> Said:
        self._only(asked, {"$select", "$top", "$skiptoken", *({"$filter"} if filtered else ())})
        selected = asked.query.get("$select", "").split(",")
        if not set(selected) <= selectable:
            raise self.complain(f"$select={asked.query.get('$select')}")
        top = asked.query.get("$top", "100")
        if not top.isdigit() or not 1 <= int(top) <= 999:
            raise self.complain(f"$top={top}")
        if (token := asked.query.get("$skiptoken")) is not None:
            place = self._places.pop(token, None)
            if place is None:
                return refused(400, "Directory_ExpiredPageToken", "The specified page token value has expired.")
            path, rest, query = place
            if path != asked.path or {**query, "$skiptoken": token} != dict(asked.query):
                raise self.complain("a next page's link was changed")
        else:
            rest = list(all_of_it)
        size = min(int(top), self.page)
        value = [{key: one.get(key) for key in ("@odata.type", *selected) if key in one} for one in rest[:size]]
        body: dict[str, Any] = {"@odata.context": f"{self.url}/v1.0/$metadata#{asked.path}", "value": value}
        if rest[size:]:
            token = f"m~{secrets.token_urlsafe(40)}"
            query = {key: one for key, one in asked.query.items() if key != "$skiptoken"}
            self._places[token] = (asked.path, rest[size:], query)
            pairs = "&".join(f"{key}={one}" for key, one in query.items())
            body["@odata.nextLink"] = f"{self.url}{asked.path}?{pairs}&$skiptoken={token}"
        return Said(body=body)

    def _named(self, asked: Asked) -> list[dict[str, Any]]:
        match = re.fullmatch(r"(displayName|mail) eq '((?:[^']|'')*)'", asked.query.get("$filter", ""))
        if match is None:
            raise self.complain(f"$filter={asked.query.get('$filter')}")
        wanted = match[2].replace("''", "'").lower()
        return [one for one in self.groups.values() if (one[match[1]] or "").lower() == wanted]

    def _batch(self, asked: Asked) -> Said:
        if asked.headers.get("content-type") != "application/json":
            raise self.complain("a batch is JSON")
        requests = json.loads(asked.body)["requests"]
        ids = [one["id"] for one in requests]
        if not 1 <= len(requests) <= 20 or len(set(ids)) != len(ids):
            raise self.complain(f"a batch of {len(requests)} requests with the ids {ids}")
        # Not in the order of the requests, as the documentation warns.
        return Said(body={"responses": [self._part(one) for one in reversed(requests)]})

    def _part(self, request: dict[str, str]) -> dict[str, Any]:
        match = re.fullmatch(rf"/users/({_GUID})/mailboxSettings/userPurpose", request["url"])
        if request.keys() != {"id", "method", "url"} or request["method"] != "GET" or match is None:
            raise self.complain(f"a batch with {request}")
        headers = {"Content-Type": "application/json"}
        if self.mailbox_faults:
            status, more, code = self.mailbox_faults.pop(0)
            said, headers = refused(status, code, "A fault."), {**headers, **more}
        elif "MailboxSettings.Read" not in self.permissions:
            said = refused(403, "ErrorAccessDenied", "Access is denied. Check credentials and try again.")
        elif (purpose := self.purposes.get(match[1])) is None:
            message = "The mailbox is either inactive, soft-deleted, or is hosted on-premise."
            said = refused(404, "MailboxNotEnabledForRESTAPI", message)
        else:
            context = f"{self.url}/v1.0/$metadata#users('{match[1]}')/mailboxSettings/userPurpose"
            said = Said(body={"@odata.context": context, "value": purpose})
        return {"id": request["id"], "status": said.status, "headers": headers, "body": said.body}

    def _need(self, permission: str) -> None:
        if permission not in self.permissions:
            message = "Insufficient privileges to complete the operation."
            raise RefusalError(refused(403, "Authorization_RequestDenied", message))

    def _only(self, asked: Asked, known: set[str]) -> None:
        if strange := asked.query.keys() - known:
            raise self.complain(f"unknown parameters {sorted(strange)} at {asked.path}")

    def _not_found(self, id: str) -> Said:
        return refused(404, "Request_ResourceNotFound", f"Resource '{id}' does not exist.")


_requests = itertools.count()


def refused(status: int, code: str, message: str) -> Said:
    """https://learn.microsoft.com/en-us/graph/errors"""
    inner = {"date": "2026-11-02T12:51:51", "request-id": f"request-{next(_requests)}"}
    headers = {"WWW-Authenticate": 'Bearer realm="", error="invalid_token"'} if status == 401 else {}
    return Said(status, {"error": {"code": code, "message": message, "innerError": inner}}, headers)


def denied(number: int, words: str, error: str = "invalid_request") -> Said:
    """The form of …/v2-oauth2-client-creds-grant-flow#error-response."""
    trace = "255d1aef-8c98-452f-ac51-23d051240864"
    return Said(
        401 if error == "invalid_client" else 400,
        {
            "error": error,
            "error_description": f"AADSTS{number}: {words} Trace ID: {trace} Correlation ID: {trace} "
            "Timestamp: 2026-11-02 12:51:51Z",
            "error_codes": [number],
            "timestamp": "2026-11-02 12:51:51Z",
            "trace_id": trace,
            "correlation_id": trace,
        },
    )
