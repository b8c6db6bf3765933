"""What workers say of themselves, and what is believed of it.

    vetting          a run's words, before they reach the database
    engine_states    how ready the engines are
    paces            how long runs take
    kept             the newest look at such things, kept for a while

What a worker says becomes true only by `jobs.link` and `jobs.lifecycle`.
"""
