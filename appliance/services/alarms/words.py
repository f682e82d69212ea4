"""Alarms in words, in the language in use: a title for lists, and a sentence that says what happened, what is safe and
what to do next. A console that speaks another language than the archiver makes them anew from kind and figures."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from types import MappingProxyType
from typing import Final, NamedTuple

from appliance.language import _, ngettext
from appliance.services.alarms.trouble import Figures


class Words(NamedTuple):
    """How one kind is said."""

    title: Callable[[], str]
    sentence: Callable[[Figures], str]


def title(kind: str) -> str:
    """What an alarm of that kind is about, in a few words."""
    return KINDS[kind].title() if kind in KINDS else kind


def sentence(kind: str, figures: Figures) -> str:
    """The alarm as a sentence."""
    return KINDS[kind].sentence(figures) if kind in KINDS else kind


def _locked(figures: Figures) -> str:
    said = _waiting(_count(figures, "waiting"))
    return f"{said} {_certificate_of_locked(figures)}" if "ends" in figures else said


def _waiting(count: int) -> str:
    if not count:
        return _(
            "The archive is locked. Mail is received and kept, but nobody can search or read. Unlock it with `mailkeep "
            "unlock` or on its web page."
        )
    return ngettext(
        "The archive is locked. Mail is received and kept ({count} message waits to be read in), but nobody can search "
        "or read. Unlock it with `mailkeep unlock` or on its web page.",
        "The archive is locked. Mail is received and kept ({count} messages wait to be read in), but nobody can search "
        "or read. Unlock it with `mailkeep unlock` or on its web page.",
        count,
    ).format(count=count)


def _certificate_of_locked(figures: Figures) -> str:
    day = day_of(float(figures["ends"]))
    if figures.get("ended"):
        return _(
            "Its certificate ended on {day} and is not renewed while the archive is locked: mail servers that check it "
            "send nothing until then, and give up after some days."
        ).format(day=day)
    return _(
        "Its certificate is not renewed while the archive is locked: until {day} nothing is lost by that, from then "
        "on mail servers that check it send nothing."
    ).format(day=day)


def _disk(figures: Figures) -> str:
    used, free = (f"{float(figures.get(name, 0)):.0%}" for name in ("used", "free"))
    return _(
        "The disk is nearly full: {used} is in use, {free} is free. Mail is put off when it is full, and the senders "
        "try again. Give the archive a larger disk, or keep less mail on this one."
    ).format(used=used, free=free)


def _memory(figures: Figures) -> str:
    return _(
        "The memory for the search index is nearly full: {free} free. Mail is received and kept; what is new may not "
        "be searchable. Give the box more memory, or enlarge that tmpfs."
    ).format(free=f"{float(figures.get('free', 0)):.0%}")


def _swap(figures: Figures) -> str:
    return _(
        "This box swaps to {swaps}, which is not encrypted: words of the mail can reach the disk readable. Switch swap "
        "off, or encrypt it."
    ).format(swaps=figures.get("swaps", ""))


def _certificate(figures: Figures) -> str:
    if problem := str(figures.get("problem", "")):
        return _(
            "The certificate of this box cannot be used: {problem} Mail servers and browsers may refuse to connect. "
            "Bring another one, or have one made."
        ).format(problem=problem)
    days = int(figures.get("days", 0))
    if days >= 0 and figures.get("locked"):
        return ngettext(
            "The certificate of this box ends in {count} day, and is not renewed while the archive is locked. Unlock "
            "it before, and no mail is lost.",
            "The certificate of this box ends in {count} days, and is not renewed while the archive is locked. Unlock "
            "it before, and no mail is lost.",
            days,
        ).format(count=days)
    if days < 0:
        return _(
            "The certificate of this box has ended. Browsers warn, and mail servers that check it send nothing. Renew "
            "it now."
        )
    return ngettext(
        "The certificate of this box ends in {count} day. Renew it; if that goes by itself, look why it did not.",
        "The certificate of this box ends in {count} days. Renew it; if that goes by itself, look why it did not.",
        days,
    ).format(count=days)


def _damage(figures: Figures) -> str:
    places = _count(figures, "places")
    return ngettext(
        "{count} place in the log is damaged. Run `mailkeep verify`; a replica may have it whole.",
        "{count} places in the log are damaged. Run `mailkeep verify`; a replica may have them whole.",
        places,
    ).format(count=places)


def _verify(figures: Figures) -> str:
    errors = _count(figures, "errors")
    return ngettext(
        "The last check of everything that is stored found {count} error. Nothing is removed. Run `mailkeep verify` "
        "and look at what it lists; a check without errors ends this alarm.",
        "The last check of everything that is stored found {count} errors. Nothing is removed. Run `mailkeep verify` "
        "and look at what it lists; a check without errors ends this alarm.",
        errors,
    ).format(count=errors)


def _late(figures: Figures) -> str:
    minutes = _count(figures, "minutes")
    return ngettext(
        "Mail of {count} minute ago is not searchable yet. It is stored safely. Look whether the projector runs, and "
        "whether the box has too much to do.",
        "Mail of {count} minutes ago is not searchable yet. It is stored safely. Look whether the projector runs, and "
        "whether the box has too much to do.",
        minutes,
    ).format(count=minutes)


def _disagree(figures: Figures) -> str:
    return _(
        "Log, catalogue and index disagree: {searchable} records in the log, {projected} in the catalogue; {messages} "
        "messages in the catalogue, {indexed} in the index. Run `mailkeep rebuild`; searching goes on meanwhile."
    ).format(**{name: figures.get(name, 0) for name in ("searchable", "projected", "messages", "indexed")})


def _gateway(figures: Figures) -> str:
    return _(
        "Gateway worker {worker} has not been heard of for a minute. If all are silent, no mail comes in; senders try "
        "again for days. Look whether it runs."
    ).format(worker=figures.get("worker", ""))


def _turned_away(figures: Figures) -> str:
    count = _count(figures, "count")
    return ngettext(
        "{count} delivery to {address} was put off within the last day: the mailbox was suspended, disabled, deleted "
        "or guarded. The senders try again; where it still is, open the mailbox, or correct the journal rule.",
        "{count} deliveries to {address} were put off within the last day: the mailbox was suspended, disabled, "
        "deleted or guarded. The senders try again; where it still is, open the mailbox, or correct the journal rule.",
        count,
    ).format(count=count, address=figures.get("address", ""))


def _silence(figures: Figures) -> str:
    hours, limit, address = _count(figures, "hours"), _count(figures, "limit"), figures.get("address", "")
    if not figures.get("ever", 1):
        return ngettext(
            "No mail has come to {address} since it was set up {count} hour ago. Look at the journal rule, and at the "
            "way from the mail server to this box.",
            "No mail has come to {address} since it was set up {count} hours ago. Look at the journal rule, and at the "
            "way from the mail server to this box.",
            hours,
        ).format(count=hours, address=address)
    return ngettext(
        "No mail has come to {address} for {count} hour, {limit} or more of that in working time. Look at the journal "
        "rule: Exchange disables a rule whose target did not answer.",
        "No mail has come to {address} for {count} hours, {limit} or more of them in working time. Look at the journal "
        "rule: Exchange disables a rule whose target did not answer.",
        hours,
    ).format(count=hours, address=address, limit=limit)


def _timestamps(figures: Figures) -> str:
    days = _count(figures, "days")
    return ngettext(
        "What was sealed {count} day ago has no timestamp yet. Look whether the time-stamping authority answers: "
        "`mailkeep timestamp now`. It is asked every hour.",
        "What was sealed {count} days ago has no timestamp yet. Look whether the time-stamping authority answers: "
        "`mailkeep timestamp now`. It is asked every hour.",
        days,
    ).format(count=days)


def _sign_in(figures: Figures) -> str:
    count, clients = _count(figures, "count"), _count(figures, "clients")
    return ngettext(
        "Somebody may be guessing passwords: {count} wrong ones in the last hour, from {clients} address. Guessing is "
        "slowed down and nobody got in by these. The audit trail has each try; if they come from outside, close the "
        "web page to the internet.",
        "Somebody may be guessing passwords: {count} wrong ones in the last hour, from {clients} addresses. Guessing "
        "is slowed down and nobody got in by these. The audit trail has each try; if they come from outside, close the "
        "web page to the internet.",
        clients,
    ).format(count=count, clients=clients)


def _undelivered(figures: Figures) -> str:
    return _("Alarms cannot be told by {way}. {why} It is tried again by itself.").format(
        way=_way(str(figures.get("way", ""))), why=figures.get("why", "")
    )


def _way(way: str) -> str:
    return {"mail": _("e-mail"), "webhook": _("the webhook")}.get(way, way)


def _directory(figures: Figures) -> str:
    name = figures.get("name", "")
    if losing := _count(figures, "losing"):
        return _(
            "The directory “{name}” lists so few people now that {count} users could no longer sign in. Nothing was "
            "changed. Look at what would change, and confirm it if it is right: `mailkeep directory sync {name}`."
        ).format(name=name, count=losing)
    return _(
        "Users have not been synchronised with the directory “{name}” for {span}. They stay as they are; who came or "
        "went meanwhile is not known here. `mailkeep directory test {name}` says what is wrong."
    ).format(name=name, span=span(3600.0 * _count(figures, "hours")))


def _profile(figures: Figures) -> str:
    return _(
        "The archiving profile “{name}” has fetched no mail for {span}: all of its runs have failed. What lies at the "
        "source stays there, and is fetched as soon as it works. `mailkeep profile test {name}` says what is wrong."
    ).format(name=figures.get("name", ""), span=span(3600.0 * _count(figures, "hours")))


def _replica_unknown(figures: Figures) -> str:
    return _("Nothing can be said of the replicas: {trouble}").format(trouble=figures.get("trouble", ""))


def _replica_unsound(figures: Figures) -> str:
    return _("The replica “{name}” is not as it should be. {trouble}").format(**_of_replica(figures))


def _replica_clock(figures: Figures) -> str:
    return _(
        "The replica “{name}” was brought up to date at a time that is yet to come: the clock of this box was wrong "
        "then, or is wrong now. Until the next run nothing counts as being there. Set the clock right; replication "
        "goes on by itself."
    ).format(**_of_replica(figures))


def _replica_superseded(figures: Figures) -> str:
    return _("Nothing is written to the replica “{name}” any more. {trouble}").format(**_of_replica(figures))


def _replica_empty(figures: Figures) -> str:
    return _("Nothing has reached the replica “{name}” yet. {trouble}").format(**_of_replica(figures))


def _replica_behind(figures: Figures) -> str:
    waiting = _count(figures, "waiting")
    trouble = str(figures.get("trouble", "")) or (
        _("It is paused.") if figures.get("paused") else _("Look whether replication runs: `mailkeep remote list`.")
    )
    return ngettext(
        "The replica “{name}” is {span} behind: {count} message is not there. {trouble}",
        "The replica “{name}” is {span} behind: {count} messages are not there. {trouble}",
        waiting,
    ).format(name=figures.get("name", ""), span=span(float(figures.get("lag", 0))), count=waiting, trouble=trouble)


def _of_replica(figures: Figures) -> dict[str, str]:
    return {name: str(figures.get(name, "")) for name in ("name", "trouble")}


def _unreplicated(figures: Figures) -> str:
    count = _count(figures, "count")
    return ngettext(
        "{count} message exists only on this box: if the box is lost, it is lost with it. `mailkeep remote list` says "
        "what keeps the replicas from being up to date.",
        "{count} messages exist only on this box: if the box is lost, they are lost with it. `mailkeep remote list` "
        "says what keeps the replicas from being up to date.",
        count,
    ).format(count=count)


def day_of(seconds: float) -> str:
    """The day of a moment, in the box's own zone: 2027-02-05 in every language."""
    return datetime.fromtimestamp(seconds).date().isoformat()


