"""The certificate of gateway, POP3 and web: self-signed, an administrator's own, or one that an authority renews."""

from appliance.services.certificates.authority import LETS_ENCRYPT
from appliance.services.certificates.facts import read
from appliance.services.certificates.stored import prepare

__all__ = ["LETS_ENCRYPT", "prepare", "read"]
