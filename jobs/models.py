"""The rows that a job lives in. `jobs.lifecycle` is the only writer of `Job.status`.

Times are the database's. Guards that must hold whatever the code does are constraints
here, named for their promise.
"""

from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q, Value
from django.db.models.functions import Now

from billing.fields import Credits
from jobs.ids import new_id

UNFINISHED = Q(status__in=["queued", "running"])
IN_FLIGHT = Q(status="running") | Q(status="queued", dispatched_at__isnull=False)
ENDS = ["succeeded", "failed", "cancelled"]


class Job(models.Model):
    """One request for one result. Born queued by `jobs.submission`."""

    class Status(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        CANCELLED = "cancelled"

    id = models.UUIDField(primary_key=True, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="jobs"
    )
    test = models.BooleanField(default=False)
    status = models.CharField(max_length=12, choices=Status)
    created_at = models.DateTimeField(db_default=Now())

    # What is asked for
    operation = models.CharField(max_length=40)
    engine = models.CharField(max_length=80)
    queue = models.CharField(max_length=40)
    parameters = models.JSONField(default=dict)
    # [{operation, parameters}]: what follows, in the same run
    then = models.JSONField(default=list, db_default=Value([], models.JSONField()))
    metadata = models.JSONField(default=dict)
    # [{role, key, url, content_type, size_bytes, width_px, height_px, sha256}]
    inputs = models.JSONField(default=list)
    waiting_fetches = models.SmallIntegerField(default=0)
    request_id = models.CharField(max_length=64, blank=True)
    retry_of = models.UUIDField(null=True, blank=True)
    batch = models.ForeignKey(
        "Batch",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="jobs",
        db_index=False,
    )
    batch_index = models.SmallIntegerField(null=True, blank=True)
    webhook_url = models.CharField(
        max_length=2048, blank=True, default="", db_default=""
    )
    price = Credits()
    charged = Credits(default=0)
    # Paid at the provider with a key of the owner's: it is kept sealed to the workers
    # (`jobs.requests.sealing`) until the job ends, and not a moment longer.
    own_key = models.BooleanField(default=False, db_default=False)
    sealed_key = models.TextField(null=True, blank=True)  # noqa: DJ001

    # The run: `attempt` is a fencing number that never falls. No claim is not an empty
    # one: NULL matches nobody's.
    attempt = models.IntegerField(default=0)
    claim = models.CharField(max_length=40, null=True, blank=True)  # noqa: DJ001
    worker = models.CharField(max_length=80, blank=True)
    incarnation = models.BigIntegerField(null=True, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    run_limit_s = models.FloatField(default=60)
    started_at = models.DateTimeField(null=True, blank=True)
    progress = models.JSONField(null=True, blank=True)
    checkpoint = models.TextField(null=True, blank=True)  # noqa: DJ001

    # Waiting and failing
    position = models.IntegerField(null=True, blank=True)
    not_before = models.DateTimeField(null=True, blank=True)
    start_by = models.DateTimeField()
    give_up_at = models.DateTimeField()
    dispatched_at = models.DateTimeField(null=True, blank=True)
    dispatches = models.SmallIntegerField(default=0)
    message = models.UUIDField(null=True, blank=True)
    failures = models.SmallIntegerField(default=0)
    losses = models.SmallIntegerField(default=0)
    hand_backs = models.SmallIntegerField(default=0)
    alone = models.BooleanField(default=False)

    # The end
    ended_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    erased_at = models.DateTimeField(null=True, blank=True)
    error = models.JSONField(null=True, blank=True)
    result_prefix = models.CharField(max_length=200, blank=True)
    # [{index, key, content_type, width_px, height_px, size_bytes, sha256, details}]
    results = models.JSONField(default=list)
    engine_ms = models.IntegerField(null=True, blank=True)
    # {"read_ms": 3, …}: what the run's time went into, as its worker saw it
    stages = models.JSONField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=ENDS, ended_at__isnull=False)
                | Q(UNFINISHED, ended_at__isnull=True),
                name="job_ended_iff_ended_at",
            ),
            models.CheckConstraint(
                condition=~Q(status="running")
                | Q(
                    claim__isnull=False,
                    lease_until__isnull=False,
                    started_at__isnull=False,
                ),
                name="job_running_has_claim_and_lease",
            ),
            models.CheckConstraint(
                condition=Q(charged=0)
                | Q(status="succeeded", charged__lte=models.F("price")),
                name="job_charged_only_for_success",
            ),
            models.CheckConstraint(
                condition=Q(sealed_key__isnull=True) | Q(UNFINISHED, own_key=True),
                name="job_keeps_no_key_after_its_end",
            ),
        ]
        indexes = [
            models.Index(
                fields=["user", "test", "-created_at", "-id"], name="job_list"
            ),
            models.Index(
                fields=["user"],
                condition=Q(erased_at__isnull=True),
                name="job_with_files",
            ),
            models.Index(
                fields=["user", "test", "status", "-created_at", "-id"],
                name="job_list_status",
            ),
            models.Index(
                fields=["user", "test", "operation", "-created_at", "-id"],
                name="job_list_operation",
            ),
            models.Index(
                fields=["batch", "batch_index"],
                condition=Q(batch__isnull=False),
                name="job_of_batch",
            ),
            models.Index(
                fields=["queue", "user", "id"],
                condition=Q(
                    status="queued", dispatched_at__isnull=True, waiting_fetches=0
                ),
                name="job_waiting",
            ),
            models.Index(
                fields=["queue", "user", "id"],
                condition=Q(
                    status="queued",
                    dispatched_at__isnull=True,
                    waiting_fetches=0,
                    test=True,
                ),
                name="job_waiting_test",
            ),
            models.Index(
                fields=["queue", "user", "message"],
                condition=IN_FLIGHT,
                name="job_in_flight",
            ),
            models.Index(
                fields=["lease_until"],
                condition=Q(status="running"),
                name="job_leases",
            ),
            models.Index(
                fields=["start_by"],
                condition=Q(status="queued"),
                name="job_start_by",
            ),
            models.Index(
                fields=["give_up_at"], condition=UNFINISHED, name="job_give_up"
            ),
            models.Index(
                fields=["worker"],
                condition=Q(status="running"),
                name="job_by_worker",
            ),
            models.Index(
                fields=["expires_at"],
                condition=Q(status__in=ENDS, erased_at__isnull=True),
                name="job_expiry",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.operation} {self.id}"


class JobEvent(models.Model):
    """What happened to a job, in order. The end happens once."""

    class Type(models.TextChoices):
        QUEUED = "queued"
        STARTED = "started"
        REQUEUED = "requeued"
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        CANCELLED = "cancelled"
        ERASED = "erased"

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="events")
    type = models.CharField(max_length=12, choices=Type)
    attempt = models.IntegerField(default=0)
    # Why a job was requeued or failed, as a code; never a worker's traceback.
    reason = models.CharField(max_length=60, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["job"], condition=Q(type__in=ENDS), name="job_ends_once"
            ),
        ]
        indexes = [models.Index(fields=["job", "id"], name="event_of_job")]

    def __str__(self) -> str:
        return f"{self.type} {self.job_id}"


