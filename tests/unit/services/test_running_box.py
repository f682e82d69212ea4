"""The archiver's socket from the command line's side: a connection that breaks off is said so, and can be given up."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from appliance.errors import UnavailableError
from appliance.services import api
from appliance.services.paths import local_secret_beside
from appliance.services.running import RunningBox


def test_a_connection_that_breaks_off_in_a_call_is_given_up_in_peace(tmp_path: Path) -> None:
    path = tmp_path / "a0.sock"
    local_secret_beside(path).write_text("secret")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()
        threading.Thread(target=lambda: listener.accept()[0].close(), daemon=True).start()
        box = RunningBox(path)
        for _ in range(2):  # the second one finds the connection closed while it writes
            with pytest.raises(UnavailableError):
                box.call("import_get", api.ImportInfo, id=1)
        box.close()
