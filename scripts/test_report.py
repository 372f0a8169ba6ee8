"""Puts pytest's reports into ctest's, prints the skipped tests with their reasons, and ends with the counts.

    test_report.py CTEST_REPORT FOLDER_OF_PYTEST_REPORTS

ctest knows a file of Python tests as one test, "Python.NAME". It is replaced by the cases of FOLDER/NAME.xml. ctest's
own entry stays if that file is missing, or if the file has no failure but ctest reports one (the interpreter died).
"""

import pathlib
import sys
import xml.etree.ElementTree as tree

PREFIX = "Python."


def outcome(case):
    """ctest writes the outcome as an attribute, pytest as an element."""
    if case.get("status") == "fail" or case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    if case.get("status") in ("notrun", "disabled") or case.find("skipped") is not None:
        return "skipped"
    return "passed"


def reason(case):
    """Test programs print the reason behind "Skipped"; pytest writes it into its report."""
    told = (case.findtext("system-out") or "").splitlines()
    for line, following in zip(told, told[1:]):
        if line.endswith(": Skipped"):
            return following
    skipped = case.find("skipped")
    return (skipped.get("message") if skipped is not None else case.get("status")) or "no reason"


def cases_of(case, folder):
    name = case.get("name")
    path = folder / f"{name.removeprefix(PREFIX)}.xml"
    if not name.startswith(PREFIX) or not path.exists():
        return [case]
    cases = list(tree.parse(path).iter("testcase"))
    if outcome(case) == "failed" and not any(outcome(each) == "failed" for each in cases):
        cases.append(case)
    for each in cases:
        if each is not case:
            each.set("classname", PREFIX + each.get("classname"))
    return cases


def shortened(text):
    return " ".join(text.split())[:110]


def main(report, folder):
    ctest = tree.parse(report)
    suite = ctest.getroot()
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for case in suite.findall("testcase"):
        suite.remove(case)
        for each in cases_of(case, pathlib.Path(folder)):
            suite.append(each)
            counts[outcome(each)] += 1
            name = each.get("name") if each.get("status") else f"{each.get('classname')}.{each.get('name')}"
            if outcome(each) == "skipped":
                print(f"skipped: {shortened(name)}\n         {shortened(reason(each))}")
            if outcome(each) == "failed":
                print(f"failed:  {shortened(name)}")
    suite.set("tests", str(sum(counts.values())))
    suite.set("failures", str(counts["failed"]))
    suite.set("skipped", str(counts["skipped"]))
    ctest.write(report, encoding="utf-8", xml_declaration=True)
    print(", ".join(f"{number} {name}" for name, number in counts.items()))
    return 0 if counts["failed"] == 0 and counts["passed"] > 0 else 1


sys.exit(main(sys.argv[1], sys.argv[2]))
