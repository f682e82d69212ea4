"""Alembic's entry for the catalogue database; the connection is handed in by ``appliance.sqlite.migrate``."""

from alembic import context

from appliance.catalogue.tables import Base

context.configure(
    connection=context.config.attributes["connection"], target_metadata=Base.metadata, render_as_batch=True
)
with context.begin_transaction():
    context.run_migrations()
