import sys
import time
from typing import Any

from django.core.management.base import BaseCommand

from billing import checks
from jobs.upkeep import books


class Command(BaseCommand):
    help = "Compare every wallet with its entries and every hold with its job."

    def handle(self, **_: Any) -> None:
        started = time.monotonic()
        differences = books.differences()
        count = books.count()
        seconds = time.monotonic() - started
        texts = [str(one) for one in differences]
        checks.write(texts, seconds=seconds, entries=count.entries)
        for difference in differences:
            self.stdout.write(str(difference))
        if differences:
            more = " or more" if len(differences) == books.LIMIT else ""
            self.stdout.write(f"{len(differences)}{more} differences.")
            sys.exit(1)
        self.stdout.write(
            f"The books balance: {count.wallets} wallets, {count.entries} entries, "
            f"{count.jobs} jobs."
        )
