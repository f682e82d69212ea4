"""The doctor: everything around the archive that has to be right, looked at, with how to mend what is not.

``examine`` needs neither keys nor a running archive, so that it helps where nothing starts; what only the archive
knows (its host name, the domains of its mailboxes, its remotes) comes as a ``Subject`` where it runs. Command line,
console, web and support bundle show the same findings.
"""

from appliance.services.doctoring.examining import CHECKS, examine
from appliance.services.doctoring.finding import Finding, State
from appliance.services.doctoring.subject import Remote, Subject, subject

__all__ = ["CHECKS", "Finding", "Remote", "State", "Subject", "examine", "subject"]
