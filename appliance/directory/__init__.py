"""Directories: where a company keeps who its people are and which addresses they have."""
