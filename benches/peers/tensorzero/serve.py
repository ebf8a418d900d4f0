"""TensorZero's gateway, as its Python package brings it: the HTTP server in its native library, on a port that it chooses.

    python serve.py CONFIG

The package names this function for its own use; the server is the gateway's own. Python starts it and then sleeps.
"""

import signal
import sys

from tensorzero.tensorzero import _start_http_gateway

gateway = _start_http_gateway(config_file=sys.argv[1], clickhouse_url=None, postgres_url=None, valkey_url=None, async_setup=False)
print(f"listening: {gateway.base_url}", flush=True)
signal.pause()
