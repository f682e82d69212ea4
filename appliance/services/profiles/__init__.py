"""Archiving profiles of an open archive: set up, tried, run, told to the collector, which carries them out."""
