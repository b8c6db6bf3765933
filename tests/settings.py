from nijika.settings import *  # noqa: F403
from nijika.settings import DATABASES

DATABASES["default"]["CONN_HEALTH_CHECKS"] = False
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