def span(seconds: float) -> str:
    """A time as people say it."""
    if seconds >= 2 * 86_400:
        return _("{count} days").format(count=round(seconds / 86_400))
    if seconds >= 2 * 3600:
        return _("{count} hours").format(count=round(seconds / 3600))
    minutes = max(round(seconds / 60), 1)
    return ngettext("{count} minute", "{count} minutes", minutes).format(count=minutes)


def ago(seconds: float) -> str:
    """How long ago something was."""
    if seconds >= 2 * 86_400:
        return _("{count} days ago").format(count=round(seconds / 86_400))
    if seconds >= 2 * 3600:
        return _("{count} hours ago").format(count=round(seconds / 3600))
    minutes = max(round(seconds / 60), 1)
    return ngettext("{count} minute ago", "{count} minutes ago", minutes).format(count=minutes)


def _count(figures: Figures, name: str) -> int:
    return int(figures.get(name, 0))


KINDS: Final = MappingProxyType(
    {
        "locked": Words(lambda: _("The archive is locked"), _locked),
        "disk": Words(lambda: _("The disk is filling up"), _disk),
        "memory": Words(lambda: _("The memory for the search index is filling up"), _memory),
        "swap": Words(lambda: _("Swap is not encrypted"), _swap),
        "certificate": Words(lambda: _("The certificate ends soon"), _certificate),
        "damage": Words(lambda: _("The log is damaged"), _damage),
        "verify": Words(lambda: _("A check found errors"), _verify),
        "late": Words(lambda: _("New mail is not searchable yet"), _late),
        "disagree": Words(lambda: _("Log, catalogue and index disagree"), _disagree),
        "gateway": Words(lambda: _("The gateway is silent"), _gateway),
        "turned-away": Words(lambda: _("Mail was put off"), _turned_away),
        "silence": Words(lambda: _("No mail comes in"), _silence),
        "timestamps": Words(lambda: _("Timestamps are missing"), _timestamps),
        "sign-in": Words(lambda: _("Somebody may be guessing passwords"), _sign_in),
        "directory": Words(lambda: _("A directory needs attention"), _directory),
        "profile": Words(lambda: _("Mail is not being fetched"), _profile),
        "undelivered": Words(lambda: _("Alarms cannot be told"), _undelivered),
        "replica-unknown": Words(lambda: _("Nothing is known of the replicas"), _replica_unknown),
        "replica-unsound": Words(lambda: _("A replica is not as it should be"), _replica_unsound),
        "replica-clock": Words(lambda: _("The clock is wrong"), _replica_clock),
        "replica-superseded": Words(lambda: _("A replica belongs to another box"), _replica_superseded),
        "replica-empty": Words(lambda: _("Nothing has reached a replica yet"), _replica_empty),
        "replica-behind": Words(lambda: _("A replica is behind"), _replica_behind),
        "unreplicated": Words(lambda: _("Mail exists only on this box"), _unreplicated),
    }
)
"""Every kind of alarm there is."""
