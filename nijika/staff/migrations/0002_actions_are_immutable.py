"""What staff did stays written: the database refuses to change or remove it."""

from django.db import migrations

FORBID = """
CREATE FUNCTION staff_action_is_immutable() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER staff_action_is_immutable BEFORE UPDATE OR DELETE ON staff_action
    FOR EACH ROW EXECUTE FUNCTION staff_action_is_immutable();
"""
ALLOW = """
DROP TRIGGER staff_action_is_immutable ON staff_action;
DROP FUNCTION staff_action_is_immutable();
"""


class Migration(migrations.Migration):
    dependencies = [("staff", "0001_initial")]
    operations = [migrations.RunSQL(FORBID, ALLOW)]
