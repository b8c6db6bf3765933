"""The tests mirror the packages. Beside them:

    flows/      whole stories against the whole stack, also with parts of it killed
    browser/    the pages in a real browser
    engines/    engines on tiny models: `make test-engines`
    chaos/      everything at once and for long: `make chaos`
    mutants/    guards taken out, to see that a test notices: `make mutants`
    data/       pictures and recorded answers; LICENCES.md says whose

`plugin` starts the servers of a run, `scheduling` says which tests a parallel process
runs together, `conftest` empties the database after each.

PostgreSQL, Redis and S3 are real servers that the tests start for themselves. Nothing
reaches the network.
"""
