"""Clients that keep their connections, as a proxy or a program does, and count what went wrong."""

import http.client
import threading
from contextlib import contextmanager

BODY = b'{"features": [5.1, 3.5, 1.4, 0.2]}'


class KeptAlive(threading.Thread):
    """Predicts on one connection until asked to close it, then on the next. `pause_s` lies between two requests."""

    def __init__(self, port, pause_s=0.0):
        super().__init__(daemon=True)
        self.port, self.pause_s = port, pause_s
        self.stop = threading.Event()
        self.answered, self.asked_to_close, self.wrong = 0, 0, []
        self.start()

    def run(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        while not self.stop.is_set():
            self._ask(connection)
            self.stop.wait(self.pause_s)

    def _ask(self, connection):
        try:
            connection.request("POST", "/predict", BODY)
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.wrong.append(repr(error))
            connection.close()
            return
        if answer.status == 200:
            self.answered += 1
        else:
            self.wrong.append(f"{answer.status} {text[:200]!r}")
        self.asked_to_close += answer.will_close


@contextmanager
def light_load(port, clients=4, pause_s=0.02):
    """Clients at work while the block runs."""
    threads = [KeptAlive(port, pause_s) for _ in range(clients)]
    try:
        yield threads
    finally:
        for thread in threads:
            thread.stop.set()
        for thread in threads:
            thread.join(40)
