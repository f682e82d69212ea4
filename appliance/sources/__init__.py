"""Sources: places that mail is fetched from, mailbox by mailbox, again and again."""
