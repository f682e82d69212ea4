"""Administration: numbers, doors and people; never anybody's mail."""

from __future__ import annotations

from litestar import Router
from litestar.di import Provide

from webadmin.admin import (
    access,
    alarms,
    audit,
    certificate,
    directories,
    doctor,
    import_remote,
    import_upload,
    import_watch,
    imports,
    mailbox_access,
    mailboxes,
    notifications,
    profile_settings,
    profiles,
    remote_assistant,
    remotes,
    replicas,
    roles,
    status,
    support,
    users,
)
from webadmin.session import admin_visit, overseer_visit


def routers() -> list[Router]:
    """The routes of this part."""
    own = [
        *status.HANDLERS,
        *alarms.HANDLERS,
        *notifications.HANDLERS,
        *support.HANDLERS,
        *mailboxes.HANDLERS,
        *mailbox_access.HANDLERS,
        *users.HANDLERS,
        *access.HANDLERS,
        *directories.HANDLERS,
        *profiles.HANDLERS,
        *profile_settings.HANDLERS,
        *imports.HANDLERS,
        *import_upload.HANDLERS,
        *import_remote.HANDLERS,
        *import_watch.HANDLERS,
        *replicas.HANDLERS,
        *remotes.HANDLERS,
        *remote_assistant.HANDLERS,
        *certificate.HANDLERS,
        *doctor.HANDLERS,
    ]
    shared = [*audit.HANDLERS, *roles.HANDLERS]
    return [
        Router("/admin", route_handlers=own, dependencies={"visit": Provide(admin_visit)}),
        Router("/oversight", route_handlers=shared, dependencies={"visit": Provide(overseer_visit)}),
    ]
