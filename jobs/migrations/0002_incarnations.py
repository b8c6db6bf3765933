"""Worker incarnations come from a sequence, so that a later one is always greater."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("jobs", "0001_initial"), ("billing", "0002_entries_are_immutable")]
    operations = [
        migrations.RunSQL(
            "CREATE SEQUENCE jobs_incarnation", "DROP SEQUENCE jobs_incarnation"
        )
    ]
