"""Set-up: from a box without an archive to the first journal report, step by step on its screen or from a file.

``steps`` says what is asked, ``progress`` how far it is, ``checks`` tries each step for real, ``box`` does what a step
decides; the wizard (``tui.setup``) and the answer file (``unattended``) both go through these.
"""

from appliance.services.setup.progress import is_needed, language

__all__ = ["is_needed", "language"]
