"""mailkeep: a self-hosted mail archive gateway. This package is its core, true without a port or a screen."""

__version__ = "0.1.0"
