"""`make gallery`: every operation on real photos, through the running stack, on a page.

What is wrong with a picture is seen sooner than tested. The page shows what went in,
what came out, the parameters, the engine, the price and the time; a job that did not
succeed is shown as well, and the command then fails.
"""
