"""Who wants to know what becomes of a job.

    waiting      for its end, without a thread
    streaming    event by event, likewise
    positions    how many are before it
    outlook      what it waits for, and how long

Only for people and clients: nothing about a job is decided here.
"""
