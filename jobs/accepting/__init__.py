"""What `jobs.submission` is made of: how requests become jobs, many at once.

    items    what is submitted, and what becomes of it
    rows     the statements that write it

Nobody else submits: `jobs.submission` is the door.
"""
