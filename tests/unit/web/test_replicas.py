"""Replicas in the web admin: how far they are, what can be done with them, setting one up, and the way back."""

from __future__ import annotations

import re
import string
import subprocess

import msgspec
import pytest

from appliance.cloud.backends import BACKENDS
from appliance.errors import UsageError
from appliance.services import api
from tests.unit.web.browse import ADMIN, AUDITOR, Browser, signed_in, visible
from tests.unit.web.replicas_double import REFUSED, SECRET
from webadmin.admin.remote_form import RemoteForm
from webadmin.admin.restore_command import restore_command
from webadmin.formats import advice

PAGES = ["/admin/replicas", "/admin/replicas/new", "/admin/replicas/new?kind=s3", "/admin/replicas/history",
         "/admin/replicas/restore", "/admin/replicas/on/wasabi", "/admin/replicas/on/wasabi/settings",
         "/admin/replicas/on/wasabi/history", "/admin/replicas/on/wasabi/remove"]  # fmt: skip
NEW = "/admin/replicas/new"
S3 = {
    "type": "s3", "name": "minio", "option.provider": "Minio", "option.access_key_id": "key",
    "option.secret_access_key": " a secret ", "option.endpoint": "https://minio.example.org", "path": "mail/box",
    "interval": "900", "lock_days": "90", "lock_mode": "COMPLIANCE",
}  # fmt: skip
WASABI = "/admin/replicas/on/wasabi"


@pytest.fixture
def admin() -> Browser:
    """An administrator's browser."""
    return signed_in(ADMIN)


# -- how far they are -----------------------------------------------------------------------------------------------


def test_replicas_are_for_administrators(admin: Browser) -> None:
    auditor = signed_in(AUDITOR)
    for path in PAGES:
        assert auditor.get(path).status_code == 403
        assert admin.get(path).status_code == 200


def test_the_list_says_how_far_each_is(admin: Browser) -> None:
    text = admin.text("/admin/replicas")
    assert "Every message is on at least one replica" in text
    assert "office-nas" in text and "wasabi" in text
    assert "Everything is there." in text
    assert "3 messages (121 KB) are not there yet." in text
    assert "3.1 TB free" in text or "2.8 TB free" in text


def test_a_box_without_replicas_says_what_would_be_lost(admin: Browser) -> None:
    admin.archive.remotes_by_name.clear()
    text = admin.text("/admin/replicas")
    assert "The archive exists only on this box" in text
    assert "146 messages are lost with it" in text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {
                "state": "behind",
                "waiting": 12,
                "lag_seconds": 1900.0,
                "trouble": "The remote “wasabi” does not answer.",
            },
            ("behind", "The remote “wasabi” does not answer.", "12 messages"),
        ),
        ({"state": "behind", "waiting": 1, "lag_seconds": 1900.0}, ("It is 32 min behind", "1 message is not there")),
        (
            {"state": "superseded", "waiting": 1, "trouble": "Another box works with this archive."},
            ("given up", "Nothing is written there any more. Another box works with this archive.", "Next run none"),
        ),
        ({"state": "failing", "trouble": "The disk is full.", "failures": 3}, ("The disk is full. 3 tries so far",)),
        (
            {"state": "new", "reached_at": None, "generation": 0, "waiting": 146, "last_at": None},
            ("Nothing is there yet. 146 messages are not there yet.", "Last replicated never"),
        ),
        (
            {"state": "failing", "reached_at": None, "generation": 2, "waiting": 9},
            ("Only a part is there yet. 9 mess",),
        ),
    ],
)
def test_what_is_wrong_is_said_in_words(admin: Browser, changes: dict[str, object], said: tuple[str, ...]) -> None:
    admin.archive.set_replica("wasabi", **changes)
    for page in ("/admin/replicas", WASABI):
        text = admin.text(page)
        for words in said:
            assert words in text


def test_messages_that_exist_only_here_come_first(admin: Browser) -> None:
    admin.archive.set_replica("wasabi", waiting=5, state="behind")
    text = admin.text("/admin/replicas")
    assert "3 messages exist only on this box" in text
    assert "Every message is on" not in text


