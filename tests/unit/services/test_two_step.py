"""Two-step sign-in as it is set up: what the app is to scan."""

from __future__ import annotations

from xml.etree import ElementTree

from tests.scratch import ScratchArchive


def test_the_picture_for_the_app_is_an_image_of_its_own(box: ScratchArchive) -> None:
    identity = box.dispatcher.identity
    token = identity.sign_in(address="admin", password=box.created.admin_password, totp="", client="127.0.0.1").token
    made = identity.totp_begin(identity.principal(token, "127.0.0.1"))
    picture = ElementTree.fromstring(made.qr_svg)
    assert picture.tag == "{http://www.w3.org/2000/svg}svg", "a browser shows no image without it"
    assert made.secret in made.uri
