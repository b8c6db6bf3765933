"""The domain: a job from its request to its end, and to the last of its files.

In the order in which a job meets them; what stands alone is a module here, what
belongs together a package, whose own docstring is its map:

    api/          reads requests strictly, answers, documents itself
    faces/        the old systems' paths, over the same orders
    pages/        what a person sees: overview, playground, jobs, webhooks
    onthefly/     pictures resized by signed addresses; they are no jobs
    parsing/      JSON, parameters and pictures, as strangers send them
    requests/     from what is asked for to what may become a job
    engines       which engines are offered, and what may be asked of them
    submission    accepts many at once; accepting/ has its parts
    batches       many jobs in one request, all or none
    sources       fetches URL inputs
    dispatch      waiting rows to Celery messages, fairly; dispatching/ has its parts
    link          what a worker's call does; link_view is its answer over HTTP
    workers/      what workers say of themselves, and what is believed of it
    lifecycle     every change of a status, with its money
    reaping       what nobody would end
    results       whose result may be read
    files/        uploads before a job; links and archives after it
    webhooks/     whoever wants to hear of it is told
    following/    whoever waits: for the end, event by event, for a turn
    retention     what is erased, and when

    control       the loops that run all this
    models        the rows, with the guards that hold whatever the code does
    storage       files, in a folder or in S3 (stores/)
    news          who is told that a job changed
    upkeep/       the books, figures for staff, people who leave
    database/     how we speak with PostgreSQL
    errors, ids   what can go wrong; how things are named
"""
