"""The launch script against a gcloud that plays what machines and requests do."""

import json
import os
import pathlib
import shutil
import signal
import stat
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
LAUNCH, MACHINE = (ROOT / "tpu_configs" / name for name in ("launch.sh", "machine.sh"))
FAKE = ROOT / "tests" / "helpers" / "fake_gcloud.py"
COMMAND = ("--", "mmdiffmask", "pretrain", "a b.py")
KINDS = ["v2-8", "v2-32", "v3-8"]
DOWN = "deleted; disk mmdiffmask-disk"


def life(request=("ACTIVE",), machine=("READY",), answers=("status 0",), **changes):
    lists = {"request": request, "machine": machine, "answers": answers}
    return {name: list(values) for name, values in lists.items()} | changes


class Cloud:
    """The fake's file, and the script run against it."""

    def __init__(self, folder: pathlib.Path):
        self.folder, self.file = folder, folder / "plan.json"
        gcloud = folder / "bin" / "gcloud"
        gcloud.parent.mkdir()
        gcloud.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "{FAKE}" "$@"\n')
        gcloud.chmod(gcloud.stat().st_mode | stat.S_IXUSR)
        self.environment = os.environ | {
            "PATH": f"{gcloud.parent}:{os.environ['PATH']}",
            "FAKE_GCLOUD": str(self.file),
            "LAUNCH_POLL_S": "0",
        }

    def plan(self, *lives, **changes):
        plan = {"kinds": KINDS, "disk": True, "create": [], "lives": list(lives)}
        plan |= {"life": None, "deleting": 0, "calls": []}
        self.file.write_text(json.dumps(plan | changes))

    def launch(self, *words):
        return subprocess.run(
            [str(LAUNCH), *words],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
        )

    @property
    def now(self):
        return json.loads(self.file.read_text())

    def calls(self, *parts):
        """The calls that hold one of the words."""
        return [call for call in self.now["calls"] if any(p in call for p in parts)]


@pytest.fixture
def cloud(tmp_path):
    return Cloud(tmp_path)


def test_up_waits_in_line_and_sets_the_machine_up(cloud):
    waiting = ("ACCEPTED", "WAITING_FOR_RESOURCES", "PROVISIONING", "ACTIVE")
    cloud.plan(life(waiting, ("", "", "CREATING", "READY")), disk=False)
    run = cloud.launch("up", "--queue", "--spot")
    assert run.returncode == 0, run.stderr
    assert "us-central1-b has v2-8 v3-8" in run.stderr  # not v2-32: many hosts
    assert "waiting" in run.stderr and "active" in run.stderr
    assert cloud.now["life"] and not cloud.calls("delete")
    (disk,) = cloud.calls("disks create")
    assert "--size=200GB" in disk and "--type=pd-balanced" in disk
    (request,) = cloud.calls("queued-resources create")
    for word in ("--node-id=mmdiffmask", "--spot", "--accelerator-type=v2-8"):
        assert word in request
    assert "disks/mmdiffmask-disk,mode=read-write" in request
    assert "--valid-until-duration" in request  # no request is left for ever
    names = ["scp", "tar -xzf", "machine.sh setup read-write"]
    assert all(cloud.calls(name) for name in names)


def test_a_run_goes_on_after_preemption(cloud):
    cloud.plan(
        life(answers=["running\nstep 1", "PREEMPT"]),
        life(answers=["running", "status 75", "absent", "status 0\nfinished"]),
        deleting=2,
    )
    run = cloud.launch("run", "--queue", "--spot", *COMMAND)
    assert run.returncode == 0, run.stderr
    assert "preempted" in run.stderr and "step 1" in run.stderr
    assert "finished" in run.stderr and DOWN in run.stderr
    created = cloud.calls("queued-resources create")
    assert len(created) == 2 and created[0] == created[1]
    # The request that was suspended is deleted before the next of its name is made.
    order = [call.split()[3] for call in cloud.calls("create mm", "delete mm")]
    assert order == ["create", "delete", "create", "delete"]
    starts = cloud.calls("machine.sh start")
    assert len(starts) == 4 and len(set(starts)) == 1
    assert "mmdiffmask pretrain a\\ b.py" in starts[0]
    assert cloud.now["life"] is None


