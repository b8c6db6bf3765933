"""What a request asks for, until it may become a job.

    orders    the one way in: from what a client asks for to a submission
    inputs    the images of a request, wherever they come from
    sealing   keys of the client's own, sealed for the workers
    again     a job once more

All faces of the API, and the pages, come through here, so all have the same rules.
"""
