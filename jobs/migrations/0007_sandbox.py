from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0006_renditions"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="job",
            index=models.Index(
                condition=models.Q(
                    ("dispatched_at__isnull", True),
                    ("status", "queued"),
                    ("test", True),
                    ("waiting_fetches", 0),
                ),
                fields=["queue", "user", "id"],
                name="job_waiting_test",
            ),
        ),
    ]
