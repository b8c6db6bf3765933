"""`manage.py unload_engine OPERATION/ENGINE`: free its device until the next job."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from jobs.workers import engine_states


class Command(BaseCommand):
    help = "Have every worker that has an engine loaded free its device"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("engine", metavar="OPERATION/ENGINE")

    def handle(self, *arguments: Any, **options: Any) -> None:
        operation, slash, engine = options["engine"].partition("/")
        if not (operation and slash and engine):
            raise CommandError("name it as OPERATION/ENGINE, as in removebg/birefnet")
        workers = engine_states.wish_unloaded(operation, engine)
        if not workers:
            raise CommandError(f"no worker has {operation}/{engine} loaded")
        self.stdout.write("\n".join(workers))
