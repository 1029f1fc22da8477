"""Second opinions about schedules: reads one question per line as JSON, answers one line each.

{"cron": expression, "zone": name, "at": unix seconds}  ->  {"next": unix seconds} or {"error": text}
{"rule": text, "from": local time, "count": n}          ->  {"next": [local times]} or {"error": text}
"""

import json
import signal
import sys
from datetime import datetime, timezone
from itertools import islice
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from dateutil.rrule import rrulestr

FORM = "%Y-%m-%dT%H:%M:%S"


# Of processor time, so that a busy machine changes no answer.
SECONDS_MAX = {"cron": 1.0, "rule": 0.1}


class Endless(Exception):
    pass


def give_up(_signal, _frame):
    raise Endless("no answer within the processor time allowed")


signal.signal(signal.SIGVTALRM, give_up)


def cron(question):
    zone = ZoneInfo(question["zone"])
    at = datetime.fromtimestamp(question["at"], timezone.utc).astimezone(zone)
    try:
        found = next(CronSim(question["cron"], at), None)
    except CronSimError as error:
        return {"error": str(error)}
    return {"next": None if found is None else int(found.timestamp())}


def rule(question):
    since = datetime.strptime(question["from"], FORM)
    rules = rrulestr(question["rule"])
    found = islice(rules.xafter(since, inc=True), question["count"])
    return {"next": [at.strftime(FORM) for at in found]}


for line in sys.stdin:
    question = json.loads(line)
    kind = "cron" if "cron" in question else "rule"
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS_MAX[kind])
    try:
        answer = cron(question) if kind == "cron" else rule(question)
    except Exception as error:  # The test decides what it means.
        answer = {"error": f"{type(error).__name__}: {error}"}
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    print(json.dumps(answer), flush=True)
