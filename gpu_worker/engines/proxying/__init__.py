"""Pictures made on the fly, in children of the web process (jobs.onthefly).

    engine    the engine `proxy/imaging`; its queue "web" is no queue of the broker's
    sizes     how large the picture becomes, and which part of it stays
    pipeline  every step, in the order of the contract
    marks     another picture on top

The parameters are the members of `jobs.onthefly.recipes.Recipe` that differ from its
defaults. An option is never out of place: the order of the steps is always the same.
"""
