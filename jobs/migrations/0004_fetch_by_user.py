"""Fetches are claimed from user to user, the oldest of each first."""

from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0003_control_signs"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]
    operations = [
        migrations.RemoveIndex(model_name="fetch", name="fetch_due"),
        migrations.AddIndex(
            model_name="fetch",
            index=models.Index(fields=["user", "id"], name="fetch_by_user"),
        ),
    ]
