"""The domain: a job from its request to its end, and to the last of its files.

In the order in which a job meets them:

    api/          reads requests strictly, answers, documents itself
    faces/        the old systems' paths, over the same orders
    pages/        what a person sees: overview, playground, jobs, webhooks
    onthefly/     pictures resized by signed addresses; they are no jobs
    orders        from what is asked for to what may become a job; with
                  inputs, images, image_headers, strict_json, engines, schemas,
                  sandbox, stored, sealing (keys of the client's own); again
                  uploads and upload_links: files that are sent before their jobs
    submission    accepts many at once; combiner, groups, intake, accepting/ are its
                  parts
    batches       many jobs in one request, all or none; archives has their results
    idempotency   one key makes one thing, of whatever kind
    sources       fetches URL inputs
    dispatch      waiting rows to Celery messages, fairly; dispatching/ has its parts
    link          what a worker's call does; link_view (its answer over HTTP), vetting
    lifecycle     every change of a status, with its money; locks, turns
    reaping       what nobody would end
    results       whose result may be read; links are the signed ones
    webhooks/     whoever wants to hear of it is told
    retention     what is erased, and when; leaving: all of a person who goes

    control       the loops that run all this; control_signs, positions
    storage       files, in a folder or in S3 (stores/)
    news          who is told that a job changed
    waiting       who waits for a job's end, without a thread
    streaming     who is told of a job event by event, likewise
    outlook       why a job waits, and how long; paces, engine_states, kept
    figures       numbers for staff and owners, at a bounded cost
    books         whether everything adds up
    sql, unpooled, statistics    how we speak with PostgreSQL
"""
