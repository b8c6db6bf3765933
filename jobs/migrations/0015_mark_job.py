from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("jobs", "0014_plurals")]

    operations = [
        migrations.AddField(
            model_name="rendition",
            name="mark_job",
            field=models.UUIDField(blank=True, db_index=True, null=True),
        ),
    ]
