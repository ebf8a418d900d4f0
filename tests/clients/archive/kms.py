"""The other side of the tests of a root key in KMS, with AWS's own library.

usage: kms.py ENDPOINT KEY SECRET COMMAND [ARGUMENT ...]      prints JSON
"""

import base64
import json
import sys

import boto3


def main():
    endpoint, key, secret, command, *arguments = sys.argv[1:]
    kms = boto3.client(
        "kms", endpoint_url=endpoint, region_name="eu-central-1", aws_access_key_id=key, aws_secret_access_key=secret
    )
    if command == "key":
        made = kms.create_key()["KeyMetadata"]
        alias = f"alias/{arguments[0]}"
        kms.create_alias(AliasName=alias, TargetKeyId=made["KeyId"])
        return {"key": made["Arn"], "alias": made["Arn"].rsplit(":", 1)[0] + ":" + alias}
    if command == "repoint":
        return kms.update_alias(AliasName=arguments[0].rsplit(":", 1)[1], TargetKeyId=arguments[1]) and None
    if command == "decrypt":
        keyring, wrapped = arguments
        form, blob = base64.b64decode(wrapped)[:7], base64.b64decode(wrapped)[7:]
        assert form == b"wkkms/1", form
        context = {"watchkeeper:keyring": keyring}
        return kms.decrypt(CiphertextBlob=blob, EncryptionContext=context)["Plaintext"].hex()
    raise SystemExit(f"no command {command}")


if __name__ == "__main__":
    print(json.dumps(main()))
