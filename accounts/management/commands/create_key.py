from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts import issuing
from accounts.models import User


class Command(BaseCommand):
    help = "Make an API key for a user and print it, and nothing else, this once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("email")
        parser.add_argument("--name", default="default")
        parser.add_argument("--test", action="store_true", help="a key in test mode")

    def handle(self, *, email: str, name: str, test: bool, **_: Any) -> None:
        try:
            user = User.objects.get_by_natural_key(email)
        except User.DoesNotExist as error:
            raise CommandError(f"There is no user {email}.") from error
        limit = 100
        if not 0 < len(name) <= limit:
            raise CommandError(f"A key's name has 1 to {limit} characters.")
        self.stdout.write(issuing.issue(user, name=name, test=test).secret)
