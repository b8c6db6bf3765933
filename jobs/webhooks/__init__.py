"""Webhooks: what happened, told to whoever wants to hear of it.

    events       the types of events, and which of them go where
    recording    a row per event and receiver, in the transaction of what happened
    signing      secrets, and the headers of the Standard Webhooks specification
    endpoints    an account's receivers: made, changed, rotated, switched off
    deliveries   what was sent, what came of it, replay and ping
    rendering    what is said, written anew at each try
    sending      one try
    delivering   which delivery goes out when; circuits of receivers that fail
    low_credits  who is told that credits run out

At least once, never before the commit: a delivery is a row of the same transaction,
claimed with a lease like everything else, and every try of an event has the same id.
"""
