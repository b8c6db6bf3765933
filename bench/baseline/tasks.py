import time

from celery import shared_task
from django.db import transaction
from django.utils import timezone

from bench.baseline.models import Job, Result


@shared_task
def run_job(job_id: str) -> None:
    job = Job.objects.get(pk=job_id)
    job.status, job.started_at = "running", timezone.now()
    job.save(update_fields=["status", "started_at"])
    if job.operation == "sleep":
        time.sleep(0.05)
    with transaction.atomic():
        Result.objects.create(job=job, content_type="image/png", size_bytes=68)
        job.status, job.ended_at = "succeeded", timezone.now()
        job.save(update_fields=["status", "ended_at"])
