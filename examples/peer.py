#!/usr/bin/env python3
"""An askaround peer for a lab run, in nothing but Python's standard library (3.8 or newer).

    python3 peer.py FILE --tracker IP:PORT [--port N] [--out DIR]

FILE is a script (PROTOCOL.md §6). The peer listens, registers with the tracker, answers other
peers at any time, runs its script in lock-step and writes the log client_<id>.json.
It was written from PROTOCOL.md alone, and reads best beside it, from top to bottom:

    messages, values and errors       §1.1, §1.4, §1.5, §1.7   ProtocolError, key, Peer, parse
    a connection and its time limits  §1.1, §1.8               Connection
    asking                            §1.2, §1.3, §1.6         ask, whole_list
    the two lists, and serving them   §3                       Store, serve, accept_for_ever
    the tracker and its clock         §2, §4                   Tracker
    finding a key                     §5                       Search
    script, port, log, command line   §6                       read_script, listen, LabPeer, main

There are two kinds of thread: the main one follows the clock and runs the script; every
connection that somebody opens to us has one of its own. They share nothing but the Store.

Exit status: 0 finished; 1 the tracker was lost or refused us; 2 bad script or arguments;
130 or 143 interrupted by Ctrl-C or SIGTERM. The log is written in every case but status 2.
"""

import argparse
import collections
import functools
import ipaddress
import json
import os
import random
import re
import signal
import socket
import sys
import threading
import time
import unicodedata

VERSION = 1
MAX_LINE = 65536   # bytes, line feed included (§1.1)
MAX_PAGE = 256     # entries (§1.6)
MAX_GUESTS = 200   # connections served at a time
LINE_WAIT = 10     # seconds for the first message, and for the rest of a line (§1.8)
IDLE_WAIT = 120    # seconds for the next message (§1.8)
ANSWER_WAIT = 10   # seconds for an answer, and for a list with all its pages (§1.8)
JOIN_WAIT = 20     # seconds: the tracker may be started after us
FURTHER_HINTS = 2  # §5, step 3
MAX_INTEGER = 2**53 - 1


# ---- Messages, values and errors (§1.1, §1.4, §1.5, §1.7) -----------------------------------

class ProtocolError(ValueError):
    """An error of §1.7: one to answer with, or one that we were answered."""

    def __init__(self, code, text, definite=True):
        super().__init__(text)
        self.code, self.definite = code, definite

    def message(self):
        return message("E", {"code": self.code, "text": str(self), "definite": self.definite})


def bad(expected, found):
    return ProtocolError("bad-message", f"expected {expected}, found {json.dumps(found)[:60]}")


def of_type(kind, value, name):
    if type(value) is not kind:
        raise bad(name, value)
    return value


def integer(value, low, high, name):
    if type(value) is not int or not low <= value <= high:  # no isinstance: True is an int
        raise bad(f"{name} from {low} to {high}", value)
    return value


def key(value):
    if (type(value) is not str or not 1 <= len(value.encode("utf-8", "replace")) <= 128
            or any(c == "," or c.isspace() or unicodedata.category(c) in ("Cc", "Cs")
                   for c in value)):  # Cc: control characters, Cs: half a character
        raise bad("a key of 1 to 128 bytes, no white space, comma or control character", value)
    return value


class Peer(collections.namedtuple("Peer", "id ip port")):
    """[4,"127.0.0.1",9241] on the wire, <4, 127.0.0.1, 9241> in a log."""

    def __str__(self):
        return f"<{self.id}, {self.ip}, {self.port}>"

    @classmethod
    def read(cls, value):
        try:
            number, ip, port = value
            ipaddress.ip_address(str(ip))  # an address: we look up no names for others
        except (TypeError, ValueError):
            raise bad("a peer [id, ip, port]", value) from None
        return cls(integer(number, 1, MAX_INTEGER, "an id"), ip, integer(port, 1, 65535, "a port"))


