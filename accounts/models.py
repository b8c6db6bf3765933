"""Who is calling. Passwords are for staff; customers sign in through providers."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib.auth.models import (
    AbstractBaseUser,
    BaseUserManager,
    PermissionsMixin,
)
from django.contrib.postgres.functions import RandomUUID
from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower

from accounts.sessions import SessionStore

SUSPEND = "accounts.suspend_user"
"""The permission to suspend people who are no staff, and to end that."""


class UserManager(BaseUserManager["User"]):
    def create_user(self, email: str, password: str | None = None) -> User:
        user = self.model(email=self.normalize_email(email))
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None) -> User:
        user = self.create_user(email, password)
        user.is_superuser = True
        user.role = User.Role.ADMIN
        user.save(using=self._db)
        return user

    def get_by_natural_key(self, username: str | None) -> User:
        """Along the index of lower-case addresses."""
        users = self.alias(lower=Lower("email"))
        return users.get(lower=(username or "").lower())


class User(AbstractBaseUser, PermissionsMixin):
    """A person. The e-mail is unique whatever its case.

    `deleted_at`: this person has left and the row is anonymous; `erased_at`: nothing is
    left of their jobs either (`accounts.leaving`).
    """

    class Role(models.TextChoices):
        USER = "user"
        MODERATOR = "moderator"
        ADMIN = "admin"

    email = models.EmailField(max_length=254, unique=True)
    role = models.CharField(max_length=16, choices=Role, default=Role.USER)
    suspended_at = models.DateTimeField(null=True, blank=True)
    deleted_at = models.DateTimeField(null=True, blank=True, editable=False)
    erased_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    objects: ClassVar[UserManager] = UserManager()
    USERNAME_FIELD = "email"

    class Meta:
        constraints = [
            models.UniqueConstraint(Lower("email"), name="user_once_per_email"),
        ]
        # The few among the many, for the admin's lists.
        indexes = [
            models.Index(
                fields=["role", "-id"], condition=~Q(role="user"), name="user_staff"
            ),
            models.Index(
                fields=["-id"],
                condition=Q(suspended_at__isnull=False),
                name="user_suspended",
            ),
            models.Index(
                "deleted_at",
                name="user_to_erase",
                condition=models.Q(deleted_at__isnull=False, erased_at=None),
            ),
        ]

    @property
    def is_staff(self) -> bool:
        return self.is_superuser or self.role in {self.Role.MODERATOR, self.Role.ADMIN}

    def has_perm(self, perm: str, obj: object | None = None) -> bool:
        """An admin may everything, a moderator see everything and suspend."""
        if self.is_active and self.role == self.Role.ADMIN:
            return True
        if self.is_active and self.role == self.Role.MODERATOR:
            return perm == SUSPEND or perm.rpartition(".")[2].startswith("view_")
        return super().has_perm(perm, obj)  # type: ignore[arg-type]

    def has_module_perms(self, app_label: str) -> bool:
        return self.is_active and self.is_staff

    @property
    def is_active(self) -> bool:  # type: ignore[override]
        return self.suspended_at is None and self.deleted_at is None


class ApiKey(models.Model):
    """A key, of which only the digest is kept. `accounts.keys` makes and reads them.

    `public_id` is what it is called by outside (`/api/v1/keys`); it is no secret.
    `expires_at` is when it ends; `meant_until` when it was to end as it was made, for
    being replaced ends a key sooner.
    """

    public_id = models.UUIDField(unique=True, db_default=RandomUUID(), editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=100, default="default")
    digest = models.CharField(max_length=64, unique=True, editable=False)
    prefix = models.CharField(max_length=24, editable=False)
    test = models.BooleanField(default=False)
    scopes = models.JSONField(default=list, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    meant_until = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [models.Index(fields=["prefix"], name="key_by_prefix")]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"


class ImageKey(models.Model):
    """Who may sign addresses of pictures (`accounts.image_keys`). It holds no secret:
    key and salt follow from the account, the generation and the server's own secret."""

    user = models.OneToOneField(User, on_delete=models.CASCADE, related_name="+")
    account = models.CharField(max_length=16, unique=True, editable=False)
    generation = models.PositiveIntegerField(default=1, editable=False)
    rotated_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.account


class Session(AbstractBaseSession):
    """A browser that a person is signed in with, or that is about to sign in.

    `accounts.sessions` writes it.
    """

    user = models.ForeignKey(User, null=True, on_delete=models.CASCADE)

    class Meta:
        verbose_name = "session"

    @classmethod
    def get_session_store_class(cls) -> type[Any]:
        return SessionStore


class Welcomed(models.Model):
    """An account at a provider that has brought somebody their welcome credits.

    It outlives the link and the user, so that nobody is welcomed twice; only a digest
    is kept (`accounts.linking`).
    """

    digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.digest