def test_a_run_under_way_shows_rate_and_time_left_and_can_be_stopped(admin: Browser) -> None:
    run = admin.archive.set_running("wasabi")
    piece = admin.get("/admin/replicas", **{"HX-Request": "true"})
    assert "<html" not in piece.text
    assert "1.2 GB of 3.7 GB · 21 MB a second · 2 min left · volumes" in visible(piece)
    assert 'max="4000000000" value="1300000000"' in piece.text
    tested = admin.post(WASABI, f"{WASABI}/test")
    assert set(re.findall(r'name="back" value="([^"]*)"', tested.text)) == {WASABI, f"{WASABI}/test"}
    answer = admin.post("/admin/replicas", f"/admin/replicas/runs/{run.id}/stop", {"back": WASABI})
    assert answer.headers["location"] == f"{WASABI}?note=run-stopped"
    assert "min left" not in admin.text("/admin/replicas")
    assert "asked to stop" in admin.text(f"{WASABI}?note=run-stopped")


def test_buttons_lead_back_to_this_site_only(admin: Browser) -> None:
    answer = admin.post(WASABI, f"{WASABI}/pause", {"back": "https://elsewhere.example.org/"})
    assert answer.headers["location"].startswith("/?")


def test_a_run_that_waits_says_so(admin: Browser) -> None:
    admin.archive.set_running("wasabi", state="waiting", begun_at=None)
    piece = admin.text(WASABI)
    assert "waits for its turn" in piece and "min left" not in piece


# -- what can be done -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "call", "params"),
    [
        ("replicate", "replicate_begin", {"remote": "wasabi"}),
        ("check", "replica_verify_begin", {"remote": "wasabi", "full": False}),
        ("check-all", "replica_verify_begin", {"remote": "wasabi", "full": True}),
        ("pause", "remote_change", {"name": "wasabi", "paused": True}),
        ("resume", "remote_change", {"name": "wasabi", "paused": False}),
        ("remove", "remote_remove", {"name": "wasabi"}),
    ],
)
def test_each_button_does_what_it_says(admin: Browser, action: str, call: str, params: dict[str, object]) -> None:
    answer = admin.post(WASABI, f"{WASABI}/{action}")
    assert answer.status_code == 303
    assert admin.calls(call) == [params]
    assert admin.get(answer.headers["location"]).status_code == 200


def test_all_are_brought_up_to_date_at_once(admin: Browser) -> None:
    admin.post("/admin/replicas", "/admin/replicas/replicate")
    assert admin.calls("replicate_begin") == [{"remote": ""}]


def test_a_paused_replica_offers_to_resume(admin: Browser) -> None:
    admin.post(WASABI, f"{WASABI}/pause")
    page = admin.get(WASABI)
    assert f'action="{WASABI}/resume"' in page.text and f'action="{WASABI}/replicate"' not in page.text
    assert "when it is resumed" in visible(page)


def test_a_test_tells_the_speed_or_what_is_wrong(admin: Browser) -> None:
    passed = visible(admin.post(WASABI, f"{WASABI}/test"))
    assert "23 MB a second there, 58 MB a second back; 2.8 TB are free" in passed
    admin.archive.passes = False
    failed = admin.client.post(
        f"{WASABI}/test", data={"form_token": _token(admin, WASABI)}, headers={"HX-Request": "true"}
    )
    assert "<html" not in failed.text
    assert f"It does not work: {REFUSED} written, not read back, not deleted" in visible(failed)


def test_removing_asks_first_and_says_what_stays(admin: Browser) -> None:
    text = admin.text(f"{WASABI}/remove")
    assert "48,113 records lie there, encrypted." in text and "as soon as object lock allows it" in text
    assert "only replica" not in text
    del admin.archive.remotes_by_name["office-nas"]
    assert "It is the only replica." in admin.text(f"{WASABI}/remove")
    assert not admin.calls("remote_remove")


def test_a_replica_that_is_gone_is_not_found(admin: Browser) -> None:
    for page in ("/admin/replicas/on/none", "/admin/replicas/on/none/settings"):
        answer = admin.get(page)
        assert answer.status_code == 404
        assert "no such replica" in visible(answer)


def test_the_page_tells_how_long_an_erased_message_can_survive(admin: Browser) -> None:
    assert "for up to 36 days" in admin.text(WASABI)
    admin.post(f"{WASABI}/settings", f"{WASABI}/settings", {"lock_days": "90"})
    assert "for up to 91 days" in admin.text(WASABI)


def test_the_history_tells_how_runs_went(admin: Browser) -> None:
    text = admin.text(f"{WASABI}/history")
    assert "41 times in a row" in text and "i/o timeout" in text
    assert "Generation 211 is complete." in text and "holds 48011 records" in text
    assert "Generation 212" not in text, "that is the other one's"
    both = admin.text("/admin/replicas/history")
    assert "Generation 211" in both and "Generation 212" in both and "office-nas" in both


