"""What `jobs.dispatch` is made of.

    picking    which rows go next: chosen, taken, given back, looked for again
    packing    what the messages say, and which jobs share one

All of it goes over the session that holds the queue's lock.
"""
