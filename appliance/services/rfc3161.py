"""Time-stamp requests and answers (RFC 3161) in DER, and whether an answer is what was asked for and whole.

Answers are read element by element rather than by a strict DER schema: openssl, with which many authorities run, and
others leave the certificates of a SET in the order in which they came (docs/decisions/0086).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

NONCE_BITS = 64

_BOOLEAN, _INTEGER, _OCTETS, _OID, _TIME, _SEQUENCE, _SET = 0x01, 0x02, 0x04, 0x06, 0x18, 0x30, 0x31
_CONTEXT_0 = 0xA0  # a constructed element with the context tag 0

_SIGNED_DATA = bytes.fromhex("2a864886f70d010702")  # RFC 5652 section 5.1
_TST_INFO = bytes.fromhex("2a864886f70d0109100104")  # RFC 3161 section 2.4.2
_CONTENT_TYPE = bytes.fromhex("2a864886f70d010903")  # RFC 5652 section 11.1
_MESSAGE_DIGEST = bytes.fromhex("2a864886f70d010904")  # RFC 5652 section 11.2
_CERTIFICATE = bytes.fromhex("2a864886f70d010910020c")  # signingCertificate, RFC 2634 section 5.4
_CERTIFICATE_V2 = bytes.fromhex("2a864886f70d010910022f")  # signingCertificateV2, RFC 5035 section 3
_PSS = bytes.fromhex("2a864886f70d01010a")  # RSASSA-PSS, RFC 4055 section 3
_SHA256 = bytes.fromhex("608648016503040201")
_HASHES: dict[bytes, type[hashes.SHA256 | hashes.SHA384 | hashes.SHA512]] = {
    _SHA256: hashes.SHA256,
    bytes.fromhex("608648016503040202"): hashes.SHA384,
    bytes.fromhex("608648016503040203"): hashes.SHA512,
}
_GRANTED = (b"\x00", b"\x01")  # granted, grantedWithMods: RFC 3161 section 2.4.2


class Answer(msgspec.Struct, frozen=True):
    """What an authority attests: that it saw a SHA-256 at a time. ``nonce`` is the request's; -1 where it has none."""

    imprint: bytes
    at: datetime
    nonce: int


class Element(NamedTuple):
    """One DER element."""

    tag: int
    content: bytes
    raw: bytes


class _Signed(NamedTuple):
    """The parts of a time-stamp token."""

    info: bytes  # TSTInfo
    certificates: list[Element]
    signers: list[Element]


