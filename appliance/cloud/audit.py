"""Checking a replica: a sample of its volumes read back, or all of its objects by listing and hashes.

A check changes nothing: neither here nor on the remote. What it finds is mended by ``mending``.

Whoever can write to the remote can delete, cut, exchange and replay objects and manifests; he cannot make one that
opens, nor another one of the same name (docs/threat-model.md).
"""

from appliance.cloud.audited import Audited
from appliance.cloud.full_check import full
from appliance.cloud.sampling import sample

__all__ = ["Audited", "full", "sample"]
