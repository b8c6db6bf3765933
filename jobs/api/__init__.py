"""The canonical API, `/api/v1/`: parse, one call into the domain, render.

    urls         which address leads where
    views        jobs, the catalogue, the account; batches, uploads, webhooks, keys,
                 events (a stream) have modules of their own
    base         what all views share: the caller, their scope, strict queries
    parsing      a body to an order: strict JSON, or a form by multipart
    wishes       what headers ask for: to wait, to count once, to pay a provider
    pages        lists in pages, and their filters
    rendering    what is shown of everything, in one place
    catalogue    what is offered
    openapi/     all of it as a document; docs: the page that shows it

A view holds no rule: those are in the domain, where pages and faces find them too.
"""
