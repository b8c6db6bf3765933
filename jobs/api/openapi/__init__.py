"""The API as an OpenAPI 3.1 document: what the views answer, said once.

Each subject's module has its schemas, its operations and, last, its paths:

    document     the whole, put together
    jobs, batches, uploads, webhooks, catalogue, accounts, about
                 the subjects
    creating     what creates a job, by the engines that workers have announced
    answers      what answers share; asking: what requests share
    schema       the words that all of it is written with
"""
