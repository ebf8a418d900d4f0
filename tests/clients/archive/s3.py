"""The other side of the archive's tests against S3: makes buckets, and does to them what an operator or an attacker can.

usage: s3.py ENDPOINT COMMAND [ARGUMENT ...]      prints JSON
"""

import json
import sys

import boto3
from botocore.exceptions import ClientError


def client(endpoint, service, key="test", secret="test"):
    return boto3.client(
        service, endpoint_url=endpoint, region_name="eu-central-1", aws_access_key_id=key, aws_secret_access_key=secret
    )


def user(endpoint):
    """A user who may do everything with S3: from now on, the server checks signatures."""
    iam = client(endpoint, "iam")
    iam.create_user(UserName="recorder")
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    iam.put_user_policy(UserName="recorder", PolicyName="all", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName="recorder")["AccessKey"]
    return {"key": key["AccessKeyId"], "secret": key["SecretAccessKey"]}


def bucket(s3, name, kind):
    where = {"LocationConstraint": "eu-central-1"}
    s3.create_bucket(Bucket=name, CreateBucketConfiguration=where, ObjectLockEnabledForBucket=kind == "locked")
    if kind == "versioned":
        s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})


def allowed(call, **arguments):
    try:
        call(**arguments)
        return True
    except ClientError as error:
        return error.response["Error"]["Code"]


def main():
    endpoint, command, *arguments = sys.argv[1:]
    if command == "user":
        return user(endpoint)
    key, secret, *arguments = arguments
    s3 = client(endpoint, "s3", key, secret)
    if command == "bucket":
        return bucket(s3, *arguments)
    if command == "objects":
        return sorted(item["Key"] for item in s3.list_objects_v2(Bucket=arguments[0]).get("Contents", []))
    if command == "versions":
        listed = s3.list_object_versions(Bucket=arguments[0])
        return [[item["Key"], item["VersionId"]] for item in listed.get("Versions", [])]
    if command in ("heads", "bodies"):
        # One process for all: `heads` says how every version below `segments/` is locked, `bodies` gives its bytes.
        found = []
        for item in s3.list_object_versions(Bucket=arguments[0]).get("Versions", []):
            if "/segments/" in item["Key"]:
                which = {"Bucket": arguments[0], "Key": item["Key"], "VersionId": item["VersionId"]}
                got = s3.get_object(**which) if command == "bodies" else s3.head_object(**which)
                said = got["Body"].read().hex() if command == "bodies" else [got.get("ObjectLockMode"), got.get("ObjectLockLegalHoldStatus")]
                found.append([item["Key"], item["VersionId"], said])
        return found
    name, object_key = arguments[:2]
    version = arguments[2] if len(arguments) > 2 else None
    if command == "get":
        wanted = {"VersionId": version} if version else {}
        return s3.get_object(Bucket=name, Key=object_key, **wanted)["Body"].read().hex()
    if command == "newest":
        return s3.head_object(Bucket=name, Key=object_key).get("VersionId")
    if command == "head":
        head = s3.head_object(Bucket=name, Key=object_key, VersionId=version)
        return {field: str(head.get(field)) for field in ("ObjectLockMode", "ObjectLockRetainUntilDate", "ObjectLockLegalHoldStatus")}
    if command == "delete-version":
        return allowed(s3.delete_object, Bucket=name, Key=object_key, VersionId=version)
    if command == "hide":
        return allowed(s3.delete_object, Bucket=name, Key=object_key)
    if command == "forge":
        return allowed(s3.put_object, Bucket=name, Key=object_key, Body=b"forged")
    raise SystemExit(f"no command {command}")


if __name__ == "__main__":
    print(json.dumps(main()))
