"""Reading what strangers sent, in child processes that can do nothing else: facts, attachment text, safe HTML."""
