"""The platform's loops: dispatch, reaping, sweeps; see `jobs.control`."""

import os
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from jobs import control


class Command(BaseCommand):
    # It serves no request, so it need not load what the checks would look at.
    requires_system_checks: list[str] = []
    help = "Run the loops that move jobs; any number of copies may run."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--only", default="", metavar="NAMES", help="these loops alone: NAME,NAME"
        )

    def handle(self, *args: Any, only: str, **options: Any) -> None:
        try:
            ended = control.run(only)
        except KeyError as error:
            raise CommandError(f"there is no loop named {only!r}") from error
        if not ended:
            # A turn hangs, in a store or a broker; whatever it holds is guarded.
            os._exit(0)
