"""Make the tables and `count` users with credits; prints their tokens, one a line."""

import os
import sys

import django


def main(count: int) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bench.baseline.settings")
    django.setup()
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from rest_framework.authtoken.models import Token

    from bench.baseline.models import Wallet

    call_command("migrate", verbosity=0)
    for number in range(count):
        user = User.objects.create(username=f"user{number}")
        Wallet.objects.create(user=user, credits=1_000_000)
        sys.stdout.write(f"{Token.objects.create(user=user).key}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
