"""Files with mail in them: what they are, and everything that is in them, read in confined children."""
