"""Webhook endpoints of a user, for whoever runs the server."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.models import User
from jobs.models import WebhookDelivery, WebhookEndpoint
from jobs.webhooks import deliveries, endpoints, events
from jobs.webhooks.deliveries import Range
from jobs.webhooks.endpoints import Change, Owner
from nijika.errors import NijikaError

LOGGED = 20
BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)


class Command(BaseCommand):
    help = "Look at a user's webhook endpoints; add, switch, rotate, ping, replay."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email")
        parser.add_argument("--test", action="store_true", help="those of test keys")
        chosen = parser.add_mutually_exclusive_group()
        chosen.add_argument("--add", metavar="URL", help="add an endpoint")
        for name, what in (
            ("secret", "show what signs for it"),
            ("rotate", "make another secret; for 24 hours both sign"),
            ("ping", "send a test event"),
            ("on", "switch it on"),
            ("off", "switch it off"),
            ("replay", "send again what failed"),
            ("log", f"show its last {LOGGED} deliveries"),
        ):
            chosen.add_argument(f"--{name}", metavar="ID", type=UUID, help=what)
        parser.add_argument(
            "--events",
            default=",".join(events.JOB_ENDS),
            metavar="TYPE,TYPE",
            help="of the endpoint that is added",
        )

    def handle(self, *, email: str, test: bool, **options: Any) -> None:
        try:
            user = User.objects.get_by_natural_key(email)
        except User.DoesNotExist as error:
            raise CommandError(f"There is no user {email}.") from error
        owner = Owner(user_id=user.pk, test=test)
        try:
            self._do(owner, options)
        except NijikaError as error:
            raise CommandError(str(error)) from error

    def _do(self, owner: Owner, options: dict[str, Any]) -> None:
        if options["add"]:
            self._add(owner, options["add"], options["events"].split(","))
        elif endpoint_id := options["secret"]:
            found = endpoints.find(owner, endpoint_id)
            self.stdout.write(endpoints.secret_of(found))
        elif endpoint_id := options["rotate"]:
            rotated = endpoints.rotate(owner, endpoint_id)
            self.stdout.write(endpoints.secret_of(rotated))
        elif endpoint_id := options["ping"]:
            self.stdout.write(str(deliveries.ping(owner, endpoint_id).pk))
        elif endpoint_id := options["replay"]:
            self._replay(owner, endpoint_id)
        elif endpoint_id := options["log"]:
            self._log(owner, endpoint_id)
        elif endpoint_id := options["on"] or options["off"]:
            enabled = options["on"] is not None
            endpoints.change(owner, endpoint_id, Change(enabled=enabled))
        else:
            for endpoint in endpoints.listed(owner):
                self.stdout.write(_line(endpoint))

    def _add(self, owner: Owner, url: str, types: list[str]) -> None:
        if unknown := sorted(set(types) - set(events.TYPES)):
            known = ", ".join(events.TYPES)
            raise CommandError(f"{', '.join(unknown)}: known are {known}.")
        made = endpoints.create(owner, url=url, events=types)
        self.stdout.write(f"{made.pk} {endpoints.secret_of(made)}")

    def _replay(self, owner: Owner, endpoint_id: UUID) -> None:
        wanted = Range(since=BEGINNING, until=datetime.now(UTC))
        number = deliveries.replay_range(owner, endpoint_id, wanted)
        self.stdout.write(f"{number} are sent again")

    def _log(self, owner: Owner, endpoint_id: UUID) -> None:
        endpoints.find(owner, endpoint_id)
        rows = deliveries.of(owner).filter(endpoint_id=endpoint_id)
        for delivery in rows.order_by("-created_at", "-id")[:LOGGED]:
            self.stdout.write(_log_line(delivery))


def _line(endpoint: WebhookEndpoint) -> str:
    state = f"off ({endpoint.disabled_by})" if endpoint.disabled_at else "on"
    return f"{endpoint.pk} {state} {endpoint.url} {','.join(endpoint.events)}"


def _log_line(delivery: WebhookDelivery) -> str:
    log = deliveries.log_of(delivery)
    tries = ", ".join(
        f"{one.status or one.error} in {one.milliseconds} ms" for one in log
    )
    return f"{delivery.pk} {delivery.type} {delivery.status}: {tries or 'not yet'}"