# -- the assistant --------------------------------------------------------------------------------------------------


def test_every_kind_is_offered_and_asks_for_what_it_needs(admin: Browser) -> None:
    cards = admin.get(NEW).text
    for backend in BACKENDS:
        query = backend.type.replace(" ", "+")
        assert f'href="{NEW}?kind={query}"' in cards
        page = admin.get(f"{NEW}?kind={query}").text
        for field in backend.fields:
            name = "path" if field.key == "path" else f"option.{field.key}"
            assert f'name="{name}"' in page
            if field.secret and not field.multiline:
                assert f'name="{name}" type="password" value=""' in page


def test_a_kind_that_is_not_known_is_not_found(admin: Browser) -> None:
    answer = admin.get(f"{NEW}?kind=crypt")
    assert answer.status_code == 404
    assert "mailkeep remote add" in visible(answer)


def test_browser_kinds_explain_where_the_token_comes_from(admin: Browser) -> None:
    page = admin.get(f"{NEW}?kind=dropbox")
    assert "<code>rclone authorize &#34;dropbox&#34;</code> Sign in" in page.text
    assert 'href="https://rclone.org/downloads/"' in page.text


def test_a_remote_is_tested_and_added(admin: Browser) -> None:
    answer = admin.post(f"{NEW}?kind=s3", NEW, {**S3, "do": "save"})
    assert answer.headers["location"] == "/admin/replicas/on/minio?note=remote-added"
    (tested,) = admin.calls("remote_test")
    (added,) = admin.calls("remote_add")
    assert tested["options"] == added["options"]
    assert added["options"]["secret_access_key"] == " a secret ", "a password may begin or end with a blank"
    assert (added["path"], added["interval"], added["lock_days"], added["lock_mode"]) == (
        "mail/box", 900, 90, "COMPLIANCE",
    )  # fmt: skip
    assert (added["snapshot_interval"], added["keep_daily"], added["keep_weekly"]) == (86_400, 7, 4)
    assert "All that the archive has is replicated there now" in admin.text(answer.headers["location"])


def test_only_testing_adds_nothing_and_tells_what_to_expect(admin: Browser) -> None:
    answer = admin.post(f"{NEW}?kind=s3", NEW, {**S3, "do": "test"}, headers={"HX-Request": "true"})
    text = visible(answer)
    assert "<html" not in answer.text
    assert "It works." in text and "23 MB a second there" in text
    assert "the first run takes about 81 s" in text
    assert "an erased message can survive there for up to 91 days" in text
    assert not admin.calls("remote_add")


def test_one_that_does_not_pass_is_added_only_when_that_is_wanted(admin: Browser) -> None:
    admin.archive.passes = False
    answer = admin.post(f"{NEW}?kind=s3", NEW, {**S3, "do": "save"})
    assert answer.status_code == 400
    assert REFUSED in visible(answer) and "Add it all the same" in visible(answer)
    assert not admin.calls("remote_add")
    again = admin.post(f"{NEW}?kind=s3", NEW, {**S3, "do": "save", "anyway": "1"})
    assert again.status_code == 303
    assert "minio" in admin.archive.remotes_by_name


def test_what_was_typed_stays_but_for_secrets(admin: Browser) -> None:
    admin.archive.passes = False
    page = admin.post(f"{NEW}?kind=s3", NEW, {**S3, "do": "save"}).text
    assert 'value="https://minio.example.org"' in page and 'value="mail/box"' in page
    assert "a secret" not in page
    assert "Type the secrets again" in page


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": "wasabi"}, "There is a replica called “wasabi” already"),
        ({"name": "Not good"}, "cannot name a remote"),
        ({"lock_days": "many"}, "Enter the days of object lock as a number"),
        ({"transfers": "9" * 5000}, "Enter how many files go at a time as a number"),
        ({"option.access_key_id": ""}, "needs “access_key_id”"),
        ({"bandwidth": "quick"}, "is no bandwidth limit"),
        ({"option.token_command-x": "1"}, "is no option of a remote"),
    ],
)
@pytest.mark.parametrize("scripts", [True, False])
def test_what_cannot_work_is_said_and_not_saved(
    admin: Browser, fields: dict[str, str], said: str, scripts: bool
) -> None:
    headers = {"HX-Request": "true"} if scripts else {}
    answer = admin.post(f"{NEW}?kind=s3", NEW, {**S3, "do": "save", **fields}, headers=headers)
    assert answer.status_code in (400, 409)
    assert said in visible(answer)
    assert ("<html" in answer.text) is not scripts
    assert list(admin.archive.remotes_by_name) == ["office-nas", "wasabi"]


