"""What `stix2-matcher` says of patterns and observations.

    matcher.py      JSONL in: {"pattern", "bundle"}; a line out for each: match, none, or error and what
"""

import json
import sys

from stix2matcher.matcher import match


def main():
    for line in sys.stdin:
        case = json.loads(line)
        try:
            print("match" if match(case["pattern"], [case["bundle"]], stix_version="2.1") else "none")
        except Exception as error:  # whatever it is, it is an answer
            print("error", type(error).__name__, str(error).replace("\n", " ")[:200])


if __name__ == "__main__":
    main()
