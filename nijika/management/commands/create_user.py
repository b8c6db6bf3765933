from argparse import ArgumentParser, ArgumentTypeError
from decimal import Decimal, InvalidOperation
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.core.validators import validate_email
from django.db import IntegrityError

from accounts import joining
from accounts.models import User
from billing import ledger


class Command(BaseCommand):
    help = "Make a user, with the welcome grant or with exactly the credits given."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("email", type=_email)
        parser.add_argument("--credits", type=_credits)
        parser.add_argument("--role", choices=User.Role.values, default=User.Role.USER)

    def handle(
        self, *, email: str, credits: Decimal | None, role: str, **_: Any
    ) -> None:
        try:
            user = joining.join(email, role=role, credits=credits)
        except IntegrityError as error:
            raise CommandError(f"There is already a user {email}.") from error
        self.stdout.write(f"Made the {user.role} {user.email}.")


def _email(text: str) -> str:
    try:
        validate_email(text)
    except ValidationError as error:
        raise ArgumentTypeError(f"{text!r} is no e-mail address") from error
    return text


def _credits(text: str) -> Decimal:
    try:
        credits = Decimal(text)
        if 0 <= credits <= ledger.MOST and credits == credits.quantize(
            Decimal("0.0001")
        ):
            return credits
    except InvalidOperation:
        pass
    raise ArgumentTypeError(f"{text!r} is no amount of credits, like 12.5")