def parse(line):
    """The verb and the fields of a line. A field that is null is absent (§1.4)."""
    try:
        verb, _, rest = line.decode("utf-8").partition(" ")
        if verb.rstrip("\r") == "S":
            return "S", {}
        if not re.fullmatch("[A-Z]{1,16}", verb) or not rest.startswith("{"):
            raise ValueError("expected a verb, one space and a JSON object")
        fields = json.loads(rest, parse_constant=int)  # NaN is not JSON; int("NaN") refuses it
    except (ValueError, RecursionError) as error:
        raise ProtocolError("bad-message", f"not a message: {error}") from None
    return verb, {name: value for name, value in fields.items() if value is not None}


def message(verb, fields):
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
    return f"{verb} {text}\n".encode("utf-8", "replace")


# ---- A connection (§1.1, §1.8) --------------------------------------------------------------

def real_ip(ip):
    """Where to bind or to connect, for an address as it is written (§6, Loopback)."""
    loopback = os.environ.get("ASKAROUND_LOOPBACK")
    return loopback if loopback and ip == "127.0.0.1" else ip


class Connection:
    """A TCP connection, line by line. It waits no longer than it was told to."""

    def __init__(self, sock):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock, self.received, self.last_heard = sock, b"", time.monotonic()

    def send(self, *messages):
        self.sock.settimeout(ANSWER_WAIT)
        self.sock.sendall(b"".join(messages))

    def comes_within(self, seconds):
        """Whether anything comes, or the end, in so many seconds (None: however long)."""
        try:
            if not self.received:
                self.sock.settimeout(seconds)
                self.sock.recv(1, socket.MSG_PEEK)
        except (socket.timeout, BlockingIOError):
            return False
        except OSError:
            pass  # the connection broke: that is an end, too
        return True

    def read_line(self, deadline):
        """The next line without its line feed; None if the other side has closed."""
        while b"\n" not in self.received and len(self.received) < MAX_LINE:
            self.sock.settimeout(max(0.001, deadline - time.monotonic()))
            chunk = self.sock.recv(MAX_LINE)
            if not chunk:
                return None
            self.received += chunk
            self.last_heard = time.monotonic()
        line, _, self.received = self.received.partition(b"\n")
        if len(line) >= MAX_LINE:
            raise ProtocolError("too-long", f"the line exceeds {MAX_LINE} bytes")
        return line

    def read_answer(self):
        """The next message; an E is raised as a ProtocolError."""
        line = self.read_line(time.monotonic() + ANSWER_WAIT)
        if line is None:
            raise ConnectionError("the connection was closed")
        verb, fields = parse(line)
        if verb == "E":
            raise ProtocolError(fields.get("code"), f"{fields.get('text')} ({fields.get('code')})",
                                fields.get("definite") is True)
        return verb, fields


# ---- Asking (§1.2, §1.3, §1.6) --------------------------------------------------------------

def ask(peer, verb, fields):
    """Ask a peer one thing, on a connection of its own: the fields of the answer."""
    with socket.create_connection((real_ip(peer.ip), peer.port), ANSWER_WAIT) as sock:
        connection = Connection(sock)
        connection.send(message("V", {"version": VERSION}), message(verb, fields))
        answer_verb, answer = connection.read_answer()
    if answer_verb != "A":
        raise ProtocolError("bad-message", f"expected an answer, found {answer_verb}")
    return answer


def whole_list(request, verb):
    """The list that L, O or M asks for; `request` gets a page of it (§1.6)."""
    name, read_entry = ("keys", key) if verb == "M" else ("peers", Peer.read)
    entries, page = [], {}
    deadline = time.monotonic() + ANSWER_WAIT
    while time.monotonic() < deadline:
        answer = request(verb, page)
        entries += map(read_entry, of_type(list, answer.get(name), f"the list {name}"))
        if "next" not in answer:
            return entries
        page = {"after": answer["next"]}
    raise ProtocolError("busy", f"the list {name} did not end in time", definite=False)


