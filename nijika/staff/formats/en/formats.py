"""How times are written where no page says otherwise: as ISO 8601 does, for UTC."""

DATE_FORMAT = "Y-m-d"
DATETIME_FORMAT = "Y-m-d H:i:s"
