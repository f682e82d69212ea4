"""The set-up wizard: one page a question, over ``appliance.services.setup``."""
