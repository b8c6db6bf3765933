"""Django asks before a request whether the thread's kept connection still works.

Its own check runs `SELECT 1`: a round trip that gives up the interpreter lock, once per
request. A server that went away has closed the socket, which libpq sees by looking.
"""

import psycopg
from django.db.backends.postgresql import base
from psycopg.pq import ConnStatus


class DatabaseWrapper(base.DatabaseWrapper):
    @property
    def queries_logged(self) -> bool:
        """Only where somebody asks: debugging is on in `make run`, and shall not keep
        the text of each query, nor make it slower."""
        return bool(self.force_debug_cursor)

    def is_usable(self) -> bool:
        if self.connection is None:
            return False
        socket = self.connection.pgconn
        try:
            # The server's last words may stand before the end: read past them.
            socket.consume_input()
            socket.consume_input()
        except psycopg.Error:
            return False
        return bool(socket.status == ConnStatus.OK)
