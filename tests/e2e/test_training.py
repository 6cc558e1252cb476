"""Training is a configuration: the shipped example beside a sandbox, as staff would start them."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from rigs.daemon import Logs, Process, simulator, wait_until
from rigs.pos import Pos
from rigs.sandbox import running_sandbox
from tilltap.sandbox.service import NewPass

EXAMPLE = Path(__file__).parents[2] / "config" / "examples" / "training.toml"


def test_the_training_example_works_as_it_is_shipped(logs: Logs, tmp_path: Path) -> None:
    with running_sandbox(NewPass("zz-secret-trainee", 4)) as sandbox:
        logs.secrets |= {"zz-secret-trainee", sandbox.service.find("zz-secret-trainee").id}
        config = tmp_path / "training.toml"
        shutil.copy(EXAMPLE, config)
        # Only the address differs: other tests may hold the sandbox's usual port.
        text = config.read_text().replace(
            'provider = "sandbox"', f'provider = "sandbox"\nurl = "{sandbox.url}"'
        )
        config.write_text(text)
        with simulator(logs, tmp_path / "vtap"):
            daemon = Process(logs, "run", "run", "--config", str(config))
            try:
                path = tmp_path / "training.sock"
                wait_until(path.exists, 20, "the daemon's socket")
                with Pos(path) as pos:
                    wait_until(lambda: pos.result("hello", client="t")["state"] == "ready", 20, "ready")
                    sale = pos.result("sale.close", sale_id="1", total="10.00", value="zz-secret-trainee")
                    assert sale["offline"] is False
                    assert sale["balance"] == 5
                    assert sale["message"].startswith("TRAINING Congratulations!")
                    assert sale["receipt"].startswith("TRAINING ")
                wait_until(lambda: sandbox.balance("zz-secret-trainee") == 5, 20, "the balance on the phone")
                assert sandbox.texts("zz-secret-trainee")[0].startswith("TRAINING ")
            finally:
                daemon.end()


def test_watch_goes_on_after_a_bye_of_the_past(logs: Logs, tmp_path: Path) -> None:
    from rigs.daemon import Shop

    with Shop(logs, NewPass("zz-secret-cust-17", 0)) as shop:
        shop.start()
        shop.ready()
        shop.stop()
        shop.start()
        shop.ready()
        watching = Process(
            logs,
            "watch",
            "watch",
            "--after",
            "0",
            "--json",
            "--socket",
            str(shop.socket),
            stdout=subprocess.PIPE,
        )
        try:
            out = watching.popen.stdout
            assert out is not None
            seen = [json.loads(out.readline())["method"]]
            while "bye" not in seen:
                seen.append(json.loads(out.readline())["method"])
            shop.ask("sale.close", sale_id="1", total="10.00")
            while seen[-1] != "sale":
                seen.append(json.loads(out.readline())["method"])
            shop.stop()
            assert watching.popen.wait(10) == 0
        finally:
            watching.end()
            out.close()