def test_with_scripts_saving_leads_to_the_new_page(admin: Browser) -> None:
    answer = admin.post(f"{NEW}?kind=s3", NEW, {**S3, "do": "save"}, headers={"HX-Request": "true"})
    assert answer.headers["hx-redirect"] == "/admin/replicas/on/minio?note=remote-added"


# -- changing -------------------------------------------------------------------------------------------------------


def test_a_stored_secret_is_never_shown_and_kept_when_the_field_is_empty(admin: Browser) -> None:
    page = f"{WASABI}/settings"
    assert SECRET not in admin.get(page).text
    form = {"option.secret_access_key": "", "option.access_key_id": "AKIA1", "path": "acme-mail/two", "interval": "60"}
    assert admin.post(page, page, {**form, "do": "save"}).headers["location"] == f"{WASABI}?note=remote-changed"
    (changed,) = admin.calls("remote_change")
    assert "secret_access_key" not in changed["options"]
    assert admin.archive.secrets["wasabi"] == {"secret_access_key": SECRET}
    assert (changed["path"], changed["interval"], changed["lock_days"]) == ("acme-mail/two", 60, 30)


def test_options_change_go_and_are_replaced(admin: Browser) -> None:
    page = f"{WASABI}/settings"
    admin.post(page, page, {"option.secret_access_key": "new", "option.provider": "", "do": "save"})
    (changed,) = admin.calls("remote_change")
    assert changed["options"]["secret_access_key"] == "new"
    assert changed["options"]["provider"] == ""
    assert admin.archive.secrets["wasabi"] == {"secret_access_key": "new"}
    assert "provider" not in {one.key for one in admin.archive.remotes_by_name["wasabi"].options}


def test_changes_can_be_tried_before_they_are_saved(admin: Browser) -> None:
    page = f"{WASABI}/settings"
    answer = admin.post(page, page, {"option.secret_access_key": "new", "path": "other/place", "do": "test"})
    assert "It works." in visible(answer) and 'value="other/place"' in answer.text
    (tested,) = admin.calls("remote_test")
    assert (tested["name"], tested["type"], tested["path"]) == ("wasabi", "", "other/place")
    assert tested["options"]["secret_access_key"] == "new"
    assert not admin.calls("remote_change")


def test_an_interval_of_the_command_line_stays_on_the_form(admin: Browser) -> None:
    admin.archive.remotes_by_name["wasabi"] = _with(admin.archive.remotes_by_name["wasabi"], interval=137)
    page = admin.get(f"{WASABI}/settings").text
    assert '<option value="137" selected>every 2 min</option>' in page


def test_a_secret_that_is_not_needed_can_be_forgotten() -> None:
    remote = _remote("sftp", (("host", "h"), ("user", "u")), secrets=("key_pem", "pass"))
    form = RemoteForm.of(remote).typed({"forget.pass": "1", "option.pass": "", "option.key_pem": ""})
    assert form.options.changed() == {"host": "h", "user": "u", "pass": ""}
    typed = RemoteForm.of(remote).typed({"forget.pass": "1", "option.pass": "typed after all"})
    assert typed.options.changed()["pass"] == "typed after all"


def test_kinds_of_the_command_line_can_be_changed_here_too() -> None:
    form = RemoteForm.of(_remote("swift", (("auth", "https://a"), ("user", "u")), secrets=("key",)))
    asked = {one.name: one for one in form.asked()}
    assert list(asked) == ["path", "option.auth", "option.key", "option.user"]
    assert asked["option.key"].kept and asked["option.key"].field.secret
    assert form.typed({"option.user": ""}).options.changed() == {"auth": "https://a", "user": ""}


def test_a_pasted_key_keeps_its_lines_and_loses_the_browsers_line_ends() -> None:
    pem = "-----BEGIN KEY-----\r\nAAAA\r\n-----END KEY-----\r\n"
    form = RemoteForm.empty("sftp").typed({"option.key_pem": pem})
    assert form.options.changed() == {"key_pem": "-----BEGIN KEY-----\nAAAA\n-----END KEY-----"}