class IdempotencyKey(models.Model):
    """What a client's `Idempotency-Key` made, per (user, mode, key)."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    test = models.BooleanField(default=False)
    key = models.CharField(max_length=255)
    digest = models.CharField(max_length=64)
    made = models.UUIDField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["user", "test", "key"], name="made_once_per_idempotency_key"
            ),
        ]
        indexes = [models.Index(fields=["created_at"], name="idempotency_age")]

    def __str__(self) -> str:
        return self.key


class Batch(models.Model):
    """Jobs that were accepted together, each with a hold and an end of its own.

    `jobs.batches` makes it; its control loop sets `completed_at`, once, when the last
    of its jobs has ended.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="batches"
    )
    test = models.BooleanField(default=False)
    size = models.SmallIntegerField()
    metadata = models.JSONField(default=dict)
    request_id = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    completed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "batches"
        indexes = [
            models.Index(
                fields=["user", "test", "-created_at", "-id"], name="batch_list"
            ),
            models.Index(
                fields=["created_at"],
                condition=Q(completed_at__isnull=True),
                name="batch_open",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.size} jobs, {self.id}"


class Upload(models.Model):
    """A file that its owner sends before the job that uses it (`jobs.files.uploads`).

    `content_type` and `size_bytes` are what was announced and what the file must have.
    With `ready_at` it is there, under `key`; what follows from it is in the columns
    behind.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="uploads"
    )
    test = models.BooleanField(default=False)
    content_type = models.CharField(max_length=40)
    size_bytes = models.BigIntegerField()
    created_at = models.DateTimeField(db_default=Now())
    send_by = models.DateTimeField()
    expires_at = models.DateTimeField()
    ready_at = models.DateTimeField(null=True, blank=True)
    key = models.CharField(max_length=200, blank=True)
    width_px = models.IntegerField(default=0)
    height_px = models.IntegerField(default=0)
    sha256 = models.CharField(max_length=64, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(ready_at__isnull=True, key="")
                | Q(ready_at__isnull=False) & ~Q(key=""),
                name="upload_ready_iff_file",
            ),
        ]
        indexes = [
            models.Index(fields=["user", "expires_at"], name="upload_of_user"),
            models.Index(fields=["expires_at"], name="upload_expiry"),
        ]

    def __str__(self) -> str:
        return f"{self.content_type} {self.id}"


class Pin(models.Model):
    """A job whose input is another job's file, which stays until this job ends."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="pins")
    source = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="pinned_by")

    def __str__(self) -> str:
        return f"{self.source_id} for {self.job_id}"


