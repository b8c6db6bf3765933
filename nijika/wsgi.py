"""Django's ordinary WSGI handler: what the front calls, and any WSGI server may."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "nijika.settings")
application = get_wsgi_application()
