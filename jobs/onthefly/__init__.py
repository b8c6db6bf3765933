"""Pictures made while a browser waits: signed URLs as imgproxy has them, and the older
`GET /api/images/resize` and `/api/v1/resize`.

    views      who asks, and how a picture is sent
    paths      a signed path in its parts; its source in either spelling
    options    what the options of a path mean: a `Recipe`
    queries    the same for the older paths' query parameters
    sources    what may be read: URLs through the guard, files of the account's jobs
    renditions what is kept of what was made: rows, files, their end
    studio     making: one flight per picture, fetching, keeping; flights, lanes (child
               processes), clerk (claims and leases) and scratch (files) are its parts
    use        how often which account had a picture

A picture is made once: its key covers the account, the source and all options in one
plain form. In a process all who ask for a key share a *flight*; among processes the
row's claim, a lease that is renewed while its maker lives, decides who makes it. What
is kept is a cache: losing all of it costs time and nothing else.
"""
