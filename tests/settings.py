from nijika.settings import *  # noqa: F403
from nijika.settings import DATABASES

DATABASES["default"]["CONN_HEALTH_CHECKS"] = False
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# Else every client of a test lists all static files at its first request.
WHITENOISE_AUTOREFRESH = True
