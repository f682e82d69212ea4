"""Users from directories: what follows from a listing, carrying it out, asking the directory."""
