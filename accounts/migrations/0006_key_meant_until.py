from django.db import migrations, models

MEANT = """
UPDATE accounts_apikey SET meant_until = expires_at WHERE expires_at IS NOT NULL
"""


class Migration(migrations.Migration):
    dependencies = [("accounts", "0005_key_public_id")]

    operations = [
        migrations.AddField(
            model_name="apikey",
            name="meant_until",
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
        # Of keys that were replaced before, nobody knows more.
        migrations.RunSQL(MEANT, migrations.RunSQL.noop),
    ]
