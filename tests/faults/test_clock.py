"""The clock jumps: order is volume and position, nothing is lost, and people can still sign in and search."""

from __future__ import annotations

import http.cookiejar
import re
import struct
import time
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from appliance.store.format import RecordType
from appliance.store.reader import LogReader, RecordRef
from tests.faults.load import Load
from tests.faults.proof import everything_holds
from tests.product import Product

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

DAY = 86_400
PATCH = Path(__file__).parent / "patches" / "clock"


class Clock:
    """How wrong every process of the product has the time, in seconds."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.environment = {"PYTHONPATH": str(PATCH), "MAILKEEP_TEST_CLOCK": str(path)}
        path.write_bytes(bytes(8))

    def wrong_by(self, seconds: int) -> None:
        """From now on, everywhere."""
        with self._path.open("r+b") as file:
            file.write(struct.pack("=q", seconds))


def test_a_clock_that_jumps_back_loses_nothing_and_changes_no_order(template: Product, tmp_path: Path) -> None:
    clock = Clock(tmp_path / "clock")
    product = template.copy(tmp_path / "data", environment=clock.environment)
    try:
        product.start()
        load = Load(product.smtp, "clock", connections=1)
        with load.sending():
            load.await_confirmed(20)
            for wrong_by in (-2 * DAY, -3650 * DAY, 0, 400 * DAY, -DAY):
                clock.wrong_by(wrong_by)
                load.await_confirmed(10)
        assert set(days_off(product.data)) >= {-3650, 400}, "the processes did not see the clock jump"
        assert order(product.data, load) == sorted(order(product.data, load))
        everything_holds(product, load.ledger())
        assert sign_in(product) == "/admin"
        product.stop()
        clock.wrong_by(-30 * DAY)  # and it starts in a past in which the archive did not exist yet
        product.start()
        everything_holds(product, load.ledger(), exports=False)
        assert sign_in(product) == "/admin"
    finally:
        product.kill()


def order(data: Path, load: Load) -> list[int]:
    """The places in which the log has the messages of one connection, in the order of their confirmation."""
    reader = LogReader(data / "volumes")
    places = [ref.record_id for volume in reader.volumes() for ref in reader.scan(volume) if isinstance(ref, RecordRef)]
    return [places.index(one.record_id) for one in load.confirmed]


def days_off(data: Path) -> list[int]:
    """By how many days each message record's time is off."""
    reader = LogReader(data / "volumes")
    return [
        round((ref.time / 1e6 - time.time()) / DAY)
        for volume in reader.volumes()
        for ref in reader.scan(volume)
        if isinstance(ref, RecordRef) and ref.type == RecordType.MESSAGE
    ]


def sign_in(product: Product) -> str:
    """Sign in as the administrator in the web; the path that one arrives at."""
    web = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
    base = f"http://127.0.0.1:{product.http}"
    page = web.open(f"{base}/sign-in", timeout=60).read().decode()
    token = re.search(r'name="form_token" value="([0-9a-f]+)"', page)
    assert token is not None, page
    form = {"form_token": token[1], "address": product.admin_user, "password": product.admin_password, "next": "/admin"}
    with web.open(f"{base}/sign-in", urllib.parse.urlencode(form).encode(), timeout=60) as response:
        return urllib.parse.urlsplit(response.url).path
