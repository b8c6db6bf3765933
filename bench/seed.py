"""Make the prices of the bench's engines and `count` users; prints their keys."""

import os
import sys
from decimal import Decimal

import django


def main(count: int) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "nijika.settings")
    django.setup()
    from accounts import keys
    from accounts.models import ApiKey, User
    from bench.engines import PARK
    from billing import ledger
    from billing.models import Price
    from jobs import engines

    engines.announce([PARK])
    for operation in ("noop", "single", "sleep", "park"):
        Price.objects.update_or_create(
            operation=operation, engine="", defaults={"credits": Decimal("0.01")}
        )
    for number in range(count):
        user = User.objects.create_user(f"bench{number}@example.org")
        ledger.welcome(user.pk, Decimal(1_000_000))
        key = keys.make(test=False)
        ApiKey.objects.create(user=user, digest=key.digest, prefix=key.prefix)
        sys.stdout.write(f"{key.secret}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
