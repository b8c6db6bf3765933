"""The GPU worker: a program of its own, without Django and without a database.

program, __main__    its parts, how they start and go
app, tasks, gate     messages from the broker, a few at a time
runner, files        a message's way: claim, read, run, store, report
link                 all that it says to the platform, one call at a time
batching, lanes      who runs next, and where; spare (beside the slots), waiting (for
                     hosted providers), standing (which engines are loaded)
children, child      child processes, in which foreign bytes are read
pixels, engines/     what is done with a picture; registry, pace, stages, finishing
sealing              opens the keys that clients send for hosted providers
testing/             the contract of engines, as tests for their authors
storage              locations that carry their own permission

contract, fetch, addresses    all that the platform sees of the worker
"""
