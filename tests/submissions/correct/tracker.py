"""The tracker: who is registered, and the clock."""

import json
import os
import socket
import threading

GATHER = 10  # seconds, as the assignment has it; a count of clients cuts it short


def listener(port):
    """Listen on a port of 127.0.0.1, or on one that the system picks (0)."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", port))
    sock.listen(128)
    return sock


def export(log, name):
    """Write a log in one go."""
    with open(name + ".new", "w") as file:
        json.dump(log, file, indent=4)
    os.replace(name + ".new", name)


def shown(clients):
    return ", ".join("<{}, {}, {}>".format(*client) for client in clients)


class Tracker:
    port = 8888

    def __init__(self, count=None):
        self.count = count
        self.changed = threading.Condition()
        self.addresses = {}  # of everybody who ever registered
        self.registered = []  # ids, in the order in which they came
        self.links = {}  # of everybody who takes part in the clock
        self.ends = [0]
        self.log = []

    # What clients ask for

    def serve(self, connection):
        """Answer the lines of one connection."""
        client = None
        with connection, connection.makefile("rw") as link:
            try:
                for line in link:
                    request = json.loads(line)
                    with self.changed:
                        if request["verb"] == "R" and "end" in request:
                            client = request["id"]
                            self.links[client] = link
                            self.ends.append(request["end"])
                        answer = self.answer(**request)
                        if answer is not None:
                            link.write(json.dumps(answer) + "\n")
                            link.flush()
                        self.changed.notify_all()
            except OSError:
                pass
            with self.changed:
                if client in self.links:
                    del self.links[client]
                    self.changed.notify_all()

    def answer(self, verb, id=None, port=None, time=None, end=None):
        if verb == "R":
            self.addresses[id] = ("127.0.0.1", port)
            self.register(id)
            return "done"
        if verb == "U":
            self.unregister(id)
            return "done"
        if verb == "L":
            return self.listed()
        if verb == "W":
            return self.addresses.get(id, [])
        if verb == "C":
            self.complete(id, time)
        return None

    def register(self, id):
        if id not in self.registered:
            self.registered.append(id)

    def unregister(self, id):
        if id in self.registered:
            self.registered.remove(id)

    def listed(self):
        return [(id, *self.addresses[id]) for id in sorted(self.registered)]

    # The clock

    def begin(self, time):
        self.completed = set()

    def complete(self, id, time):
        self.completed.add(id)

    def is_over(self):
        return self.completed >= set(self.links)

    def run(self):
        accepting = listener(self.port)
        threading.Thread(target=self.accept, args=(accepting,), daemon=True).start()
        with self.changed:
            self.changed.wait_for(lambda: len(self.links) == self.count, GATHER)
            self.note(0)
            self.tell("S")
            for time in range(1, max(self.ends) + 1):
                self.begin(time)
                self.tell(time)
                self.changed.wait_for(self.is_over)
                self.note(time)
            self.tell("F")
        self.end()

    def end(self):
        pass

    def accept(self, accepting):
        while True:
            connection, _ = accepting.accept()
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def tell(self, what):
        for link in list(self.links.values()):
            try:
                link.write(json.dumps(what) + "\n")
                link.flush()
            except OSError:
                pass

    def note(self, time):
        self.log.append({"time": time, "text": "Clients registered: " + shown(self.listed())})
        self.save()

    def save(self):
        export(self.log, "bootstrapper.json")
