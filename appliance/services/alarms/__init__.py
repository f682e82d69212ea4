"""Alarms: what an administrator should look at, since when, and who has seen it.

``conditions`` says what is wrong in what was observed; ``book`` makes of it alarms that begin, change, are
acknowledged and end; ``keeper`` keeps the book in a file; ``words`` says each in a sentence; ``working_time`` is when
silence counts.
"""
