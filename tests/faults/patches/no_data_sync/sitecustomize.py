"""On PYTHONPATH: a product that confirms mail without having synced it. The power-cut test has to notice."""

from appliance.files import Files

Files.sync_data = lambda self, descriptor: None  # type: ignore[method-assign]
