"""Files beside `jobs.storage` and `jobs.results`: sent before, fetched after.

    uploads     files that are sent before their jobs; upload_links: where to
    links       the signed addresses of results
    archives    the results of many jobs as one ZIP
    stored      how many bytes an account keeps

What is signed here opens one file for a while, without a key.
"""
