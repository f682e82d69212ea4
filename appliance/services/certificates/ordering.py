"""One order of a certificate, step by step (RFC 8555 section 7), with the ``acme`` library."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

import requests
from acme import challenges, client, messages
from acme import errors as acme_errors
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from josepy.errors import Error as JoseError
from josepy.jwa import ES256
from josepy.jwk import JWK, JWKEC

from appliance.errors import UnavailableError, UsageError
from appliance.language import _, later
from appliance.services.certificates.authority import Issued, Order

_AGENT = "mailkeep"
_PREFIX = "urn:ietf:params:acme:error:"


def terms(directory: str, verify: str | None) -> str:
    """Where the authority's terms are; empty where it has none. Raises UnavailableError."""
    with _in_words(directory):
        found = client.ClientV2.get_directory(directory, _network(None, verify))
        return str(found.meta.terms_of_service or "") if found.meta else ""


def issue(
    wanted: Order,
    verify: str | None,
    publish: Callable[[str, str], None],
    report: Callable[[int, int], None],
    until: datetime,
) -> Issued:
    """The certificate. ``publish(token, content)`` has port 80 answer a challenge.

    Raises UnavailableError, UsageError.
    """
    with _in_words(wanted.directory):
        network = _network(_account_key(wanted.account), verify)
        directory = client.ClientV2.get_directory(wanted.directory, network)
        session = client.ClientV2(directory, network)
        report(1, 5)
        agreed = _sign_in(session, directory, wanted)
        report(2, 5)
        ordered = session.new_order(wanted.request.encode())
        for authorization in ordered.authorizations:
            if authorization.body.status != messages.STATUS_VALID:
                _answer(session, authorization, network.key, publish)
        report(3, 5)
        ordered = session.poll_authorizations(ordered, until)
        report(4, 5)
        finished = session.finalize_order(ordered, until)
        return Issued(finished.fullchain_pem, agreed)


def _network(key: JWK | None, verify: str | None) -> client.ClientNetwork:
    network = client.ClientNetwork(key, alg=ES256, user_agent=_AGENT, timeout=30)
    # The machine's own list of authorities, so that one in the house with its root installed there is known.
    network.verify_ssl = verify or True  # type: ignore[assignment]
    return network


def _account_key(pem: str) -> JWK:
    key = serialization.load_pem_private_key(pem.encode(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return JWKEC(key=key)


def _sign_in(session: client.ClientV2, directory: messages.Directory, wanted: Order) -> str:
    """Open the account, or find it by its key; the terms that were agreed to (RFC 8555 section 7.3)."""
    meta = directory.meta
    if meta and meta.external_account_required:
        raise UsageError(
            _(
                "This authority gives certificates only to accounts that were made on its own pages. Take another "
                "authority, or get the certificate there and bring it."
            )
        )
    agreed = str(meta.terms_of_service or "") if meta else ""
    if agreed and not wanted.agree:
        raise UsageError(later("The authority's terms have to be agreed to first: {terms}"), terms=agreed)
    registration = messages.NewRegistration.from_data(email=wanted.contact or None, terms_of_service_agreed=True)
    try:
        session.new_account(registration)
    except acme_errors.ConflictError as known:
        session.net.account = messages.RegistrationResource(uri=known.location, body=messages.Registration())
    return agreed


def _answer(
    session: client.ClientV2,
    authorization: messages.AuthorizationResource,
    key: JWK | None,
    publish: Callable[[str, str], None],
) -> None:
    name = authorization.body.identifier.value
    for challenge in authorization.body.challenges:
        if isinstance(challenge.chall, challenges.HTTP01):
            response, content = challenge.response_and_validation(key)
            publish(challenge.chall.encode("token"), content)
            session.answer_challenge(challenge, response)
            return
    text = later("The authority does not let {name} be shown by way of port 80, the only way that mailkeep can.")
    raise UnavailableError(text, name=name)


@contextmanager
def _in_words(directory: str) -> Iterator[None]:
    try:
        yield
    except acme_errors.ValidationError as error:
        raise _not_shown(error) from error
    except messages.Error as error:
        raise _said(error) from error
    except acme_errors.TimeoutError as error:
        raise UnavailableError(_("The authority did not decide in time. It is tried again later.")) from error
    except requests.RequestException as error:
        text = later("The authority at {url} cannot be reached ({reason}). Nothing was changed.")
        raise UnavailableError(text, url=directory, reason=_reason(error)) from error
    except (acme_errors.Error, JoseError, ValueError) as error:
        text = later("The authority at {url} gave an answer that cannot be understood. Nothing was changed.")
        raise UnavailableError(text, url=directory) from error


def _not_shown(error: acme_errors.ValidationError) -> UnavailableError:
    """Which name was not shown to be ours, and what the authority saw."""
    for authorization in error.failed_authzrs:
        for challenge in authorization.body.challenges:
            if challenge.error is not None:
                text = later(
                    "The authority could not see that {name} is this machine ({detail}). The name has to lead here, "
                    "and port 80 has to be reachable from outside. `mailkeep doctor` looks at both."
                )
                return UnavailableError(text, name=authorization.body.identifier.value, detail=_detail(challenge.error))
    return UnavailableError(_("The authority could not see that the name is this machine."))


def _said(error: messages.Error) -> UnavailableError:
    kind = (error.typ or "").removeprefix(_PREFIX)
    detail = _detail(error)
    if kind == "rateLimited":
        text = later("The authority gives no more certificates for a while ({detail}). It is tried again later.")
    elif kind in ("invalidContact", "unsupportedContact"):
        text = later("The authority does not take that e-mail address ({detail}).")
    else:
        text = later("The authority refused: {detail}. Nothing was changed.")
    return UnavailableError(text, detail=detail)


def _detail(error: messages.Error) -> str:
    return str(error.detail or error.description or error.typ or "").strip().rstrip(".")


def _reason(error: requests.RequestException) -> str:
    match error:
        case requests.exceptions.SSLError():
            return _("its own certificate is not known here")
        case requests.Timeout():
            return _("no answer in time")
        case requests.ConnectionError():
            return _("no connection")
        case _:
            return type(error).__name__
