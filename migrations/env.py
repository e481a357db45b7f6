"""Runs the migrations on the application's own engine."""

from alembic import context
from flask import current_app

import project.api.models  # noqa: F401  (the tables that autogenerate compares with)
from project.extensions import db

with db.engine.connect() as connection:
    context.configure(
        connection=connection,
        target_metadata=db.metadata,
        **current_app.extensions["migrate"].configure_args,
    )
    with context.begin_transaction():
        context.run_migrations()
