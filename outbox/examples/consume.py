"""Counts orders, in SQLite: what docs/contract.md asks of a reader, in plain Python.

    pip install redis
    REDIS_URL=redis://... python3 outbox/examples/consume.py counts.sqlite

Each order counts once, however often its event comes. Ctrl-C ends it, or a number of settled entries as second argument.
"""

import collections
import contextlib
import json
import os
import sqlite3
import sys
import time
import uuid

import redis

STREAM, GROUP = "orders", "counts"
REPLAYS = f"{STREAM}:{GROUP}:replay"  # dead letters that are replayed for this group alone
DEAD = f"{STREAM}:{GROUP}:dead"
STATS = f"{STREAM}:{GROUP}:stats"  # what each consumer has done: `relay status` and the view stream_consumer_stats show it
ME = f"{GROUP}-{uuid.uuid4().hex}"  # two consumers of one name would take each other's entries for their own
CLAIM_AFTER_MS = int(os.environ.get("CLAIM_AFTER_MS", "30000"))  # longer than an effect ever takes
ATTEMPTS_MAX = 5
RETRY_DELAY_S = 1
COUNT = 100  # entries that are read at once
TELL_INTERVAL_S = 1


class Stats:
    """What this consumer has done since it started."""

    def __init__(self):
        self.counts = dict.fromkeys(("processed", "failed", "retried", "buried", "lost"), 0)
        self.times_us = collections.deque(maxlen=1000)
        self.last_active_at = None
        self.told, self.told_at = None, 0.0

    def attempt(self, began, *outcomes):
        for outcome in outcomes:
            self.counts[outcome] += 1
        self.times_us.append(int((time.monotonic() - began) * 1e6))
        self.last_active_at = now()

    def tell(self, r):
        """Now and then, and only what is new."""
        times = sorted(self.times_us) or [0]
        text = json.dumps(
            self.counts
            | {
                "handling_mean_us": sum(times) // len(times),
                "handling_p99_us": times[len(times) * 99 // 100],
                "last_active_at": self.last_active_at,
            }
        )
        if text != self.told and time.monotonic() - self.told_at >= TELL_INTERVAL_S:
            r.hset(STATS, ME, text)
            self.told, self.told_at = text, time.monotonic()


def now():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


class Reject(Exception):
    """It will never work."""


def read(fields):
    """The event, as its producer wrote it."""
    try:
        event = {name.decode(): value.decode() for name, value in fields.items()}
        headers = json.loads(event.get("headers", "{}"))
        event["id"] = headers.get("outbox-id", event["id"])  # a replayed event is the event that it was
        return event, json.loads(event["data"])
    except (KeyError, ValueError, AttributeError) as error:
        raise Reject(f"the entry is no event: {error!r}") from error


def take_effect(tx, event, data):
    if event["type"] == "order.placed":
        try:
            cents = int(data["cents"])
        except (KeyError, TypeError, ValueError) as error:
            raise Reject(f"the payload has no cents: {error!r}") from error
        tx.execute("update counts set orders = orders + 1, cents = cents + ?", (cents,))


def handle(db, lane, entry, fields):
    """The effect and the note that it was seen, in one transaction: both or neither. What came of it, in words."""
    event, data = read(fields)
    with db:
        db.execute("begin immediate")
        generation, seq = map(int, entry.split("-"))
        new = db.execute(
            "insert into inbox select ?1, ?2, ?3, ?4 where not exists"
            " (select 1 from floor where lane = ?2 and (generation, seq) >= (?3, ?4)) on conflict do nothing",
            (event["id"], lane, generation, seq),
        )
        if new.rowcount == 1:
            take_effect(db, event, data)
    return f"{event['type']} {event['id']} {'took effect' if new.rowcount == 1 else 'had taken effect before'}"


def settle(r, db, stats, lane, entry, fields):
    """Handles an entry, and settles it if there is nothing left to try. Whether it did."""
    # Counted before it begins, so that an event that kills its process is buried, too. Redis counts deliveries, which are
    # not attempts: an entry that waits behind another one of its key is delivered again and again.
    attempt, began = 0, time.monotonic()
    try:
        (attempt,) = db.execute(
            "insert into attempts values (?, ?, 1) on conflict do update set count = count + 1 returning count",
            (lane, entry),
        ).fetchone()
        said = handle(db, lane, entry, fields)
    except sqlite3.OperationalError as error:  # locked or full: the trouble of all events, which costs none an attempt
        print(f"{entry} has to wait: {error!r}", file=sys.stderr)
        if attempt:
            with contextlib.suppress(sqlite3.OperationalError):
                db.execute("update attempts set count = count - 1 where lane = ? and entry = ?", (lane, entry))
        return False
    except Exception as error:
        if attempt < ATTEMPTS_MAX and not isinstance(error, Reject):
            print(f"{entry} failed in attempt {attempt}: {error!r}", file=sys.stderr)
            stats.attempt(began, "failed", "retried")
            return False  # it stays pending for us
        stats.attempt(began, "failed", "buried")
        bury(r, lane, entry, fields, attempt, str(error))
    else:
        stats.attempt(began, "processed")
        r.xack(lane, GROUP, entry)  # only now: dying before it costs a repetition, which the inbox knows
        print(f"{entry} {said}", flush=True)
    db.execute("delete from attempts where lane = ? and entry = ?", (lane, entry))
    return True


def bury(r, lane, entry, fields, attempts, reason):
    """Into the dead letters and off the pending list, both or neither. The relay takes them to Postgres."""
    at = now()
    letter = {
        "dead:stream": STREAM,
        "dead:lane": lane,
        "dead:group": GROUP,
        "dead:entry": entry,
        "dead:attempts": attempts,
        "dead:reason": reason[:500],
        "dead:failures": json.dumps([{"at": at, "consumer": ME, "error": reason[:500]}]),
        "dead:first_failed_at": at,
        "dead:last_failed_at": at,
        "dead:consumer": ME,
        "dead:handler": "1",
    }
    with r.pipeline(transaction=True) as both:
        both.xadd(DEAD, letter | fields)
        both.xack(lane, GROUP, entry)
        both.execute()
    print(f"{entry} is a dead letter: {reason}", file=sys.stderr)


def read_group(r, above, **wait):
    reply = r.xreadgroup(GROUP, ME, {STREAM: above, REPLAYS: above}, count=COUNT, **wait)
    return [(lane.decode(), *entry) for lane, found in reply for entry in found]


def entries(r):
    """What there is to do: first what is pending for us, then what others have left, then what is new."""
    own = read_group(r, "0")
    yield from own
    if len(own) >= COUNT:
        return  # there may be more of ours, which nothing newer must overtake
    for lane in (STREAM, REPLAYS):
        _, found, _deleted = r.xautoclaim(lane, GROUP, ME, CLAIM_AFTER_MS, count=COUNT)
        yield from ((lane, *entry) for entry in found)
    yield from read_group(r, ">", block=1000)


def turn(r, db, stats):
    """Once through everything. How many entries were settled."""
    settled, failed, waiting = 0, False, set()
    for lane, entry, fields in entries(r):
        entry = entry.decode()
        if not fields:  # deleted from its stream while it was pending: there is nothing left to handle
            r.xack(lane, GROUP, entry)
            stats.counts["lost"] += 1
            continue
        key = fields.get(b"key")
        if (lane, key) in waiting:
            continue  # an earlier one of its key is to be tried again; this one stays pending behind it
        if settle(r, db, stats, lane, entry, fields):
            settled += 1
        else:
            failed = True
            if key is not None:
                waiting.add((lane, key))
    if failed:
        time.sleep(RETRY_DELAY_S)
    return settled


def make_groups(r):
    for lane in (STREAM, REPLAYS):
        try:
            r.xgroup_create(lane, GROUP, id="0", mkstream=True)  # never at $: that skips what is there
        except redis.ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise


def prune(r, db):
    """Everything up to here is settled for good: the inbox may forget it, and counts it as seen for ever. What was replayed is
    little, and stays: it may come once more from where it was read first."""
    upto = r.hget(f"{STREAM}:settled", GROUP)
    if not upto:
        return
    position = (STREAM, *map(int, upto.split(b"-")))
    with db:
        db.execute("begin immediate")
        raised = db.execute(
            "insert into floor values (?, ?, ?) on conflict do update set generation = excluded.generation, seq = excluded.seq"
            " where (generation, seq) < (excluded.generation, excluded.seq)",
            position,
        )
        if raised.rowcount == 1:
            db.execute("delete from inbox where lane = ? and (generation, seq) <= (?, ?)", position)


def main():
    file = sys.argv[1] if len(sys.argv) > 1 else "counts.sqlite"
    entries_max = int(sys.argv[2]) if len(sys.argv) > 2 else None
    db = sqlite3.connect(file, isolation_level=None)
    db.executescript(
        """
        create table if not exists inbox (event_id text primary key, lane text, generation integer, seq integer);
        create table if not exists floor (lane text primary key, generation integer, seq integer);
        create table if not exists attempts (lane text, entry text, count integer, primary key (lane, entry));
        create table if not exists counts (id integer primary key check (id = 1), orders integer, cents integer);
        insert into counts values (1, 0, 0) on conflict do nothing;
        """
    )
    r = redis.Redis.from_url(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379"), protocol=2)
    print(f"{ME} reads {STREAM}; Ctrl-C ends it", flush=True)
    stats = Stats()
    with contextlib.suppress(KeyboardInterrupt):
        run(r, db, stats, entries_max)
    with contextlib.suppress(redis.RedisError):
        r.hdel(STATS, ME)  # nobody bears this name again; what others tell is theirs
    # What is pending for us others claim when it has been idle for long enough. Never DELCONSUMER: it forgets that.
    print("goodbye: {} orders of {} cents".format(*db.execute("select orders, cents from counts").fetchone()))


def run(r, db, stats, entries_max):
    make_groups(r)
    settled = 0
    while entries_max is None or settled < entries_max:
        try:
            settled += turn(r, db, stats)
            prune(r, db)
            stats.tell(r)
        except (redis.ConnectionError, redis.TimeoutError) as error:
            print(f"Redis is away: {error}", file=sys.stderr)
            time.sleep(RETRY_DELAY_S)
        except redis.ResponseError as error:
            if not str(error).startswith("NOGROUP"):
                raise
            time.sleep(3)  # the relay puts groups back where they were; if it does not, they begin anew
            make_groups(r)


if __name__ == "__main__":
    main()