def request(digest: bytes, nonce: int) -> bytes:
    """A TimeStampReq for a SHA-256, which asks for the authority's certificate too. ``nonce`` is at random."""
    algorithm = _element(_SEQUENCE, _element(_OID, _SHA256) + b"\x05\x00")
    imprint = _element(_SEQUENCE, algorithm + _element(_OCTETS, digest))
    number = _element(_INTEGER, nonce.to_bytes(nonce.bit_length() // 8 + 1, "big"))
    return _element(_SEQUENCE, _element(_INTEGER, b"\x01") + imprint + number + _element(_BOOLEAN, b"\xff"))


def read(response: bytes) -> Answer:
    """What a TimeStampResp says; its signature is not looked at. Raises ValueError."""
    with _told_as_value_error():
        return _info(_signed(response).info)


def check(response: bytes, digest: bytes, nonce: int) -> Answer:
    """The answer, if it is to this request and its signature is that of the certificate in it. Raises ValueError.

    Whether the certificate is to be trusted is for whoever relies on the timestamp to say.
    """
    with _told_as_value_error():
        signed = _signed(response)
        answer = _info(signed.info)
        if answer.imprint != digest:
            raise ValueError("it is of something else than was sent")
        if answer.nonce != nonce:
            raise ValueError("it answers another request")
        _check_signature(signed, answer.at)
        return answer


@contextmanager
def _told_as_value_error() -> Iterator[None]:
    """Whatever a stranger's bytes lead to while they are read is one kind of error."""
    try:
        yield
    except InvalidSignature as error:
        raise ValueError("its signature does not hold") from error
    except (UnsupportedAlgorithm, x509.InvalidVersion, x509.DuplicateExtension, x509.ExtensionNotFound) as error:
        raise ValueError(f"its signer's certificate cannot be used ({error})") from error
    except (IndexError, OverflowError) as error:
        raise ValueError("it is not built as RFC 3161 has it") from error


def elements(data: bytes) -> list[Element]:
    """The elements that a DER content consists of. Raises ValueError where it is cut short."""
    found, offset = [], 0
    while offset < len(data):
        if offset + 2 > len(data):
            raise ValueError("it is cut short")
        length, start = data[offset + 1], offset + 2
        if length & 0x80:
            start += length & 0x7F
            length = int.from_bytes(data[offset + 2 : start], "big")
        end = start + length
        if end > len(data):
            raise ValueError("it is cut short")
        found.append(Element(data[offset], data[start:end], data[offset:end]))
        offset = end
    return found


def _element(tag: int, content: bytes) -> bytes:
    if len(content) > 127:
        raise ValueError("requests have no element that long")
    return bytes([tag, len(content)]) + content


def _only(data: bytes, tag: int) -> bytes:
    """The content of the one element that ``data`` is."""
    found = elements(data)
    if len(found) != 1 or found[0].tag != tag:
        raise ValueError("it is not built as RFC 3161 has it")
    return found[0].content


def _signed(response: bytes) -> _Signed:
    status, *token = elements(_only(response, _SEQUENCE))
    state = elements(status.content)
    if not token or not state or state[0].content not in _GRANTED:
        raise ValueError("the authority refused it")
    kind, content = _two(token[0].content)
    if kind.content != _SIGNED_DATA or content.tag != _CONTEXT_0:
        raise ValueError("it is not built as RFC 3161 has it")
    _version, _algorithms, inner, *rest = _at_least(elements(_only(content.content, _SEQUENCE)), 4)
    kind, content = _two(inner.content)
    if kind.content != _TST_INFO:
        raise ValueError("it is not built as RFC 3161 has it")
    certificates = [one for part in rest if part.tag == _CONTEXT_0 for one in elements(part.content)]
    return _Signed(_only(content.content, _OCTETS), certificates, elements(rest[-1].content))


def _info(info: bytes) -> Answer:
    _version, _policy, imprint, _serial, at, *rest = _at_least(elements(_only(info, _SEQUENCE)), 5)
    algorithm, digest = _two(imprint.content)
    if elements(algorithm.content)[:1] != elements(_element(_OID, _SHA256)) or digest.tag != _OCTETS:
        raise ValueError("it is not of a SHA-256")
    nonce = next((int.from_bytes(one.content, "big") for one in rest if one.tag == _INTEGER), -1)
    return Answer(digest.content, _time(at), nonce)


def _time(element: Element) -> datetime:
    if element.tag != _TIME or not element.content.endswith(b"Z"):
        raise ValueError("its time cannot be read")
    seconds, _, fraction = element.content[:-1].decode("ascii").partition(".")
    moment = datetime.strptime(seconds, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    return moment + timedelta(seconds=float(f"0.{fraction or 0}"))


def _check_signature(signed: _Signed, at: datetime) -> None:
    """RFC 5652 section 5.4, RFC 3161 section 2.4.2. Raises ValueError, InvalidSignature."""
    if len(signed.signers) != 1:
        raise ValueError("it does not have one signer")
    _version, signer, digest, attributes, scheme, signature = _at_least(elements(signed.signers[0].content), 6)[:6]
    kind = _HASHES.get(elements(digest.content)[0].content)
    if kind is None or attributes.tag != _CONTEXT_0:
        raise ValueError("it is not signed in a way that is known")
    values = {name.content: elements(value.content) for name, value in map(_pair, elements(attributes.content))}
    hashed = hashes.Hash(kind())
    hashed.update(signed.info)
    if _value(values, _MESSAGE_DIGEST) != hashed.finalize() or _value(values, _CONTENT_TYPE) != _TST_INFO:
        raise ValueError("its signature is of something else")
    certificate = _certificate(signed, signer)
    _check_certificate(certificate, values, at)
    # What is signed are the attributes as a SET, not with the context tag under which they lie.
    _verify(certificate, scheme, signature.content, bytes([_SET]) + attributes.raw[1:], kind())


def _certificate(signed: _Signed, signer: Element) -> x509.Certificate:
    """The certificate that the signer names by its issuer and serial number."""
    if signer.tag == _SEQUENCE:
        issuer, serial = _two(signer.content)
        for one in signed.certificates:
            certificate = x509.load_der_x509_certificate(one.raw)
            number = int.from_bytes(serial.content, "big", signed=True)
            if certificate.issuer.public_bytes() == issuer.raw and certificate.serial_number == number:
                return certificate
    raise ValueError("the certificate of its signer is not in it")


def _check_certificate(certificate: x509.Certificate, values: dict[bytes, list[Element]], at: datetime) -> None:
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    if ExtendedKeyUsageOID.TIME_STAMPING not in usage.value:
        raise ValueError("its signer is no time-stamping authority")
    if not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
        raise ValueError("its signer's certificate was not valid then")
    if not any(certificate.fingerprint(kind) == digest for kind, digest in _named(values)):
        raise ValueError("its signature is not bound to its signer's certificate")


def _named(values: dict[bytes, list[Element]]) -> Iterator[tuple[hashes.HashAlgorithm, bytes]]:
    """Hash and value by which the signature names its certificate: the first of each list."""
    for name in (_CERTIFICATE, _CERTIFICATE_V2):
        for value in values.get(name, ()):
            first = elements(elements(elements(value.content)[0].content)[0].content)
            kind: type[hashes.HashAlgorithm] = hashes.SHA1 if name == _CERTIFICATE else hashes.SHA256
            if first[0].tag == _SEQUENCE and name == _CERTIFICATE_V2:
                kind = _HASHES.get(elements(first[0].content)[0].content, hashes.SHA256)
            digests = [one.content for one in first if one.tag == _OCTETS]
            yield kind(), digests[0]


def _verify(
    certificate: x509.Certificate, scheme: Element, signature: bytes, data: bytes, kind: hashes.HashAlgorithm
) -> None:
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        pss = elements(scheme.content)[0].content == _PSS
        chosen = padding.PSS(padding.MGF1(kind), padding.PSS.AUTO) if pss else padding.PKCS1v15()
        key.verify(signature, data, chosen, kind)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(signature, data, ec.ECDSA(kind))
    else:
        raise ValueError("it is not signed in a way that is known")


def _value(values: dict[bytes, list[Element]], name: bytes) -> bytes | None:
    """The one value of an attribute."""
    found = values.get(name, [])
    return found[0].content if len(found) == 1 else None


def _two(content: bytes) -> tuple[Element, Element]:
    first, second, *_ = _at_least(elements(content), 2)
    return first, second


def _pair(attribute: Element) -> tuple[Element, Element]:
    return _two(attribute.content)


def _at_least(found: list[Element], count: int) -> list[Element]:
    if len(found) < count:
        raise ValueError("it is not built as RFC 3161 has it")
    return found
