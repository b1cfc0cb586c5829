"""A gcloud that keeps requests, machines and disks in a JSON file, as a plan says.

Run as a program, in place of gcloud. FAKE_GCLOUD names the file:

    kinds       what the zone has
    disk        whether the disk is there
    create      errors of the calls that ask for a machine, in order; "" is none
    lives       of each machine in turn: `request` and `machine`, their states at each
                look (the last one stays), and `answers` of machine.sh poll
    life        the machine that is there now, in the form of `lives`; null
    deleting    looks that a deletion takes
    calls       what was called, in order
"""

import json
import os
import pathlib
import sys

TAKEN = ("PREEMPTED", "SUSPENDED")  # machine, request, when a poll answers "PREEMPT"


def main(words):
    path = pathlib.Path(os.environ["FAKE_GCLOUD"])
    plan = json.loads(path.read_text())
    plan["calls"].append(" ".join(words))
    try:
        text, error = answer(plan, words)
    finally:
        path.write_text(json.dumps(plan))
    sys.stdout.write(text + "\n" * bool(text))
    if error:
        sys.exit(f"ERROR: (gcloud) {error}")


def answer(plan, words):
    if words[:2] == ["config", "get-value"]:
        return "project-x", ""
    part, verb = words[1:3] if words[1] == "disks" else words[2:4]
    if part == "accelerator-types":
        return "\n".join(plan["kinds"]), ""
    if part == "disks":
        plan["disk"], there = plan["disk"] or verb == "create", plan["disk"]
        return ("disk", "") if there or verb == "create" else ("", "was not found")
    life = plan["life"]
    name = "request" if part == "queued-resources" else "machine"
    if verb == "create":
        error = plan["create"].pop(0) if plan["create"] else ""
        if not error and life:
            error = "ALREADY_EXISTS: the name is taken"
        if not error:
            plan["life"] = plan["lives"].pop(0)
        return "", error
    if not life or (name == "request" and not life["request"]):
        return "", "NOT_FOUND: no such thing"
    if verb == "describe":
        if "failedData" in words[-1]:
            return "no reason that anybody knows", ""
        return look(plan, life, name)
    if verb == "delete":
        life["left"] = plan["deleting"]
        look(plan, life, name) if not life["left"] else None
        return "", ""
    return on_machine(plan, life, words)


def look(plan, life, name):
    """The state at this look; a deletion comes to its end."""
    if "left" in life:
        life["left"] -= 1
        if life["left"] < 0:
            plan["life"] = None
            return "", "NOT_FOUND: no such thing"
        return "DELETING", ""
    states = life[name]
    state = states.pop(0) if len(states) > 1 else states[0]
    return (state, "") if state else ("", "NOT_FOUND: no such thing")


def on_machine(plan, life, words):
    """What scp and ssh answer."""
    if life["machine"] != ["READY"]:
        return "", "ssh: could not connect"
    command = words[-1]
    if "machine.sh setup" in command:
        text = life.get("setup", "devices: 8\nready")
        return text, "" if text.endswith("ready") else "status 2"
    if "machine.sh start" in command:
        return "started", ""
    if "machine.sh stop" in command:
        return "ended", ""
    if "machine.sh poll" in command:
        text = life["answers"].pop(0) if life["answers"] else "status 99"
        if text == "PREEMPT":
            life["machine"] = [TAKEN[0]]
            life["request"] = life["request"] and [TAKEN[1]]
            return "", "ssh: connection lost"
        return text, ""
    return "", ""


if __name__ == "__main__":
    main(sys.argv[1:])
