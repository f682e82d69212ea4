"""Pictures of the pages for looking at: ``python -m tests.browser.screenshots FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from tests.browser.chromium import ARGUMENTS, chromium
from tests.browser.serve import serving
from tests.unit.web.double import PASSWORD, ArchiveDouble

SIZES = {"wide": (1440, 900), "narrow": (390, 844)}
ANNA_PAGES = {
    "search": "/?q=budget",
    "everything": "/",
    "pane": "/?open=m-1",
    "message": "/m/m-1",
    "plain": "/m/m-10?all=1",
    "all": "/?all=1&open=m-3",
    "folder": "/?folder=f-roof&below=1",
    "mistake": "/?q=budget+%22spring",
    "nothing": "/?q=xyzzy",
    "exports": "/exports",
    "account": "/account",
    "two-step": "/account/two-step",
    "approvals": "/oversight/approvals",
    "missing": "/nowhere",
}
ADMIN_PAGES = {
    "status": "/admin",
    "mailboxes": "/admin/mailboxes",
    "mailbox": "/admin/mailboxes/b-1",
    "mailbox-sealed": "/admin/mailboxes/b-3",
    "mailbox-new": "/admin/mailboxes/new",
    "mailbox-password": "/admin/mailboxes/b-3/password",
    "mailbox-token": "/admin/mailboxes/b-3/tokens/new",
    "users": "/admin/users",
    "user": "/admin/users/u-3",
    "import": "/admin/users/import",
    "directories": "/admin/directories",
    "directory-kinds": "/admin/directories/new",
    "directory-new": "/admin/directories/new?kind=ldap",
    "directory": "/admin/directories/of/branch",
    "directory-remove": "/admin/directories/of/office/remove",
    "profiles": "/admin/profiles",
    "profile-kinds": "/admin/profiles/new",
    "profile-new": "/admin/profiles/new?kind=imap",
    "profile": "/admin/profiles/of/central",
    "profile-run": "/admin/profiles/of/central/runs/7",
    "profile-settings": "/admin/profiles/of/old-server/settings",
    "profile-deletions": "/admin/profiles/of/old-server/deletions",
    "profile-remove": "/admin/profiles/of/old-server/remove",
    "imports": "/admin/imports",
    "import-new": "/admin/imports/new",
    "import-arriving": "/admin/imports/4",
    "import-running": "/admin/imports/3",
    "import-done": "/admin/imports/2",
    "import-remote": "/admin/imports/4/remote?remote=office-nas",
    "import-watch": "/admin/imports/watch",
    "audit": "/oversight/audit",
    "alarms": "/admin/alarms",
    "silence": "/admin/alarms/silence",
    "silence-rule": "/admin/alarms/silence/rule?mailbox=b-1",
    "notifications": "/admin/notifications",
    "support": "/admin/support",
    "replicas": "/admin/replicas",
    "replica": "/admin/replicas/on/wasabi",
    "replica-kinds": "/admin/replicas/new",
    "replica-new": "/admin/replicas/new?kind=s3",
    "replica-drive": "/admin/replicas/new?kind=drive",
    "replica-settings": "/admin/replicas/on/wasabi/settings",
    "replica-history": "/admin/replicas/history",
    "replica-remove": "/admin/replicas/on/wasabi/remove",
    "restore": "/admin/replicas/restore",
    "certificate": "/admin/certificate",
    "doctor": "/admin/doctor",
}
OPEN_PAGES = {"sign-in": "/sign-in", "welcome": "/welcome#KEEP-1"}
LOCKED_PAGES = {"unlock": "/unlock", "locked": "/?q=budget"}


def main(folder: Path, only: set[str]) -> None:
    """Write ``NAME-SIZE-SCHEME.png`` for every page, size and colour scheme."""
    folder.mkdir(parents=True, exist_ok=True)
    path = chromium()
    if path is None:
        sys.exit("there is no Chromium on this machine")
    locked = ArchiveDouble()
    locked.locked = True
    with serving(ArchiveDouble()) as base, serving(locked) as locked_base, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        for size, (width, height) in SIZES.items():
            for scheme in ("light", "dark"):
                for site, pages, address in (
                    (locked_base, LOCKED_PAGES, ""),
                    (base, OPEN_PAGES, ""),
                    (base, ANNA_PAGES, "anna.berg@example.org"),
                    (base, ADMIN_PAGES, "jonas.mueller@example.org"),
                ):
                    wanted = {name: at for name, at in pages.items() if not only or name in only}
                    if not wanted:
                        continue
                    context = browser.new_context(
                        viewport={"width": width, "height": height},
                        color_scheme=scheme,
                        timezone_id="Europe/Berlin",
                    )
                    page = context.new_page()
                    if address:
                        _sign_in(page, site, address)
                    for name, at in wanted.items():
                        page.goto(site + at)
                        page.wait_for_timeout(250)
                        page.screenshot(path=folder / f"{name}-{size}-{scheme}.png")
                    context.close()
        browser.close()


def _sign_in(page: Page, base: str, address: str) -> None:
    page.goto(f"{base}/sign-in")
    page.fill("#f-address", address)
    page.fill("#f-password", PASSWORD)
    page.click("text=Sign in >> nth=-1")
    page.wait_for_url(f"{base}/")


if __name__ == "__main__":
    main(Path(sys.argv[1]), set(sys.argv[2:]))
