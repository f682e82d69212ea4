"""What follows for users from what a directory lists: nobody loses an archive, nobody inherits one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from appliance.directory.base import LeftOut, Listing, Person
from appliance.services.directories.planning import Plan, User, plan
from appliance.settings.events import Link


class Here:
    """Users and links as settings keep them, and what applying a plan makes of them."""

    def __init__(self, *users: User) -> None:
        self.users = {one.id: one for one in users}
        self.links: dict[str, Link] = {}
        self.doors: frozenset[str] = frozenset()
        self._ids = (f"new{number}" for number in count())

    def plan(self, people: Iterable[Person], *left_out: LeftOut) -> Plan:
        return plan(
            Listing(tuple(people), left_out),
            self.users.values(),
            self.links.values(),
            self.doors,
            lambda: next(self._ids),
        )

    def take(self, *people: Person) -> Plan:
        """Plan and carry out; nobody may hold an address that somebody else holds at that moment."""
        found = self.plan(people)
        for put in found.puts:
            held = {address for user in self.users.values() if user.id != put.user for address in user.addresses}
            assert not held.intersection(put.addresses), put
            before = self.users.get(put.user)
            self.users[put.user] = User(
                put.user,
                put.name,
                put.addresses,
                put.state,
                last_administrator=bool(before and before.last_administrator),
            )
        self.links.update({link.person: link for link in found.links})
        return found

    def holder(self, address: str) -> str:
        """Whose an address is now."""
        return next((user.id for user in self.users.values() if address in user.addresses), "")

    def user_of(self, person: str) -> User:
        return self.users[self.links[person].user]


def person(id: str, *addresses: str, **more: object) -> Person:
    return Person(id, str(more.pop("name", id)), addresses, **more)  # type: ignore[arg-type]


ANNA = person("1", "anna@x.test", "a.old@x.test", name="Anna")
BERT = person("2", "bert@x.test", name="Bert")


def outcomes(found: Plan) -> list[tuple[str, str]]:
    return [(step.what, step.name.split(" <")[0]) for step in found.steps]


def test_everybody_becomes_a_user_once() -> None:
    here = Here()
    assert outcomes(here.take(ANNA, BERT)) == [("created", "Anna"), ("created", "Bert")]
    assert here.user_of("1").addresses == ("anna@x.test", "a.old@x.test")
    again = here.take(ANNA, BERT)
    assert outcomes(again) == [("unchanged", "Anna"), ("unchanged", "Bert")]
    assert not again.puts and not again.links


def test_who_is_here_already_is_recognised_by_an_address() -> None:
    here = Here(User("u1", "A. Muster", ("a.old@x.test",), "active"))
    (step,) = here.take(ANNA).steps
    assert step.what == "changed" and "is the user A. Muster from now on" in step.text.casefold().replace(
        "a. muster", "A. Muster"
    )
    assert here.users["u1"].addresses == ("anna@x.test", "a.old@x.test")
    assert here.users["u1"].name == "Anna"


def test_a_new_name_and_new_addresses_keep_the_archive_and_the_old_addresses() -> None:
    here = Here()
    here.take(ANNA)
    before = here.user_of("1").id
    here.take(person("1", "anna.berg@x.test", name="Anna Berg"))
    after = here.user_of("1")
    assert (after.id, after.name) == (before, "Anna Berg")
    assert after.addresses == ("anna.berg@x.test", "anna@x.test", "a.old@x.test")


def test_an_address_that_goes_to_somebody_else_goes_from_now_on_and_takes_no_archive_along() -> None:
    here = Here()
    here.take(ANNA, BERT)
    anna, bert = here.user_of("1").id, here.user_of("2").id
    here.take(person("1", "anna@x.test", name="Anna"), person("2", "bert@x.test", "a.old@x.test", name="Bert"))
    assert here.holder("a.old@x.test") == bert
    assert here.user_of("1").id == anna and here.user_of("1").addresses == ("anna@x.test",)


def test_two_that_exchange_their_addresses() -> None:
    here = Here()
    here.take(ANNA, BERT)
    anna, bert = here.user_of("1").id, here.user_of("2").id
    here.take(person("1", "bert@x.test", name="Anna"), person("2", "anna@x.test", name="Bert"))
    assert (here.holder("bert@x.test"), here.holder("anna@x.test")) == (anna, bert)


def test_merged_accounts_the_one_that_stays_gets_the_addresses_and_both_archives_stay() -> None:
    here = Here()
    here.take(ANNA, BERT)
    anna, bert = here.user_of("1").id, here.user_of("2").id
    found = here.take(person("1", *ANNA.addresses, "bert@x.test", name="Anna"))
    assert here.holder("bert@x.test") == anna
    assert here.users[bert].state == "disabled"
    assert ("disabled", "Bert") in outcomes(found)


def test_a_successor_with_the_same_address_is_somebody_new() -> None:
    here = Here()
    here.take(ANNA)
    before = here.user_of("1").id
    here.take(person("9", "anna@x.test", name="Anna the second"))
    assert here.user_of("9").id != before
    assert here.holder("anna@x.test") == here.user_of("9").id
    assert here.holder("a.old@x.test") == before


def test_disabled_deleted_and_missing_ones_cannot_sign_in_and_keep_everything() -> None:
    for gone in (
        [msgspec.structs.replace(ANNA, state="disabled")],
        [msgspec.structs.replace(ANNA, state="deleted")],
        [],
    ):
        here = Here()
        here.take(ANNA, BERT)
        here.take(*gone, BERT)
        anna = here.user_of("1")
        assert (anna.state, anna.addresses) == ("disabled", ANNA.addresses)
        assert not here.take(*gone, BERT).puts, "and nothing happens again"
        here.take(ANNA, BERT)
        assert here.user_of("1") == msgspec.structs.replace(anna, state="active")


def test_an_entry_that_cannot_be_taken_is_not_gone() -> None:
    here = Here()
    here.take(ANNA, BERT)
    found = here.plan([BERT], LeftOut("Anna", "The account has no mail address.", "1"))
    assert outcomes(found) == [("unchanged", "Bert")]
    assert not found.puts and not found.links


def test_who_was_disabled_here_stays_so() -> None:
    here = Here()
    here.take(ANNA)
    anna = here.user_of("1")
    here.users[anna.id] = msgspec.structs.replace(anna, state="disabled")
    here.take(ANNA)
    assert here.user_of("1").state == "disabled"


def test_the_last_administrator_is_never_shut_out() -> None:
    here = Here(User("u1", "Anna", ("anna@x.test",), "active", last_administrator=True))
    here.take(ANNA)
    (step,) = here.take().steps
    assert here.users["u1"].state == "active"
    assert "last administrator" in step.text


def test_who_was_deleted_before_we_knew_them_makes_no_user() -> None:
    here = Here()
    found = here.take(msgspec.structs.replace(ANNA, state="deleted"), BERT)
    assert outcomes(found) == [("unchanged", "Anna"), ("created", "Bert")]
    assert not here.holder("anna@x.test")


def test_a_deleted_entry_may_have_lost_everything() -> None:
    here = Here()
    here.take(ANNA)
    here.take(Person("1", "", (), state="deleted"))
    assert here.user_of("1") == msgspec.structs.replace(here.user_of("1"), name="Anna", addresses=ANNA.addresses)
    assert here.user_of("1").state == "disabled"


def test_users_of_another_directory_and_of_none_keep_their_addresses() -> None:
    here = Here(
        User("u1", "Made by hand", ("sales@x.test",), "active"),
        User("u2", "From LDAP", ("lena@x.test",), "active", elsewhere="ldap"),
    )
    found = here.take(person("1", "anna@x.test", "lena@x.test", name="Anna"), person("2", "new@x.test", "sales@x.test"))
    assert outcomes(found) == [("refused", "Anna"), ("changed", "2")]
    assert "“ldap”" in found.steps[0].text
    assert here.holder("lena@x.test") == "u2" and here.holder("sales@x.test") == "u1"


def test_an_address_that_two_list_stays_where_it_is_and_both_are_told() -> None:
    here = Here()
    here.take(ANNA, BERT)
    rival = person("3", "carl@x.test", "bert@x.test", name="Carl")
    found = here.take(rival, ANNA, BERT)
    assert here.holder("bert@x.test") == here.user_of("2").id
    assert here.user_of("3").addresses == ("carl@x.test",)
    assert "Bert" in found.steps[0].text


def test_an_address_of_a_mailbox_is_nobodys() -> None:
    here = Here()
    here.doors = frozenset({"journal@x.test"})
    found = here.take(person("1", "journal@x.test"), person("2", "bert@x.test", "journal@x.test"))
    assert outcomes(found) == [("refused", "1"), ("created", "2")]
    assert all("address of a mailbox" in step.text for step in found.steps)


def test_a_directory_that_suddenly_lists_few_waits_for_a_word() -> None:
    here = Here()
    everybody = [person(str(number), f"p{number}@x.test") for number in range(30)]
    assert not here.take(*everybody).waits
    assert not here.plan(everybody[:25]).waits
    assert "24 of 30" in here.plan(everybody[:6]).waits
    assert "30 of 30" in here.plan([]).waits


ADDRESSES = [f"{letter}@x.test" for letter in "abcdef"]


def states(people: Sequence[str]) -> st.SearchStrategy[list[Person]]:
    """Listings of some of these people, with any addresses."""
    one = st.tuples(
        st.sampled_from(people), st.lists(st.sampled_from(ADDRESSES), min_size=1, unique=True),
        st.sampled_from(["active", "active", "disabled", "deleted"]),
    )  # fmt: skip
    return st.lists(one, unique_by=lambda each: each[0]).map(
        lambda found: [Person(id, id, tuple(addresses), state=state) for id, addresses, state in found]  # type: ignore[arg-type]
    )


@given(st.lists(states(["p", "q", "r", "s"]), min_size=1, max_size=6))
def test_whatever_a_directory_says_one_after_the_other(listings: list[list[Person]]) -> None:
    here = Here(User("u1", "By hand", ("a@x.test",), "active"))
    for people in listings:
        known = {link.user for link in here.links.values()}
        who = {link.person: link.user for link in here.links.values()}
        free = here.users["u1"].addresses if "u1" not in known else ()
        found = here.take(*people)
        assert len(found.steps) - found.count("disabled") == len(people), "each entry is accounted for"
        assert all(here.links[one].user == user for one, user in who.items()), "an entry stays its user"
        assert set(free) <= set(here.users["u1"].addresses), "nobody takes from who comes from no directory"
        listed = {one.id for one in people if one.state == "active"}
        for link in here.links.values():
            assert link.person in listed or here.users[link.user].state == "disabled"
        again = here.take(*people)
        assert not again.puts and not again.links, "the same listing changes nothing"
