"""Imports as administrators see them: begun, fed with files, looked at, stopped; the report; the audit trail.

What arrives lies sealed in ``DATA/collecting/scratch`` until the collector has had it read (``collector.importing``).
"""
