from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0010_webhooks"),
    ]

    operations = [
        migrations.AddField(
            model_name="job",
            name="own_key",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddField(
            model_name="job",
            name="sealed_key",
            field=models.TextField(blank=True, null=True),
        ),
        migrations.AddConstraint(
            model_name="job",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("sealed_key__isnull", True),
                    models.Q(
                        models.Q(("status__in", ["queued", "running"])),
                        ("own_key", True),
                    ),
                    _connector="OR",
                ),
                name="job_keeps_no_key_after_its_end",
            ),
        ),
    ]
