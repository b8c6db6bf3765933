"""What `jobs.submission` is made of: how requests become jobs, many at once.

    items          what is submitted, and what becomes of it
    intake         one transaction over a group; rows: its statements
    groups         what becomes of a group whose transaction fails
    combiner       requests that arrive together share a group
    idempotency    one key makes one thing, of whatever kind
    sandbox        what a test key may ask for, and how much of it

Nobody else submits: `jobs.submission` is the door.
"""
