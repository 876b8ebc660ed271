"""A Ray cluster of two nodes, one of which is killed while pictures are scored.

    python ray_cluster.py PARTS -- COMMAND...

test_on_ray.py runs it. It starts the cluster in the folder that RAY_TMPDIR names, runs COMMAND with
its address in the place of ADDRESS, and kills the second node, with the actor that is on it, when
PARTS are done. It prints what it saw as JSON.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

from ray.cluster_utils import Cluster

# A node is taken for lost after so many seconds without an answer.
HEALTH = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 5,
}
SHARED = 90 << 20  # bytes of each object store


def actors_of(raylet: int) -> list[int]:
    """The processes that score on a node."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            name = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if parent == raylet and name.startswith(b"ray::MapWorker"):
            found.append(int(entry.name))
    return found


def main() -> None:
    wanted = int(sys.argv[1])
    logging.disable(logging.CRITICAL)
    node = {"num_cpus": 1, "object_store_memory": SHARED, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "_system_config": HEALTH})
    try:
        other = cluster.add_node(num_cpus=1, object_store_memory=SHARED)
        cluster.wait_for_nodes()
        command = [cluster.address if word == "ADDRESS" else word for word in sys.argv[3:]]
        output = Path(f"{command[command.index('-o') + 1]}.partial")
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        raylet = other.all_processes["raylet"][0].process.pid
        while True:
            parts = len(list(output.glob("part-*.parquet")))
            killed = actors_of(raylet)
            if (parts >= wanted and killed) or process.poll() is not None:
                break
            time.sleep(0.002)
        running = process.poll() is None
        cluster.remove_node(other, allow_graceful=False)
        out, err = process.communicate(timeout=200)
        seen = {"code": process.returncode, "out": out, "err": err, "parts": parts}
        print(json.dumps(seen | {"killed": killed, "running": running}))
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    main()