def test_a_machine_without_a_request_is_made_anew_too(cloud):
    busy = "RESOURCE_EXHAUSTED: there is no more capacity in the zone"
    cloud.plan(life((), answers=["PREEMPT"]), life(()), create=["", busy, busy])
    run = cloud.launch("run", "--spot", *COMMAND)
    assert run.returncode == 0, run.stderr
    assert len(cloud.calls("tpu-vm create")) == 4
    assert len(cloud.calls("tpu-vm delete")) == 2


def test_a_request_of_that_name_that_was_suspended_is_deleted_first(cloud):
    cloud.plan(life(), life=life(["SUSPENDED"], [""]))
    run = cloud.launch("up", "--queue")
    assert run.returncode == 0, run.stderr
    words = [call.split()[3] for call in cloud.calls("create mm", "delete mm")]
    assert words == ["delete", "create"]


def test_a_name_that_is_taken_meanwhile_is_looked_at_again(cloud):
    cloud.plan(life(), create=["ALREADY_EXISTS: mmdiffmask", ""])
    run = cloud.launch("up")
    assert run.returncode == 0 and "there already" in run.stderr


def test_a_machine_that_is_there_is_used(cloud):
    cloud.plan(life=life(["ACTIVE"]))
    run = cloud.launch("run", "--keep", *COMMAND)
    assert run.returncode == 0, run.stderr
    assert not cloud.calls("create") and not cloud.calls("delete")
    assert "may be there and cost: launch.sh down" in run.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "plan, words, told",
    [
        ({"create": ["Quota limit 'TPUV2s' has been exceeded"]}, (), "quota does not"),
        ({"create": ["no more capacity"]}, (), "wait in line with --queue"),
        ({"create": ["PERMISSION_DENIED: no"]}, (), "PERMISSION_DENIED"),
        ({"kinds": ["v2-32", "v5litepod-8"]}, (), "us-central1-b has no v2-8"),
        ({}, ("--accelerator", "v6e-8"), "us-east5-a has no v6e-8"),
        ({"disk": False}, ("--read-only",), "not there yet"),
    ],
)
def test_what_waiting_cannot_mend_is_one_sentence(cloud, plan, words, told):
    cloud.plan(life(), **plan)
    run = cloud.launch("up", *words)
    assert run.returncode == 2 and told in run.stderr.splitlines()[-1]
    assert cloud.now["life"] is None and not cloud.calls("scp")


def test_a_request_that_failed_is_deleted_and_told(cloud):
    cloud.plan(life(["PROVISIONING", "FAILED"], [""]))
    run = cloud.launch("up", "--queue")
    assert run.returncode == 2
    assert "failed and was deleted: no reason that anybody knows" in run.stderr
    assert cloud.now["life"] is None


def test_a_machine_that_will_not_do_is_deleted(cloud):
    refused = "doctor: ..\ncannot: this libtpu does not open this board"
    cloud.plan(life(setup=refused))
    run = cloud.launch("up")
    assert run.returncode == 2 and "does not open this board" in run.stderr
    assert cloud.now["life"] is None and len(cloud.calls("machine.sh setup")) == 1


def test_the_status_of_the_command_is_the_script_s(cloud):
    cloud.plan(life(answers=["running", "status 2\nno such config file"]))
    run = cloud.launch("run", *COMMAND)
    assert run.returncode == 2 and "no such config file" in run.stderr
    assert DOWN in run.stderr and cloud.now["life"] is None