# ---- What a peer keeps, and serving it (§3) -------------------------------------------------

class Store:
    """The content list and the originator list. Only the main thread changes them."""

    def __init__(self, content):
        self.cl = list(dict.fromkeys(content))  # the keys, in the order in which they came
        self.col = {}                           # key -> Peer, the newest entry last
        self.lock = threading.Lock()            # held to change them, and to serve them

    def obtain(self, key, sender):
        with self.lock:
            self.cl.append(key)
            self.col.pop(key, None)
            self.col[key] = sender

    def purge(self, key):
        """Remove a key from the CL, never from the COL; whether it was there."""
        with self.lock:
            held = key in self.cl
            if held:
                self.cl.remove(key)
            return held

    def known_peers(self):
        """Each peer of the COL once, in decreasing id; its newest address counts (§3.2)."""
        return sorted({peer.id: peer for peer in self.col.values()}.values(), reverse=True)

    def answer(self, verb, fields):
        """The fields of the answer; None where there is none to give (§1.3)."""
        with self.lock:
            if verb == "Q":
                wanted = key(fields.get("key"))
                if wanted in self.cl:
                    return {"have": True}
                if wanted in self.col:
                    return {"have": False, "hint": self.col[wanted]}
                return {"have": False}
            if verb == "O":
                return one_page("peers", self.known_peers(), fields)
            if verb == "M":
                return one_page("keys", self.cl, fields)
        if verb in ("R", "U", "L", "W"):
            raise ProtocolError("not-served", f"{verb} is for a tracker, this is a peer")
        if verb in ("V", "C", "S", "T", "F", "A", "E"):
            return None
        raise ProtocolError("unknown-verb", f"no verb {verb}")


