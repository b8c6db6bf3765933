from decimal import Decimal
from functools import partial

from django.db import transaction
from rest_framework import serializers, status
from rest_framework.generics import RetrieveAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from bench.baseline.models import Entry, Job, Wallet
from bench.baseline.tasks import run_job

PRICE = Decimal("0.0100")


class SubmitJob(serializers.Serializer):
    operation = serializers.ChoiceField(["noop", "single", "sleep", "park"])
    parameters = serializers.JSONField(default=dict)
    metadata = serializers.JSONField(default=dict)


class JobView(serializers.ModelSerializer):
    class Meta:
        model = Job
        fields = [
            "id",
            "status",
            "operation",
            "parameters",
            "metadata",
            "price",
            "created_at",
            "started_at",
            "ended_at",
        ]


class JobList(APIView):
    def post(self, request: Request) -> Response:
        body = SubmitJob(data=request.data)
        body.is_valid(raise_exception=True)
        job = submit(request.user, **body.validated_data)
        if job is None:
            return Response(
                {"code": "insufficient_credits"},
                status=status.HTTP_402_PAYMENT_REQUIRED,
            )
        return Response(JobView(job).data, status=status.HTTP_202_ACCEPTED)


class JobDetail(RetrieveAPIView):
    serializer_class = JobView

    def get_queryset(self):
        return Job.objects.filter(user=self.request.user)


@transaction.atomic
def submit(user, **asked) -> Job | None:
    wallet = Wallet.objects.select_for_update().get(user=user)
    if wallet.credits < PRICE:
        return None
    wallet.credits -= PRICE
    wallet.save(update_fields=["credits"])
    job = Job.objects.create(user=user, price=PRICE, **asked)
    Entry.objects.create(
        wallet=wallet, job=job, amount=-PRICE, balance_after=wallet.credits
    )
    # Nobody serves the other queue: its jobs are accepted and wait.
    queue = "nowhere" if job.operation == "park" else "celery"
    transaction.on_commit(partial(run_job.apply_async, [str(job.id)], queue=queue))
    return job
