"""Where the API lies. A change that programs would notice gets another version in the path."""

from __future__ import annotations

ROOT = "/api/pull/v1"
MESSAGES = "/messages"
MESSAGE = "/messages/{id:str}"
ACKNOWLEDGE = "/acknowledge"
DOCUMENT = "/openapi.json"
