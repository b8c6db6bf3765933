"""The whole of nijika on this machine: `make run` and `make demo`.

    bootstrap     an environment with the locked packages; lock: who writes the locks
    stack         servers, migrations, a user and a key, all processes
    servers       a real PostgreSQL and a real Redis of our own
    supervisor    the processes of the Procfile: shown, restarted
    provider      a stand-in for GitHub and GitLab; people: who can be chosen there
    demo          one job, from a photo to a cut-out, and its price

Data, logs and the key of the local user lie in `.nijika/`.
"""