@pytest.mark.parametrize("during", ["waiting", "running"])
def test_ctrl_c_leaves_no_machine_behind(cloud, during):
    states = ["WAITING_FOR_RESOURCES"] * 10_000
    cloud.plan(life(answers=["running"] * 10_000))
    if during == "waiting":
        cloud.plan(life(states, [""]))
    script = subprocess.Popen(
        [str(LAUNCH), "run", "--queue", *COMMAND],
        env=cloud.environment | {"LAUNCH_POLL_S": "0.05"},
        stderr=subprocess.PIPE,
        text=True,
        # Jobs in the background ignore Ctrl-C, and so would what they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    word = "queued-resources create" if during == "waiting" else "machine.sh poll"
    limit = time.monotonic() + 60
    while time.monotonic() < limit and not _seen(cloud, word):
        time.sleep(0.05)
    script.send_signal(signal.SIGINT)
    _, told = script.communicate(timeout=60)
    assert script.returncode == 130, told
    assert "stopped" in told and DOWN in told
    assert cloud.now["life"] is None
    assert bool(cloud.calls("machine.sh stop")) == (during == "running")


def _seen(cloud, word) -> bool:
    try:
        return bool(cloud.calls(word))
    except json.JSONDecodeError:  # just being written
        return False


def test_status_and_down(cloud):
    cloud.plan()
    assert "mmdiffmask in us-central1-b: none" in cloud.launch("status").stderr
    assert DOWN in cloud.launch("down").stderr and not cloud.calls("delete")
    cloud.plan(life=life(answers=["running\nstep 7"]), deleting=1)
    run = cloud.launch("status")
    assert "active" in run.stderr and "step 7" in run.stdout
    run = cloud.launch("down")
    assert run.returncode == 0 and cloud.now["life"] is None


@pytest.mark.parametrize("kind", ["v2-8", "v3-8", "v5litepod-8", "v6e-8"])
def test_a_dry_run_prints_the_commands_and_calls_nothing(cloud, kind):
    cloud.plan()
    options = ("--dry-run", "--queue", "--spot", "--accelerator", kind)
    for action in ("up", "run", "status", "down"):
        run = cloud.launch(action, *options, *(COMMAND if action == "run" else ()))
        assert run.returncode == 0, run.stderr
        assert "queued-resources describe mmdiffmask" in run.stdout
        if action in ("up", "run"):
            assert f"--accelerator-type={kind}" in run.stdout
            assert "machine.sh\\ setup" in run.stdout
        assert ("queued-resources delete" in run.stdout) == (action in ("run", "down"))
    assert cloud.now["calls"] == []


@pytest.mark.parametrize(
    "words, told",
    [
        (("up", "--accelerator", "v4-8"), "must be v2-8, v3-8, v5litepod-8 or v6e-8"),
        (("up", "--zoo", "x"), "--zoo: no such option"),
        (("up", "--zone"), "--zone needs a value"),
        (("up", "--name", "A_b"), "--name A_b"),
        (("up", "--disk-gb", "many"), "--disk-gb many"),
        (("run",), "name a command after --"),
        (("fly",), "usage: launch.sh"),
    ],
)
def test_a_wrong_command_line_is_told(cloud, words, told):
    cloud.plan()
    run = cloud.launch(*words)
    assert run.returncode == 2 and told in run.stderr
    assert cloud.now["calls"] == []


@pytest.fixture
def machine(tmp_path):
    """machine.sh with folders of its own."""
    environment = os.environ | {"MACHINE_NOTES": str(tmp_path / "notes")}
    environment |= {"MACHINE_WORK": str(tmp_path / "work")}
    (tmp_path / "work").mkdir()

    def run(*words):
        found = subprocess.run(
            ["bash", str(MACHINE), *words],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return found.stdout.strip().splitlines()

    return run


def wait_for(machine, word):
    limit = time.monotonic() + 30
    while not (lines := machine("poll"))[0].startswith(word):
        assert time.monotonic() < limit, lines
        time.sleep(0.1)
    return lines


def test_the_machine_keeps_a_command_s_status_and_log(machine, tmp_path):
    assert machine("poll") == ["absent"]
    text = (
        "import os; print(os.environ['JAX_COMPILATION_CACHE_DIR']); raise SystemExit(7)"
    )
    assert machine("start", sys.executable, "-c", text) == ["started"]
    lines = wait_for(machine, "status")
    assert lines == ["status 7", str(tmp_path / "work" / "compiled")]
    assert len(list((tmp_path / "work" / "logs").iterdir())) == 1


def test_a_command_on_the_machine_is_told_to_end_and_saves(machine):
    text = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))\n"
        "print('begun', flush=True)\n"
        "time.sleep(60)"
    )
    words = ("start", sys.executable, "-c", text)
    assert machine(*words) == ["started"]
    while machine("poll")[1:] != ["begun"]:
        time.sleep(0.1)
    assert machine(*words) == ["started"]  # the same again: it is not started twice
    assert machine("start", "true")[0].startswith("cannot: the machine runs another")
    assert machine("stop") == ["ended"]
    assert machine("poll")[0] == "status 75"
    assert machine(*words) == ["started"]  # and goes on
    assert machine("stop") == ["ended"]


def test_the_scripts_are_sound():
    folders = [pathlib.Path(sys.executable).parent, *map(pathlib.Path, sys.path)]
    places = ":".join(str(f / n) for f in folders for n in (".", "bin"))
    checker = shutil.which("shellcheck", path=f"{places}:{os.environ['PATH']}")
    if checker is None:
        pytest.skip("no shellcheck here: make venv installs it")
    command = [checker, str(LAUNCH), str(MACHINE)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout
