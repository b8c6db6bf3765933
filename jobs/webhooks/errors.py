"""What can go wrong with webhooks, for their owners."""

from nijika.errors import Conflict, NotFound


class EndpointNotFound(NotFound):
    """There is no such webhook endpoint, or it is not yours."""


class DeliveryNotFound(NotFound):
    """There is no such webhook delivery, or it is not yours."""


class TooManyEndpoints(Conflict):
    """This account has as many webhook endpoints as it may; remove one first."""

    code = "too_many_webhook_endpoints"


class EndpointOff(Conflict):
    """This webhook endpoint is switched off; switch it on first."""

    code = "webhook_endpoint_off"
