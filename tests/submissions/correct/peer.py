"""A client: what it holds, whom it got it from, how it searches."""

import json
import random
import socket
import threading

from tracker import export, listener, shown

TRACKER = ("127.0.0.1", 8888)


def ask(address, **request):
    """Ask one question. None if nobody is there."""
    try:
        with socket.create_connection(address, timeout=20) as connection:
            connection.sendall((json.dumps(request) + "\n").encode())
            with connection.makefile() as answers:
                return json.loads(answers.readline() or "null")
    except OSError:
        return None


class Peer:
    def __init__(self, file):
        with open(file) as script:
            script = json.load(script)
        self.id = int(script["client_id"])
        self.actions = sorted(script.get("actions", []), key=lambda action: action["time"])
        self.content = script.get("content", [])
        self.originators = {}  # key: (id, ip, port)
        self.lock = threading.Lock()
        self.log = []

    # What others ask for

    def listen(self):
        random.seed(self.id)
        for port in [random.randint(9000, 9999) for _ in range(16)] + [0]:
            try:
                self.accepting = listener(port)
                break
            except OSError:
                pass
        self.me = (self.id, *self.accepting.getsockname())
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            connection, _ = self.accepting.accept()
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with connection, connection.makefile("rw") as link:
            with self.lock:
                answer = self.answer(**json.loads(link.readline()))
            link.write(json.dumps(answer) + "\n")

    def answer(self, verb, key=None):
        if verb == "Q":
            return {"have": key in self.content, "hint": self.originators.get(key)}
        if verb == "O":
            return self.known()
        return self.content

    def known(self):
        return sorted(set(map(tuple, self.originators.values())), reverse=True)

    # What it does itself

    def run(self):
        self.join()
        self.log.append({"time": 0, "text": "Client ID {} registered".format(self.id)})
        self.save()
        for line in self.link:
            line = json.loads(line)
            if line == "F":
                break
            if line != "S":
                self.timestep(line)
        self.end()

    def join(self):
        self.listen()
        self.register()

    def end(self):
        pass

    def register(self):
        self.link = socket.create_connection(TRACKER).makefile("rw")
        end = max([action["time"] for action in self.actions], default=0)
        self.send(verb="R", id=self.id, port=self.me[2], end=end)
        self.link.readline()

    def send(self, **request):
        self.link.write(json.dumps(request) + "\n")
        self.link.flush()

    def timestep(self, time):
        for action in self.actions:
            if action["time"] == time:
                self.log.append({"time": time, "text": self.act(**action)})
                self.acted(time)
        self.save()
        self.complete(time)

    def acted(self, time):
        pass

    def complete(self, time):
        self.send(verb="C", id=self.id, time=time)

    def save(self):
        export(self.log, "client_{}.json".format(self.id))

    def act(self, time, code, content_id=None, client_id=None, ip=None, port=None):
        if code == "R":
            ask(TRACKER, verb="R", id=self.id, port=self.me[2])
            return "Client ID {} registered".format(self.id)
        if code == "U":
            ask(TRACKER, verb="U", id=self.id)
            return "Unregistered"
        if code == "L":
            return "Bootstrapper: " + shown(ask(TRACKER, verb="L"))
        if code == "Q":
            source = self.obtain(content_id)
            if source is None:
                return "Content {} is unavailable".format(content_id)
            return "Obtained {} from {}#{}".format(content_id, *source[1:])
        if code == "P":
            with self.lock:
                return self.purge(content_id)
        return self.list_of(code, int(client_id or content_id))

    def purge(self, key):
        if key not in self.content:
            return "Content {} is unavailable".format(key)
        self.content.remove(key)
        return "Removed " + key

    def list_of(self, code, client):
        if client == self.id:
            with self.lock:
                answer = self.answer(code)
        else:
            address = ask(TRACKER, verb="W", id=client)
            answer = ask(address, verb=code) if address else None
            if answer is None:
                return "Client {} is unreachable".format(client)
        return "Client {}: {}".format(client, shown(answer) if code == "O" else ", ".join(answer))

    # The search

    def obtain(self, key):
        if key in self.content:
            return self.me
        source = self.search(key)
        if source:
            with self.lock:
                self.content.append(key)
                self.originators[key] = source
        return source

    def search(self, key):
        self.answers = {}
        origin = self.originators.get(key)
        if origin and self.has(origin, key)["have"]:
            return origin
        level = [tuple(peer) for peer in ask(TRACKER, verb="L")]
        source = self.search_list(level, key)
        seen = set(level) | {self.me}
        if self.me not in level:
            level.append(self.me)
        while level and not source:
            level = self.longer_list(level, seen)
            source = self.search_list(level, key)
        return source

    def has(self, peer, key):
        """What a peer says about a key; it is asked once in a search."""
        if peer not in self.answers:
            self.answers[peer] = ask(peer[1:], verb="Q", key=key) or {"have": False, "hint": None}
        return self.answers[peer]

    def search_list(self, peers, key):
        for peer in peers:
            source = peer != self.me and self.follow(peer, key)
            if source:
                return source
        return None

    def follow(self, peer, key, hints=3):
        """Ask a peer, and whoever it hints at."""
        answer = self.has(peer, key)
        if answer["have"]:
            return peer
        hint = answer["hint"] and tuple(answer["hint"])
        if hint and hint != self.me and hints:
            return self.follow(hint, key, hints - 1)
        return None

    def longer_list(self, level, seen):
        """Everybody new whom the peers of a list know."""
        new = []
        for peer in level:
            known = self.known() if peer == self.me else ask(peer[1:], verb="O") or []
            for other in map(tuple, known):
                if other not in seen:
                    seen.add(other)
                    new.append(other)
        return new
