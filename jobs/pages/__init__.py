"""What a signed-in person sees of their jobs: pages over the services of the API.

    base         who is asking, and the answers that all pages give
    overview     balance, spending, the last jobs
    playground   one job, from the picture to the download, without a line of code
    listing      all jobs; showing: one of them, and what may be done with it
    previews     small pictures of inputs and results
    webhooks     endpoints and deliveries
    spending     what was spent by day and operation, and its drawing
    words        operations, errors and events in plain words

A page holds no rule of its own; what its scripts ask for is what the API answers, for
the session's person instead of a key.
"""
