"""Credits: a wallet per user, the entries that explain it, and the prices.

`billing.ledger` is the only writer of Wallet and Entry. A trigger refuses UPDATE and
DELETE of entries.
"""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from billing.fields import Credits


class Wallet(models.Model):
    """What a user may spend, and what is set aside for unfinished jobs."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="wallet"
    )
    available = Credits(default=0)
    held = Credits(default=0)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(available__gte=0), name="wallet_available_not_negative"
            ),
            models.CheckConstraint(
                condition=Q(held__gte=0), name="wallet_held_not_negative"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.available} available, {self.held} held"


class Entry(models.Model):
    """One movement of credits. `amount` changes `available`, `held_amount` `held`."""

    class Kind(models.TextChoices):
        GRANT = "grant"
        PURCHASE = "purchase"
        HOLD = "hold"
        SETTLE = "settle"
        ADJUSTMENT = "adjustment"
        REFUND = "refund"

    wallet = models.ForeignKey(Wallet, on_delete=models.PROTECT, related_name="entries")
    kind = models.CharField(max_length=16, choices=Kind)
    amount = Credits()
    held_amount = Credits(default=0)
    available_after = Credits()
    held_after = Credits()
    reference = models.CharField(max_length=100)
    settles = models.OneToOneField(
        "self",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="settled_by",
    )
    note = models.CharField(max_length=300, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
    )
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name_plural = "entries"
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "reference"], name="entry_once_per_kind_and_reference"
            ),
            models.CheckConstraint(
                condition=Q(kind="settle") & Q(settles__isnull=False)
                | ~Q(kind="settle") & Q(settles__isnull=True),
                name="entry_settles_iff_settle",
            ),
            models.CheckConstraint(
                condition=~Q(kind="hold") | Q(amount__lte=0, held_amount=-F("amount")),
                name="entry_hold_moves_to_held",
            ),
            models.CheckConstraint(
                condition=~Q(kind="settle")
                | Q(amount__gte=0, held_amount__lte=0, amount__lte=-F("held_amount")),
                name="entry_settle_gives_back_at_most_the_hold",
            ),
        ]
        indexes = [models.Index(fields=["wallet", "-id"], name="entry_statement")]

    def __str__(self) -> str:
        return f"{self.kind} {self.reference}"


class Price(models.Model):
    """What one job of an operation costs; a row that names an engine goes first, and
    for jobs with an own key a row that is for those."""

    operation = models.CharField(max_length=40)
    engine = models.CharField(max_length=80, blank=True)
    # For jobs that their owner pays at the provider with a key of their own.
    own_key = models.BooleanField(default=False, db_default=False)
    credits = Credits()
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["operation", "engine", "own_key"],
                name="price_once_per_operation_engine_and_key",
            ),
            models.CheckConstraint(
                condition=Q(credits__gte=0), name="price_not_negative"
            ),
        ]

    def __str__(self) -> str:
        engine = self.engine or "(any engine)"
        key = " with an own key" if self.own_key else ""
        return f"{self.operation} {engine}{key}: {self.credits}"


class LedgerCheck(models.Model):
    """One comparison of the wallets with their entries and jobs (`billing.checks`)."""

    at = models.DateTimeField(db_default=Now())
    differences = models.IntegerField()
    examples = models.JSONField(default=list)
    entries = models.BigIntegerField()
    seconds = models.FloatField()

    def __str__(self) -> str:
        return f"{self.differences} differences"
