"""Others' tools over a bundle: `bagit` validates the container, `securesystemslib` the signature of the statement.

    peers.py BAG       ends with 0 if both take it, else says what does not
"""

import base64
import json
import sys

import bagit
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey


def main(path):
    bagit.Bag(path).validate()
    with open(f"{path}/data/vkey", encoding="utf-8") as file:
        name, key_id, key = file.readline().rstrip("\n").split("+", 2)
    public = base64.b64decode(key)[1:].hex()
    key = SSlibKey(f"{name}+{key_id}", "ed25519", "ed25519", {"public": public})
    with open(f"{path}/data/statement.dsse.json", encoding="utf-8") as file:
        envelope = Envelope.from_dict(json.load(file))
    envelope.verify([key], 1)


if __name__ == "__main__":
    main(sys.argv[1])
