"""Stand-ins for services that tests cannot ask: strict about what they are asked, and able to go wrong."""