def one_page(name, entries, fields):
    """The page asked for (§1.6). Our `next` is the number of entries up to there."""
    start = integer(fields.get("after", 0), 0, MAX_INTEGER, "after")
    limit = integer(fields.get("limit", MAX_PAGE), 1, MAX_INTEGER, "limit")
    page = entries[start:start + min(limit, MAX_PAGE)]
    while len(message("A", {name: page, "next": len(entries)})) > MAX_LINE:
        page = page[:len(page) // 2]  # 256 keys of 128 bytes may not fit in a line
    end = start + len(page)
    return {name: page, "next": end} if end < len(entries) else {name: page}


def serve(store, guest):
    """Answer one client's requests in order, until either side closes (§1.3)."""
    greeted = False
    try:
        while not greeted or guest.comes_within(IDLE_WAIT):
            try:
                line = guest.read_line(time.monotonic() + LINE_WAIT)
                if line is None:
                    return
                verb, fields = parse(line)
                if not greeted and (verb != "V" or fields.get("version") != VERSION):
                    raise ProtocolError("version", f"expected V first, of version {VERSION}")
                greeted = True
                answer = store.answer(verb, fields)
                if answer is not None:
                    guest.send(message("A", answer))
            except socket.timeout:
                guest.send(ProtocolError("busy", "no message in time", definite=False).message())
                break
            except ProtocolError as error:
                guest.send(error.message())
                if error.code not in ("unknown-verb", "not-served"):
                    break
        # To close with something unread would reset the connection, and the error might never
        # be seen. So say that we have finished, and read on for a second.
        guest.sock.shutdown(socket.SHUT_WR)
        guest.sock.settimeout(1)
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline and guest.sock.recv(MAX_LINE):
            pass
    except OSError:
        pass  # it has gone, or does not read its answers
    finally:
        guest.sock.close()


def accept_for_ever(store, listener):
    """A thread for each connection. At the limit, the one idle longest is closed (§1.8)."""
    guests = []
    while True:
        try:
            guest = Connection(listener.accept()[0])
            guests = [other for other in guests if other.sock.fileno() != -1]  # the open ones
            if len(guests) >= MAX_GUESTS:
                idlest = min(guests, key=lambda other: other.last_heard)
                guests.remove(idlest)
                idlest.sock.shutdown(socket.SHUT_RDWR)  # its thread reads the end, and ends
        except OSError:
            time.sleep(0.01)  # somebody has gone already, or there is no file descriptor left
            continue
        guests.append(guest)
        threading.Thread(target=serve, args=(store, guest), daemon=True).start()


# ---- The tracker and its clock (§2, §4) -----------------------------------------------------

class TrackerLost(Exception):
    """The clocked connection broke: the run goes on without us (§4)."""


class Tracker(Connection):
    """The clocked connection: our requests go there, the clock's messages come there."""

    def __init__(self, ip, port):
        super().__init__(socket.create_connection((real_ip(ip), port), ANSWER_WAIT))
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self.clock = collections.deque()  # S, T and F that have come
        self.send(message("V", {"version": VERSION}))

    def read(self):
        """Read one message: the fields of an answer, or None if it was for the clock."""
        try:
            verb, fields = self.read_answer()
        except (OSError, ProtocolError) as error:
            if isinstance(error, OSError) or error.code == "left-out":
                raise TrackerLost(error) from None
            raise
        if verb in ("S", "T", "F"):
            self.clock.append((verb, fields))
        return fields if verb == "A" else None

    def request(self, verb, fields):
        self.send(message(verb, fields))
        answer = None
        while answer is None:
            answer = self.read()
        return answer

    def next_of_clock(self):
        """Wait for S, T or F, however long: it may be the turn of others (§4)."""
        while not self.clock:
            self.comes_within(None)
            self.read()
        return self.clock.popleft()

    def check(self):
        """Notice in the midst of a long search that the tracker has gone or left us out."""
        while self.comes_within(0):
            self.read()


# ---- Finding a key (§5) ---------------------------------------------------------------------

class Search:
    """One search for a key. It keeps every answer, and asks no question twice."""

    def __init__(self, me, store, tracker, key):
        self.me, self.store, self.tracker, self.key = me, store, tracker, key
        self.answers = {}  # (ip, port, question) -> answer

    def run(self):
        """The peer that has the key, or None."""
        # Step 1: our own content list.
        if self.key in self.store.cl:
            return self.me

        # Step 2: the peer we once had it from. Its hint is not followed here.
        originator = self.store.col.get(self.key)
        if originator and self.ask_for_key(originator) is True:
            return originator

        # Step 3: the registered peers.
        level = sorted(whole_list(self.tracker.request, "L"))
        holder = self.ask_each(level)

        # Step 4: the peers that these know, the peers that those know, and so on.
        if self.me.id not in [peer.id for peer in level]:
            level.append(self.me)
        seen = {peer.id for peer in level}
        while level and not holder:
            next_level = []
            for peer in level:
                for known in self.ask_whom_it_knows(peer):
                    if known.id not in seen:
                        seen.add(known.id)
                        next_level.append(known)
            holder = self.ask_each(next_level)
            level = next_level

        # Step 5: None is "unavailable".
        return holder

    def ask_each(self, peers):
        for peer in peers:
            holder = self.follow(peer)
            if holder:
                return holder
        return None

    def follow(self, peer):
        """Ask a peer, then the one that it hints at, then up to 2 further hints (step 3)."""
        for _ in range(2 + FURTHER_HINTS):
            if peer is None or peer.id == self.me.id:
                return None
            answer = self.ask_for_key(peer)
            if answer is True:
                return peer
            peer = answer
        return None

    def ask_for_key(self, peer):
        """True (it has the key), a hint (a Peer), or None (no)."""
        def question():
            answer = ask(peer, "Q", {"key": self.key})
            if of_type(bool, answer.get("have"), "have, true or false"):
                return True
            return Peer.read(answer["hint"]) if "hint" in answer else None
        return self.once((peer.ip, peer.port, "Q"), question, None)

    def ask_whom_it_knows(self, peer):
        def question():
            return whole_list(functools.partial(ask, peer), "O")
        if peer.id == self.me.id:
            return self.store.known_peers()
        return self.once((peer.ip, peer.port, "O"), question, [])

    def once(self, name, question, no):
        """The answer to a question: known from before, or asked for now. It is `no` if the
        peer cannot be reached, answers an error, or answers too late."""
        if name not in self.answers:
            self.tracker.check()
            try:
                self.answers[name] = question()
            except (OSError, ProtocolError):
                self.answers[name] = no
        return self.answers[name]


# ---- Script, port, log, command line (§6) ---------------------------------------------------

Action = collections.namedtuple("Action", "time code target")  # target: a key, an id or None


def script_id(value):
    """An id in a script: a number, or a string of digits."""
    value = int(value) if re.fullmatch("[0-9]{1,16}", str(value)) else value
    return integer(value, 1, MAX_INTEGER, "an id")


def read_action(action):
    code, content_id, client_id = map(action.get, ("code", "content_id", "client_id"))
    if code in ("R", "U", "L"):
        target = None
    elif code in ("Q", "P"):
        target = key(content_id)
    elif code in ("O", "M"):
        target = script_id(content_id if code == "M" and client_id is None else client_id)
    else:
        raise bad("one of the codes R U L Q P O M", code)
    return Action(integer(action.get("time"), 1, 10000, "a time"), code, target)


def read_script(path):
    """The id, the content and the actions in a script; a ValueError says what is wrong."""
    where = "expected a script in JSON"
    try:
        with open(path, encoding="utf-8") as file:
            script = of_type(dict, json.load(file), "an object")
        where = "client_id"
        own_id = script_id(script.get("client_id"))
        where = "content"
        content = [key(entry) for entry in of_type(list, script.get("content", []), "a list")]
        where, actions = "actions", []
        for number, entry in enumerate(of_type(list, script.get("actions", []), "a list"), 1):
            where = f"action {number}"
            actions.append(read_action(of_type(dict, entry, "an object")))
        return own_id, content, actions
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {where}: {error}") from None


def listen(own_id, ip, port):
    """Listen on the given port, or else on the first free one that is drawn for this id."""
    random.seed(own_id)
    ports = [port] if port else [random.randint(9000, 9999) for _ in range(16)] + [0]
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    for candidate in ports:
        try:
            return socket.create_server((real_ip(ip), candidate), family=family)
        except OSError as error:
            problem = error
    complain(f"cannot listen: {problem}", 1)


class LabPeer:
    """A peer with a script, in lock-step with the tracker (§4)."""

    def __init__(self, own_id, content, actions, log_path):
        self.id, self.actions, self.log_path = own_id, actions, log_path
        self.store = Store(content)
        self.me = None  # ourselves, as the tracker lists us
        self.log = []

    def join(self, tracker_ip, tracker_port, port):
        """Listen, then register; patiently, for the tracker may not be there yet."""
        give_up = time.monotonic() + JOIN_WAIT
        script_end = max([action.time for action in self.actions], default=0)
        listener = None
        while not self.me:
            try:
                self.tracker = Tracker(tracker_ip, tracker_port)
                if not listener:
                    ip = self.tracker.sock.getsockname()[0]
                    ip = "127.0.0.1" if ip.startswith("127.") else ip  # as written (§6, Loopback)
                    listener = listen(self.id, ip, port)
                    threading.Thread(target=accept_for_ever, args=(self.store, listener),
                                     daemon=True).start()
                self.register(ip, listener.getsockname()[1], script_end=script_end)
            except (OSError, TrackerLost, ProtocolError) as error:
                if getattr(error, "definite", False) or time.monotonic() > give_up:
                    raise
                time.sleep(0.25)
        self.log.append({"time": 0, "text": f"Client ID {self.id} registered"})

    def register(self, ip, port, **more):
        answer = self.tracker.request("R", {"id": self.id, "ip": ip, "port": port, **more})
        self.me = Peer.read(answer.get("registered"))

    def run(self):
        """Follow the clock until F (§4)."""
        while True:
            verb, fields = self.tracker.next_of_clock()
            if verb == "F":
                return
            if verb == "T":
                now = integer(fields.get("time"), 1, 10000, "a time")
                for action in self.actions:
                    if action.time == now:
                        text = self.act(action.code, action.target)
                        self.log.append({"time": now, "text": text})
                self.write_log()
                self.tracker.send(message("C", {"time": now}))

    def act(self, code, target):
        """Run one action: the text for the log (§6)."""
        try:
            if code == "R":
                self.register(self.me.ip, self.me.port)
                return f"Client ID {self.id} registered"
            if code == "U":
                self.tracker.request("U", {"id": self.id})
                return "Unregistered"
            if code == "L":
                peers = whole_list(self.tracker.request, "L")
                return "Bootstrapper: " + ", ".join(map(str, peers))
            if code == "Q":
                holder = Search(self.me, self.store, self.tracker, target).run()
                if holder and holder != self.me:
                    self.store.obtain(target, holder)
                if holder:
                    return f"Obtained {target} from {holder.ip}#{holder.port}"
                return f"Content {target} is unavailable"
            if code == "P":
                held = self.store.purge(target)
                return f"Removed {target}" if held else f"Content {target} is unavailable"
            return self.list_of(target, code)
        except ProtocolError:  # from the tracker: those from peers do not come this far
            return "Bootstrapper is unreachable"

    def list_of(self, client, code):
        """What a client has to say to O or M. If that is us, nobody is asked."""
        try:
            if client == self.id:
                entries = self.store.known_peers() if code == "O" else self.store.cl
            else:
                peer = Peer.read(self.tracker.request("W", {"id": client}).get("peer"))
                entries = whole_list(functools.partial(ask, peer), code)
            return f"Client {client}: " + ", ".join(map(str, entries))
        except (OSError, ProtocolError):
            return f"Client {client} is unreachable"

    def write_log(self):
        """Write the log in one go: whoever reads it finds the old one or the new one."""
        with open(self.log_path + ".tmp", "w", encoding="utf-8") as file:
            json.dump(self.log, file, indent=4)
        os.replace(self.log_path + ".tmp", self.log_path)


def complain(text, status):
    print(f"peer.py: {text}", file=sys.stderr)
    sys.exit(status)


def port_number(text):
    return integer(int(text), 1, 65535, "a port")


def address(text):
    ip, _, port = text.rpartition(":")
    return str(ipaddress.ip_address(ip.strip("[]"))), port_number(port)  # or [::1]:8888


def main():
    def stop(signal_number, _):
        sys.exit(128 + signal_number)
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)

    parser = argparse.ArgumentParser(description="An askaround peer for a lab run.")
    parser.add_argument("file", metavar="FILE", help="the script, JSON")
    parser.add_argument("--tracker", metavar="IP:PORT", type=address, required=True)
    parser.add_argument("--port", metavar="N", type=port_number, help="default: drawn from the id")
    parser.add_argument("--out", metavar="DIR", default=".", help="the folder for the log")
    usage = " ".join(parser.format_usage().split())
    parser.error = lambda text: complain(f"{text}; {usage}", 2)
    arguments = parser.parse_args()

    try:
        own_id, content, actions = read_script(arguments.file)
        os.makedirs(arguments.out, exist_ok=True)
        log_path = os.path.join(arguments.out, f"client_{own_id}.json")
        peer = LabPeer(own_id, content, actions, log_path)
        peer.write_log()
    except ValueError as error:
        complain(error, 2)
    except OSError as error:
        complain(f"--out: expected a folder to write to: {error}", 2)
    try:
        peer.join(*arguments.tracker, arguments.port)
        peer.run()
    except (OSError, TrackerLost, ProtocolError) as error:
        complain("peer {}: tracker {}:{}: {}".format(own_id, *arguments.tracker, error), 1)
    finally:
        peer.write_log()


if __name__ == "__main__":
    main()