class Fetch(models.Model):
    """A URL input that `jobs.sources` has still to fetch; gone when it has."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="fetches")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    position = models.SmallIntegerField()
    url = models.TextField()
    host = models.CharField(max_length=255)
    tries = models.SmallIntegerField(default=0)
    claim = models.UUIDField(null=True)
    lease_until = models.DateTimeField(null=True)
    not_before = models.DateTimeField(db_default=Now())
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["job", "position"], name="fetch_once_per_input"
            ),
        ]
        indexes = [models.Index(fields=["user", "id"], name="fetch_by_user")]

    def __str__(self) -> str:
        return f"{self.host} for {self.job_id}"


class Worker(models.Model):
    """A GPU worker process as its last link call described it."""

    name = models.CharField(max_length=80, primary_key=True)
    incarnation = models.BigIntegerField()
    call = models.BigIntegerField(default=0)
    queue = models.CharField(max_length=40)
    slots = models.SmallIntegerField()
    free_slots = models.SmallIntegerField()
    specs_digest = models.CharField(max_length=16, blank=True)
    # [{operation, engine, state, message}]: engines on devices, as it last told
    states = models.JSONField(default=list, db_default=Value([], models.JSONField()))
    # ["operation/engine"]: which of them are to free their device
    unload = models.JSONField(default=list, db_default=Value([], models.JSONField()))
    started_at = models.DateTimeField(db_default=Now())
    seen_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return self.name


class ControlSign(models.Model):
    """When a loop of control last turned; `jobs.upkeep.control_signs` writes it."""

    loop = models.CharField(max_length=60, primary_key=True)
    seen_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return str(self.pk)


class Engine(models.Model):
    """An engine for an operation, as a worker announced it; kept when none is up."""

    operation = models.CharField(max_length=40)
    name = models.CharField(max_length=80)
    queue = models.CharField(max_length=40)
    spec = models.JSONField()
    announced_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["operation", "name"], name="engine_once_per_operation"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.operation}/{self.name}"


class EnginePace(models.Model):
    """How long an engine's runs of one size take, as workers measured it; a running
    mean over all of them. `share_ms` is a job's part of a run that several shared."""

    operation = models.CharField(max_length=40)
    engine = models.CharField(max_length=80)
    size_mp = models.SmallIntegerField()
    run_ms = models.IntegerField()
    share_ms = models.IntegerField()
    measured_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["operation", "engine", "size_mp"], name="pace_once_per_size"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.operation}/{self.engine} to {self.size_mp} MP"


class KeptReport(models.Model):
    """A report that the database refused, kept for a person to look at."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="kept_reports")
    report = models.TextField()
    reason = models.TextField()
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"{self.job_id}: {self.reason}"


class Rendition(models.Model):
    """A picture made on the fly, or being made; `jobs.onthefly.renditions` writes it.

    The table is a cache's index: it is not logged, and empty after a crash of the
    server. `file` is where it lies, '' until it is there; `claim` is its maker's.
    """

    key = models.CharField(max_length=64, primary_key=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+"
    )
    # The jobs whose files it and its watermark are made of.
    source_job = models.UUIDField(null=True, blank=True, db_index=True)
    mark_job = models.UUIDField(null=True, blank=True, db_index=True)
    claim = models.UUIDField(null=True, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    file = models.CharField(max_length=200, blank=True, default="", db_default="")
    content_type = models.CharField(max_length=40, default="", db_default="")
    size_bytes = models.BigIntegerField(default=0, db_default=0)
    sha256 = models.CharField(max_length=64, default="", db_default="")
    made_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField(null=True, blank=True, db_index=True)

    class Meta:
        indexes = [models.Index(fields=["made_at"], name="rendition_by_age")]

    def __str__(self) -> str:
        return str(self.pk)


class RenditionUse(models.Model):
    """How many pictures an account had on a day: made anew, and served as they were."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+"
    )
    day = models.DateField()
    made = models.BigIntegerField(default=0, db_default=0)
    served = models.BigIntegerField(default=0, db_default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "day"], name="use_once_per_day"),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} on {self.day}"


