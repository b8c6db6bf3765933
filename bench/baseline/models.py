import uuid

from django.conf import settings
from django.db import models


class Wallet(models.Model):
    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.PROTECT)
    credits = models.DecimalField(max_digits=16, decimal_places=4, default=0)


class Job(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT)
    status = models.CharField(max_length=12, default="queued")
    operation = models.CharField(max_length=40)
    parameters = models.JSONField(default=dict)
    metadata = models.JSONField(default=dict)
    price = models.DecimalField(max_digits=16, decimal_places=4)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(fields=["user", "-created_at"], name="job_list")]

    def __str__(self) -> str:
        return f"{self.operation} {self.id}"


class Entry(models.Model):
    wallet = models.ForeignKey(Wallet, on_delete=models.PROTECT)
    job = models.OneToOneField(Job, on_delete=models.PROTECT)
    amount = models.DecimalField(max_digits=16, decimal_places=4)
    balance_after = models.DecimalField(max_digits=16, decimal_places=4)
    created_at = models.DateTimeField(auto_now_add=True)


class Result(models.Model):
    job = models.OneToOneField(Job, on_delete=models.CASCADE)
    content_type = models.CharField(max_length=80)
    size_bytes = models.IntegerField()
    created_at = models.DateTimeField(auto_now_add=True)
