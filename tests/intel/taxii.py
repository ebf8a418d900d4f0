"""A TAXII 2.1 server: `medallion`, with its own backend in memory, and with what a test tells it to add.

    taxii.py DIR [certificate key]    serves DIR/data.json to user:pass; prints its address; reads DIR/add-*.json as they come
"""

import glob
import json
import os
import ssl
import sys
import threading
import time

from medallion import application_instance, register_blueprints, set_config
from medallion.common import get_timestamp
from werkzeug.serving import make_server

API_ROOT = "api"
COLLECTION = "91a7b528-80eb-42ed-a74d-c6fbd5a26116"


def add_as_told(directory, backend):
    """Adds the bundles that come into the directory, as POST does."""
    done = set()
    while True:
        for path in sorted(glob.glob(f"{directory}/add-*.json")):
            if path not in done:
                done.add(path)
                with open(path, encoding="utf-8") as file:
                    envelope = json.load(file)
                backend.add_objects(API_ROOT, COLLECTION, envelope, get_timestamp())
                os.rename(path, path + ".done")
        time.sleep(0.05)


def main(directory, certificate=None, key=None):
    configuration = {
        "backend": {
            "module": "medallion.backends.memory_backend",
            "module_class": "MemoryBackend",
            "filename": f"{directory}/data.json",
            # Sessions of paging that somebody has left end soon.
            "session_timeout": 30,
            "check_interval": 10,
        },
        "users": {"user": "pass"},
        "taxii": {"max_page_size": 3},
    }
    for name in ("users", "taxii", "backend"):
        set_config(application_instance, name, configuration)
    register_blueprints(application_instance)
    adding = threading.Thread(target=add_as_told, args=(directory, application_instance.medallion_backend), daemon=True)
    adding.start()

    log = open(f"{directory}/asked.log", "a", encoding="utf-8", buffering=1)

    @application_instance.before_request
    def note():
        from flask import request

        log.write(request.full_path + "\n")

    context = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
    server = make_server("127.0.0.1", 0, application_instance, threaded=True, ssl_context=context)
    print(f"http{'s' if context else ''}://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
