"""Read pip-audit's JSON: exit code 0 nothing found, 1 vulnerabilities, 2 nobody could be asked.

pip-audit passes over what its service does not know, as a mirror without advisories knows nothing;
so only an answer in which most packages were looked up counts as one.
"""

import json
import sys


def main() -> int:
    """Judge the answer on standard input."""
    try:
        dependencies = json.load(sys.stdin)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return 2
    asked = [dependency for dependency in dependencies if "skip_reason" not in dependency]
    if 2 * len(asked) < len(dependencies):
        return 2
    bad = [dependency for dependency in asked if dependency["vulns"]]
    for dependency in bad:
        names = ", ".join(vulnerability["id"] for vulnerability in dependency["vulns"])
        print(f"pip-audit: {dependency['name']} {dependency['version']}: {names}")
    print(f"pip-audit ({sys.argv[1]}): {len(asked)} packages looked up, {len(bad)} with vulnerabilities")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
