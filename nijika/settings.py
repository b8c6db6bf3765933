"""Settings, grouped by subject. Every value comes through `Env`; `.env.example` lists
all of them with what they mean."""

from pathlib import Path

from environ import ImproperlyConfigured

from nijika import profiles
from nijika.env import Env
from nijika.staff import look

BASE_DIR = Path(__file__).resolve().parents[1]
env = Env()
PROFILE = profiles.named(env.str("NIJIKA_PROFILE", "default"))

# The program
DEBUG = env.bool("NIJIKA_DEBUG", False)
SECRET_KEY = env.str("NIJIKA_SECRET_KEY")
PUBLIC_URL = env.str("NIJIKA_PUBLIC_URL", "http://127.0.0.1:8000").rstrip("/")
ALLOWED_HOSTS = env.list("NIJIKA_ALLOWED_HOSTS", default=["*"])
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]
ROOT_URLCONF = "nijika.urls"
WSGI_APPLICATION = "nijika.wsgi.application"
USE_TZ = True
TIME_ZONE = "UTC"
USE_I18N = False
APPEND_SLASH = False
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_USER_MODEL = "accounts.User"
INSTALLED_APPS = [
    "nijika.staff.apps.StaffConfig",
    "unfold.apps.BasicAppConfig",
    "unfold.contrib.filters",
    "unfold.contrib.forms",
    "nijika.staff.apps.StaffAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_htmx",
    "allauth",
    "accounts.allauth_apps.Account",
    "allauth.socialaccount",
    "drf_spectacular_sidecar",
    "nijika",
    "accounts",
    "billing",
    "jobs",
]
MIDDLEWARE = [
    "nijika.middleware.RequestMiddleware",
    "nijika.rate_limits.RateLimits",
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "nijika.pages.StaticFiles",
    "nijika.pages.Sessions",
    "nijika.pages.Csrf",
    "nijika.pages.Users",
    "nijika.pages.Messages",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# Signing in (accounts.signing_in) with GitHub or GitLab; one without an id is not
# offered. An account there must be so many calendar months old; 0 is no rule.
GITHUB_URL = env.str("NIJIKA_GITHUB_URL", "https://github.com").rstrip("/")
GITHUB_CLIENT_ID = env.str("NIJIKA_GITHUB_CLIENT_ID", "")
GITHUB_CLIENT_SECRET = env.str("NIJIKA_GITHUB_CLIENT_SECRET", "")
GITLAB_URL = env.str("NIJIKA_GITLAB_URL", "https://gitlab.com").rstrip("/")
GITLAB_CLIENT_ID = env.str("NIJIKA_GITLAB_CLIENT_ID", "")
GITLAB_CLIENT_SECRET = env.str("NIJIKA_GITLAB_CLIENT_SECRET", "")
PROVIDER_ACCOUNT_MONTHS = env.int("NIJIKA_PROVIDER_ACCOUNT_MONTHS", 1)
# A provider that lets anybody in, for a developer's own machine (nijika.local).
DEVELOPMENT_SIGN_IN = env.str("NIJIKA_DEVELOPMENT_SIGN_IN", "").rstrip("/")
if DEVELOPMENT_SIGN_IN and not DEBUG:
    raise ImproperlyConfigured("NIJIKA_DEVELOPMENT_SIGN_IN needs NIJIKA_DEBUG=true")
LOGIN_URL = "/sign-in"
LOGIN_REDIRECT_URL = "/dashboard"
SOCIALACCOUNT_ADAPTER = "accounts.adapters.SocialAccounts"
SOCIALACCOUNT_ONLY = True
SOCIALACCOUNT_EMAIL_VERIFICATION = ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*"]

# Sessions are rows of accounts.Session. Cookies travel over HTTPS only, unless the
# public URL is plain HTTP: that is somebody's own machine.
IS_HTTPS = PUBLIC_URL.startswith("https://")
SESSION_ENGINE = "accounts.sessions"
SESSION_COOKIE_AGE = int(env.seconds("NIJIKA_SESSION_AGE", "14d"))
SESSION_COOKIE_NAME = "__Host-session" if IS_HTTPS else "session"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = IS_HTTPS
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"
SECURE_HSTS_SECONDS = 31_536_000 if IS_HTTPS else 0

STATIC_URL = "/static/"
# From the packages themselves, or where `collectstatic` has gathered them.
WHITENOISE_USE_FINDERS = env.bool("NIJIKA_STATIC_FROM_SOURCE", True)
STATIC_ROOT = None if WHITENOISE_USE_FINDERS else BASE_DIR / "static"
UNFOLD = look.UNFOLD
FORMAT_MODULE_PATH = "nijika.staff.formats"

# The database. Threads hold their connections; `lock_timeout` bounds every wait for a
# row, so that one locked wallet is an error for its owner and not a stall for others.
# Prepared plans and foreign-key checks are planned once per session: made while a table
# is nearly empty they would scan it for ever (32 holds: 34 ms instead of 1), so scans
# are made dear; the cost of one that must be is then no reason for compiling.
DATABASES = {"default": env.database("DATABASE_URL")}
DATABASES["default"] |= {
    "ENGINE": "nijika.postgres",
    "CONN_MAX_AGE": None,
    "CONN_HEALTH_CHECKS": True,
    "OPTIONS": {
        # What the address itself asks for, as in `?sslmode=verify-full`.
        **DATABASES["default"].get("OPTIONS", {}),
        "connect_timeout": 3,
        # Our raw statements are prepared; Django's own never are, whatever this says.
        "prepare_threshold": 5,
        "application_name": env.str("NIJIKA_PROCESS", "nijika"),
        "options": "-c lock_timeout=2s -c statement_timeout=30s"
        " -c idle_in_transaction_session_timeout=30s"
        " -c plan_cache_mode=force_generic_plan"
        " -c enable_seqscan=off -c jit=off",
    },
}

# The server itself, where DATABASE_URL names a pooler (jobs.database.unpooled).
UNPOOLED_DATABASE_URL = env.str("NIJIKA_UNPOOLED_DATABASE_URL", "")

# Redis: Celery's broker and a cache. Nothing in it is needed to keep a promise.
REDIS_URL = env.redis("REDIS_URL")
BROKER_URL = env.redis("NIJIKA_BROKER_URL", REDIS_URL)
BROKER_PREFIX = env.str("NIJIKA_BROKER_PREFIX", "nijika:")

# How often may be asked (nijika.rate_limits): `50/s:100` is 50 a second, 100 at once.
RATE_LIMITS = env.bool("NIJIKA_RATE_LIMITS", True)
RATE_PER_KEY = env.str("NIJIKA_RATE_PER_KEY", "50/s:100")
RATE_PER_ADDRESS = env.str("NIJIKA_RATE_PER_ADDRESS", "5/s:10")
RATE_EDITS = env.str("NIJIKA_RATE_EDITS", "100/h")
RATE_HEALTH = env.str("NIJIKA_RATE_HEALTH", "100/s")
RATE_SIGN_IN = env.str("NIJIKA_RATE_SIGN_IN", "20/m")
RATE_PER_PERSON = env.str("NIJIKA_RATE_PER_PERSON", "5/s:50")
# Whom to believe about a client's address (nijika.client_address).
METRICS_TOKEN = env.str("NIJIKA_METRICS_TOKEN", "")
METRICS_NETWORKS = env.list("NIJIKA_METRICS_NETWORKS", default=["127.0.0.0/8", "::1"])
TRUSTED_PROXIES = env.int("NIJIKA_TRUSTED_PROXIES", 0)
if TRUSTED_PROXIES:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
CLIENT_ADDRESS_HEADERS = env.list(
    "NIJIKA_CLIENT_ADDRESS_HEADERS", default=["X-Forwarded-For"]
)

# Browsers (nijika.cors): pages of these origins may send credentials; those of all
# others may call too, with a key in a header, unless that is switched off.
CORS_ORIGINS = env.list(
    "NIJIKA_CORS_ORIGINS", default=["http://localhost:3000", "http://127.0.0.1:3000"]
)
CORS_ANY_ORIGIN = env.bool("NIJIKA_CORS_ANY_ORIGIN", True)

# Storage: `file:///folder` or `s3://bucket/prefix`, with the usual AWS_* variables.
STORAGE_URL = env.str("NIJIKA_STORAGE_URL", f"file://{BASE_DIR}/.nijika/storage")
S3_ENDPOINT_URL = env.str("NIJIKA_S3_ENDPOINT_URL", "")
S3_PUBLIC_ENDPOINT_URL = env.str("NIJIKA_S3_PUBLIC_ENDPOINT_URL", "")
S3_REGION = env.str("NIJIKA_S3_REGION", "us-east-1")
LINK_LIFETIME = env.duration("NIJIKA_LINK_LIFETIME", "1h")

# Open event streams of an account, in each web process (jobs.following.streaming)
STREAMS_PER_ACCOUNT = env.int("NIJIKA_STREAMS_PER_ACCOUNT", 1000)

# How long the old systems' paths wait for a job, and for one that is done in a moment
FACE_EDIT_TIMEOUT_S = env.seconds("NIJIKA_FACE_EDIT_TIMEOUT", "300s")
FACE_TIMEOUT_S = env.seconds("NIJIKA_FACE_TIMEOUT", "30s")

# Credits
WELCOME_CREDITS = env.amount("NIJIKA_WELCOME_CREDITS", "50")

# Operations: the engine of an operation, unless the client names one of the others.
# What is not listed is not offered; what no worker has announced answers 503.
DEFAULT_ENGINES = env.dict(
    "NIJIKA_DEFAULT_ENGINES",
    default={
        "removebg": "classical",
        "smart-mask": "classical",
        "upscale": "classical",
        "generate": "qwen-image",
        "edit": "qwen-image-edit",
        "resize": "imaging",
        "crop": "imaging",
        "encode": "imaging",
        "extract": "imaging",
        "inpaint": "imaging",
        "canny": "imaging",
        "shadow": "imaging",
        "white-balance": "imaging",
        "compose": "imaging",
    },
)
CHOOSABLE_ENGINES = env.list("NIJIKA_CHOOSABLE_ENGINES", default=[])
# The public keys to which clients' keys of providers may be sealed; none: any that the
# workers announce (jobs.requests.sealing).
SEALING_PUBLIC_KEYS = env.list("NIJIKA_SEALING_PUBLIC_KEYS", default=[])
QUEUES = env.list("NIJIKA_QUEUES", default=["cpu"])
SCALE_TO_ZERO_QUEUES = env.list("NIJIKA_SCALE_TO_ZERO_QUEUES", default=[])

# Uploads and URL inputs
UPLOAD_LIMIT_BYTES = env.bytes_count("NIJIKA_UPLOAD_LIMIT", PROFILE.upload_limit)
JSON_LIMIT_BYTES = env.bytes_count("NIJIKA_JSON_LIMIT", PROFILE.json_limit)
IMAGE_LIMIT_PIXELS = env.int("NIJIKA_IMAGE_LIMIT_PIXELS", 50_000_000)
IMAGE_LIMIT_SIDE_PX = env.int("NIJIKA_IMAGE_LIMIT_SIDE_PX", 16_000)
FETCH_ALLOWED_HOSTS = env.list("NIJIKA_FETCH_ALLOWED_HOSTS", default=[])
FETCH_TIMEOUT_S = env.seconds("NIJIKA_FETCH_TIMEOUT", PROFILE.fetch_timeout)
FETCHES = env.int("NIJIKA_FETCHES", PROFILE.fetches)
FETCH_PER_USER = env.int("NIJIKA_FETCH_PER_USER", 4)
FETCH_PER_HOST = env.int("NIJIKA_FETCH_PER_HOST", 4)
DATA_UPLOAD_MAX_MEMORY_SIZE = None  # the front and jobs.api.parsing hold the limits
DATA_UPLOAD_MAX_NUMBER_FIELDS = 100

# Files sent before their jobs (jobs.files), and jobs sent together (jobs.batches)
UPLOAD_SEND_S = env.seconds("NIJIKA_UPLOAD_SEND", "1h")
UPLOAD_KEPT_S = env.seconds("NIJIKA_UPLOAD_KEPT", "24h")
KEYS_PER_USER = env.int("NIJIKA_KEYS_PER_USER", 100)
UNFINISHED_PER_USER = env.int("NIJIKA_UNFINISHED_PER_USER", 1000)
STORED_PER_USER_BYTES = env.bytes_count("NIJIKA_STORED_PER_USER", "50GB")
UPLOADS_PER_USER = env.int("NIJIKA_UPLOADS_PER_USER", 1000)
BATCH_LIMIT = env.int("NIJIKA_BATCH_LIMIT", 1000)

# The life of a job (jobs.lifecycle, jobs.reaping)
LEASE_S = env.seconds("NIJIKA_LEASE", "10s")
RUN_LIMIT_GRACE_S = env.seconds("NIJIKA_RUN_LIMIT_GRACE", "5s")
START_BY_S = env.seconds("NIJIKA_START_BY", "24h")
GIVE_UP_S = env.seconds("NIJIKA_GIVE_UP", "72h")
SANDBOX_UNFINISHED = env.int("NIJIKA_SANDBOX_UNFINISHED", 20)
MAX_FAILURES = env.int("NIJIKA_MAX_FAILURES", 3)
FREE_HAND_BACKS = env.int("NIJIKA_FREE_HAND_BACKS", 10)
RETRY_BACKOFF_S = env.seconds("NIJIKA_RETRY_BACKOFF", "2s")
LONGEST_RETRY_AFTER_S = env.seconds("NIJIKA_LONGEST_RETRY_AFTER", "1h")
RETENTION_S = env.seconds("NIJIKA_RETENTION", "24h")
IDEMPOTENCY_S = env.seconds("NIJIKA_IDEMPOTENCY", "48h")

# Dispatch (jobs.dispatch) and the other loops of control
REPUBLISH_AFTER_S = env.seconds("NIJIKA_REPUBLISH_AFTER", "2s")
REPUBLISH_BACKOFF_S = env.seconds("NIJIKA_REPUBLISH_BACKOFF", "30s")
# Jobs of engines that take one at a time share a message up to so much work.
MESSAGE_WORK_S = env.seconds("NIJIKA_MESSAGE_WORK", "50ms")
POLL_S = env.seconds("NIJIKA_POLL", "1s")
REAP_S = env.seconds("NIJIKA_REAP", "1s")
SWEEP_S = env.seconds("NIJIKA_SWEEP", "60s")
ORPHAN_AFTER_S = env.seconds("NIJIKA_ORPHAN_AFTER", "1h")

# Webhooks (jobs.webhooks): when a delivery is tried, each counted from the try before;
# how many are on their way at once, per control, those that take long included apart.
WEBHOOK_SCHEDULE_S = env.seconds_each(
    "NIJIKA_WEBHOOK_SCHEDULE", "0s,5s,5m,30m,2h,5h,10h,14h,20h,24h"
)
WEBHOOK_GIVE_UP_S = env.seconds("NIJIKA_WEBHOOK_GIVE_UP", "96h")
WEBHOOK_TIMEOUT_S = env.seconds("NIJIKA_WEBHOOK_TIMEOUT", "20s")
WEBHOOK_SENDERS = env.int("NIJIKA_WEBHOOK_SENDERS", 32)
WEBHOOK_SLOW_SENDERS = env.int("NIJIKA_WEBHOOK_SLOW_SENDERS", 400)
WEBHOOK_PER_ENDPOINT = env.int("NIJIKA_WEBHOOK_PER_ENDPOINT", 4)
WEBHOOK_PER_USER = env.int("NIJIKA_WEBHOOK_PER_USER", 100)
WEBHOOK_CIRCUIT_PAUSE_S = env.seconds("NIJIKA_WEBHOOK_CIRCUIT_PAUSE", "10s")
WEBHOOK_ALLOWED_HOSTS = env.list("NIJIKA_WEBHOOK_ALLOWED_HOSTS", default=[])
WEBHOOK_ENDPOINTS = env.int("NIJIKA_WEBHOOK_ENDPOINTS", 20)
WEBHOOK_LOG_S = env.seconds("NIJIKA_WEBHOOK_LOG", "14d")
CREDITS_LOW = env.amount("NIJIKA_CREDITS_LOW", "5")

# Pictures made on the fly (jobs.onthefly). No slots: none are made here.
ONTHEFLY_SLOTS = env.int("NIJIKA_ONTHEFLY_SLOTS", PROFILE.slots)
ONTHEFLY_FETCHES = env.int("NIJIKA_ONTHEFLY_FETCHES", PROFILE.fetches)
ONTHEFLY_WAITING = env.int("NIJIKA_ONTHEFLY_WAITING", 100)
ONTHEFLY_WAITING_PER_ACCOUNT = env.int("NIJIKA_ONTHEFLY_WAITING_PER_ACCOUNT", 50)
ONTHEFLY_RUN_LIMIT_S = env.seconds("NIJIKA_ONTHEFLY_RUN_LIMIT", "15s")
ONTHEFLY_MEMORY_BYTES = env.bytes_count("NIJIKA_ONTHEFLY_MEMORY", "1GB")
ONTHEFLY_TTL_S = env.seconds("NIJIKA_ONTHEFLY_TTL", "7d")
ONTHEFLY_CACHE_LIMIT_BYTES = env.bytes_count("NIJIKA_ONTHEFLY_CACHE_LIMIT", "10GB")
ONTHEFLY_PRESETS = env.dict("NIJIKA_ONTHEFLY_PRESETS", default={})
ONTHEFLY_OPTIONS = env.list("NIJIKA_ONTHEFLY_OPTIONS", default=[])
ONTHEFLY_SOURCES = env.list("NIJIKA_ONTHEFLY_SOURCES", default=[])

# The link between workers and the platform
LINK_TOKEN = env.str("NIJIKA_LINK_TOKEN")
LINK_URL = env.str("NIJIKA_LINK_URL", f"{PUBLIC_URL}/internal/link")
LINK_LISTEN = env.str("NIJIKA_LINK_LISTEN", "")
WORKER_GONE_S = env.seconds("NIJIKA_WORKER_GONE", "6s")
# The workers' own setting: runs that take longer are not claimed ahead of their turn.
CLAIM_AHEAD_S = env.seconds("NIJIKA_CLAIM_AHEAD", "2s")

# The front (nijika.asgi): threads of its lanes, and what it spools
WEB_THREADS = env.int("NIJIKA_WEB_THREADS", 4)
WEB_UPLOAD_THREADS = env.int("NIJIKA_WEB_UPLOAD_THREADS", 2)
WEB_LINK_THREADS = env.int("NIJIKA_WEB_LINK_THREADS", 2)
WEB_PROCESSES = env.int("NIJIKA_WEB_PROCESSES", 1)
WEB_WAITING = env.int("NIJIKA_WEB_WAITING", 512)
SPOOL_BUDGET_BYTES = env.bytes_count("NIJIKA_SPOOL_BUDGET", "2GB")
SPOOL_MEMORY_BYTES = env.bytes_count("NIJIKA_SPOOL_MEMORY", PROFILE.spool_memory)
SPOOL_FOLDER = env.str("NIJIKA_SPOOL_FOLDER", "")
MIN_UPLOAD_BYTES_PER_S = env.int("NIJIKA_MIN_UPLOAD_BYTES_PER_S", 2_000)
# What looks at a caller's credentials before a large body of theirs is read.
CREDENTIALS_LOOK_VALID = "accounts.authentication.credentials_look_valid"
# What knows how much may be sent to a signed address, where no key is needed.
SIGNED_BODY_LIMIT = "jobs.files.upload_links.limit_of"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {
        "handlers": ["stderr"],
        "level": env.log_level("NIJIKA_LOG_LEVEL", "INFO"),
    },
    # It logs a line for every 4xx, which are our callers' doing, not ours.
    "loggers": {"django.request": {"level": "ERROR"}},
}
