"""What the admin calls several of them; the database hears nothing of it."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("jobs", "0013_job_with_files")]

    operations = [
        migrations.AlterModelOptions("batch", {"verbose_name_plural": "batches"}),
        migrations.AlterModelOptions(
            "webhookdelivery", {"verbose_name_plural": "webhook deliveries"}
        ),
    ]
