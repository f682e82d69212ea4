"""On PYTHONPATH: a product that never syncs a directory. The power-cut test has to notice."""

from appliance.files import Files

Files.sync_directory = lambda self, path: None  # type: ignore[method-assign]
