from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from accounts import image_keys
from accounts.models import User


class Command(BaseCommand):
    help = "Show with what a user signs addresses of pictures: base URL, key and salt."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("email")
        parser.add_argument(
            "--rotate", action="store_true", help="make another key; the old one ends"
        )

    def handle(self, *, email: str, rotate: bool, **_: Any) -> None:
        try:
            user = User.objects.get_by_natural_key(email)
        except User.DoesNotExist as error:
            raise CommandError(f"There is no user {email}.") from error
        row = image_keys.rotate(user) if rotate else image_keys.of(user)
        pair = image_keys.pair_of(row)
        # Names that imgproxy's own tools know, so that a shell can source the output.
        self.stdout.write(f"IMGPROXY_ENDPOINT={settings.PUBLIC_URL}/img/{row.account}")
        self.stdout.write(f"IMGPROXY_KEY={pair.key}")
        self.stdout.write(f"IMGPROXY_SALT={pair.salt}")