class WebhookEndpoint(models.Model):
    """Where an account wants to hear of some types of events, in one mode.

    It holds no secret: that follows from the row's id, its generation and the server's
    own secret (`jobs.webhooks.signing`). `lane` is what its deliveries queue in.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+"
    )
    test = models.BooleanField(default=False)
    url = models.CharField(max_length=2048)
    description = models.CharField(max_length=200, blank=True, default="")
    events = ArrayField(models.CharField(max_length=40))
    generation = models.PositiveIntegerField(default=1)
    rotated_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    disabled_at = models.DateTimeField(null=True, blank=True)
    # Why it is off: `gone` (it answered 410), `owner` or `staff`.
    disabled_by = models.CharField(max_length=10, blank=True, default="")
    # When its owner was told that credits are low; empty while they are not.
    told_low_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [models.Index(fields=["user", "test", "id"], name="endpoint_of")]

    def __str__(self) -> str:
        return self.url


class WebhookSecret(models.Model):
    """Which secret signs what goes to the `webhook_url` of an account's jobs."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+"
    )
    test = models.BooleanField(default=False)
    generation = models.PositiveIntegerField(default=1)
    rotated_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["user", "test"], name="webhook_secret_once_per_mode"
            ),
        ]

    def __str__(self) -> str:
        return f"of {self.user_id}"


class WebhookDelivery(models.Model):
    """One event for one receiver. `jobs.webhooks.recording` makes them, in the
    transaction of what they tell; `jobs.webhooks.delivering` changes them.

    Its columns are no foreign keys: whoever ends a job must not wait for a row of its
    owner's endpoints. A delivery without an endpoint goes to the job's own address.
    """

    class Status(models.TextChoices):
        PENDING = "pending"
        DELIVERED = "delivered"
        FAILED = "failed"

    id = models.UUIDField(primary_key=True, editable=False)
    event_id = models.UUIDField()
    type = models.CharField(max_length=40)
    user_id = models.BigIntegerField()
    test = models.BooleanField()
    job_id = models.UUIDField(null=True, blank=True)
    endpoint_id = models.UUIDField(null=True, blank=True)
    url = models.CharField(max_length=2048, blank=True, db_default="")
    lane = models.CharField(max_length=320)
    data = models.JSONField(null=True, blank=True)
    status = models.CharField(max_length=10, choices=Status, db_default="pending")
    created_at = models.DateTimeField(db_default=Now())
    # When the next try is due, and until when trying makes sense.
    next_at = models.DateTimeField(db_default=Now())
    give_up_at = models.DateTimeField()
    # Tries of this round, which a replay begins anew; and of all.
    tries = models.SmallIntegerField(db_default=0)
    attempts = models.IntegerField(db_default=0)
    claim = models.UUIDField(null=True, blank=True)
    claimed_at = models.DateTimeField(null=True, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "webhook deliveries"
        constraints = [
            models.CheckConstraint(
                condition=Q(status="pending", ended_at__isnull=True)
                | ~Q(status="pending") & Q(ended_at__isnull=False),
                name="delivery_ended_iff_ended_at",
            ),
        ]
        indexes = [
            models.Index(
                fields=["lane", "next_at"],
                condition=Q(status="pending"),
                name="delivery_waiting",
            ),
            models.Index(
                fields=["lease_until"],
                condition=Q(lease_until__isnull=False),
                name="delivery_busy",
            ),
            models.Index(
                fields=["give_up_at"],
                condition=Q(status="pending"),
                name="delivery_give_up",
            ),
            models.Index(
                fields=["user_id", "test", "-created_at", "-id"], name="delivery_list"
            ),
            models.Index(
                fields=["endpoint_id", "-created_at", "-id"], name="delivery_of"
            ),
            models.Index(
                fields=["ended_at"],
                condition=Q(ended_at__isnull=False),
                name="delivery_age",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.id}"


class WebhookAttempt(models.Model):
    """What came of one try: the answer's status and first bytes, or why none came."""

    delivery = models.ForeignKey(
        WebhookDelivery, on_delete=models.CASCADE, related_name="log"
    )
    number = models.IntegerField()
    at = models.DateTimeField(db_default=Now())
    status = models.SmallIntegerField(null=True, blank=True)
    error = models.CharField(max_length=200, blank=True)
    milliseconds = models.IntegerField()
    answer = models.TextField(blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["delivery", "number"], name="attempt_once_per_number"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.number} of {self.delivery_id}"


class WebhookLane(models.Model):
    """How a receiver has answered lately. While its circuit is open (`open_until`)
    nothing is sent to it; a lane without failures is proven."""

    lane = models.CharField(max_length=320, primary_key=True)
    failures = models.IntegerField(db_default=0)
    open_until = models.DateTimeField(null=True, blank=True)
    changed_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return self.lane
