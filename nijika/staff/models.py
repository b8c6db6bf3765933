"""What staff did. A trigger refuses UPDATE and DELETE."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now


class Action(models.Model):
    """One deed of one person on one thing.

    It holds no e-mail and nothing secret: people are named by their ids, so that an
    erased account stays erased. `user` is whom it concerns, if anybody.
    """

    at = models.DateTimeField(db_default=Now())
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        related_name="+",
        db_index=False,
    )
    action = models.CharField(max_length=60)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        db_index=False,
    )
    subject = models.CharField(max_length=80, blank=True)
    reason = models.CharField(max_length=300, blank=True)
    details = models.JSONField(default=dict, blank=True)
    address = models.GenericIPAddressField(null=True, blank=True)
    request_id = models.CharField(max_length=64, blank=True)
    # Of a form that is sent twice, the deed is written once.
    once = models.UUIDField(null=True, blank=True, unique=True)

    class Meta:
        verbose_name = "staff action"
        indexes = [
            models.Index(fields=["actor", "-id"], name="action_by"),
            models.Index(fields=["user", "-id"], name="action_on"),
            models.Index(fields=["subject", "-id"], name="action_subject"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.subject}"