def test_numbers_that_are_none_are_refused() -> None:
    for text in ("-1", "1.5", "²", "1e3", "9" * 10):
        with pytest.raises(UsageError):
            RemoteForm.empty("s3").typed({"keep_daily": text}).settings()


# -- for all, and the way back --------------------------------------------------------------------------------------


def test_days_on_this_disk_and_the_rehearsal_are_set(admin: Browser) -> None:
    page = "/admin/replicas"
    assert "With fewer than two replicas nothing leaves" not in admin.text(page)
    admin.post(page, f"{page}/keep", {"keep_local_days": "90"})
    assert admin.archive.keeping == api.ReplicationSettings(90, rehearsal=False)
    wrong = admin.post(page, f"{page}/keep", {"keep_local_days": "soon", "rehearsal": "1"})
    assert wrong.status_code == 400
    assert 'value="soon"' in wrong.text
    admin.post(page, f"{page}/keep", {"keep_local_days": "", "rehearsal": "1"})
    assert admin.archive.keeping == api.ReplicationSettings(0, rehearsal=True)
    del admin.archive.remotes_by_name["wasabi"]
    assert "With fewer than two replicas nothing leaves" in admin.text(page)


def test_the_way_back_is_a_page_with_the_command_and_no_secret(admin: Browser) -> None:
    page = admin.get("/admin/replicas/restore")
    text = visible(page)
    assert "recovery key" in text and "@secret_access_key" in text
    assert SECRET not in page.text
    assert "'path=/mnt/nas/mail keep'" in text
    admin.archive.remotes_by_name.clear()
    assert "nothing to restore from" in admin.text("/admin/replicas/restore")


def test_the_command_says_what_is_set_whatever_is_in_it() -> None:
    strange = string.printable.replace("\n", "").replace("\r", "")
    remote = _remote("google cloud storage", (("project_number", strange), ("region", "")), ("token",), "b/ü 'x' $y")
    assert _words(restore_command(remote)) == [
        "mailkeep", "--data", "/var/lib/mailkeep/archive", "restore", "--type", "google cloud storage",
        f"project_number={strange}", "region=", "token=@token", "path=b/ü 'x' $y",
    ]  # fmt: skip


def test_the_status_page_counts_replicas_and_what_is_only_here(admin: Browser) -> None:
    text = admin.text("/admin")
    assert (
        "0 messages only on this box" in text
        and "office-nas Everything up to " in text
        and "is there. up to date" in text
    )
    admin.archive.remotes_by_name.clear()
    assert "146 messages only on this box" in admin.text("/admin")


def test_advice_shows_commands_and_addresses_apart() -> None:
    said = advice(
        'Run  rclone config , then  rclone authorize "x"  and see https://rclone.org/x/, <now>. '
        "As in https://a.example.com/b; or not."
    )
    assert str(said) == (
        "Run <code>rclone config</code>, then <code>rclone authorize &#34;x&#34;</code> and see "
        '<a href="https://rclone.org/x/" rel="noopener noreferrer nofollow" target="_blank">https://rclone.org/x/</a>'
        ", &lt;now&gt;. As in <code>https://a.example.com/b</code>; or not."
    )


def _token(browser: Browser, page: str) -> str:
    return browser.get(page).text.partition('name="form_token" value="')[2][:64]


def _words(command: str) -> list[str]:
    """What a shell makes of a command."""
    shell = subprocess.run(["sh", "-c", f"printf '%s\\0' {command}"], capture_output=True, check=True, timeout=10)
    return shell.stdout.decode().split("\0")[:-1]


def _with(remote: api.RemoteInfo, **changes: object) -> api.RemoteInfo:
    return msgspec.structs.replace(remote, **changes)


def _remote(
    kind: str, options: tuple[tuple[str, str], ...], secrets: tuple[str, ...] = (), path: str = "p"
) -> api.RemoteInfo:
    every = sorted([(key, text, False) for key, text in options] + [(key, "", True) for key in secrets])
    return api.RemoteInfo(
        name="one", type=kind, path=path, options=tuple(api.RemoteOption(*one) for one in every), paused=False,
        interval=300, snapshot_interval=86_400, bandwidth="", transfers=4, lock_days=0, lock_mode="GOVERNANCE",
        keep_daily=7, keep_weekly=4, erased_stay_days=36, replica=api.ReplicaState("one", "new"),
    )  # fmt: skip
