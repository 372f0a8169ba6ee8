"""Prints the skipped tests of reports in JUnit's form, each with its reason."""

import pathlib
import sys
import xml.etree.ElementTree as tree


def reason_of(test, skipped):
    """pytest tells it in the report; of GoogleTest it is what the test printed behind "Skipped"."""
    told = (test.findtext("system-out") or "").splitlines()
    for line, following in zip(told, told[1:]):
        if line.endswith(": Skipped"):
            return following
    return test.get("status") if skipped is None else skipped.get("message", "")


for report in map(pathlib.Path, sys.argv[1:]):
    if not report.exists():
        continue
    for test in tree.parse(report).iter("testcase"):
        skipped = test.find("skipped")
        if skipped is None and test.get("status") not in ("notrun", "disabled"):
            continue
        is_of_pytest = test.get("status") is None
        name = f"{test.get('classname')}.{test.get('name')}" if is_of_pytest else test.get("name")
        print(f"skipped: {name[:110]}\n         {' '.join((reason_of(test, skipped) or 'no reason').split())[:110]}")
