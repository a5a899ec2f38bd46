"""The examples at the end of each command's help; a test runs them."""

EXAMPLES = {
    "": (
        "tcptrace-tw report trace.pcap",
        "tcptrace-tw list trace.pcap 'host 198.19.19.20 and closed by server'",
        "tcptrace-tw show trace.pcap --connection 17",
        "tcptrace-tw check trace.pcap --fail-on warning",
        "tcptrace-tw analyze trace.pcap -o out",
    ),
    "report": (
        "tcptrace-tw report trace.pcap",
        "tcptrace-tw report trace.pcap --html report.html",
        "tcptrace-tw report ring-*.pcap --filter 'host 198.19.19.20 and port 5000'",
        "cat trace.pcap | tcptrace-tw report - --save kept.pcap",
    ),
    "analyze": (
        "tcptrace-tw analyze trace.pcap -o out",
        "tcptrace-tw analyze ring-*.pcap -o rings --profile freebsd",
    ),
    "check": (
        "tcptrace-tw check trace.pcap",
        "tcptrace-tw check trace.pcap --fail-on warning:confirmed --ignore RU010",
        "tcptrace-tw check trace.pcap --select LA,RU004 --show info",
        "tcptrace-tw check ring-*.pcap one.pcap --each",
        "tcptrace-tw check trace.pcap --output sarif=out.sarif --output junit=out.xml",
        "tcptrace-tw check trace.pcap --baseline known.json --update-baseline",
    ),
    "show": (
        "tcptrace-tw show trace.pcap --connection 17",
        "tcptrace-tw show trace.pcap 'host 198.19.19.20 and finding warning'",
        "tcptrace-tw show trace.pcap --finding 12204 --time-format utc --raw",
        "tcptrace-tw show out --connection 17",
    ),
    "list": (
        "tcptrace-tw list trace.pcap",
        "tcptrace-tw list trace.pcap 'host 198.19.19.20 and closed abort' --sort duration --limit 10",
        "tcptrace-tw list trace.pcap 'finding RU004 or state LAST-ACK'",
        "tcptrace-tw list trace.pcap 'closed by server' --json",
    ),
    "export": (
        "tcptrace-tw export trace.pcap --connection 17 -o one.pcap",
        "tcptrace-tw export trace.pcap 'port 45003' -o port.pcap",
        "tcptrace-tw export trace.pcap --finding 12204 -o reuse.pcapng",
    ),
    "annotate": (
        "tcptrace-tw annotate trace.pcap -o annotated.pcapng",
        "tcptrace-tw annotate trace.pcap -o annotated.pcapng --no-states --findings warning",
        "tcptrace-tw annotate trace.pcap -o annotated.pcapng --filter 'port 5000'",
    ),
    "watch": (
        "tcptrace-tw watch - < trace.pcap",
        "cat trace.pcap | tcptrace-tw watch - --json --for 60s",
        "tcpdump -i eth0 -s 128 -U --immediate-mode -w - tcp | tcptrace-tw watch -",
        "tcptrace-tw watch -i eth0 --read-filter 'port 443' --until-finding warning",
    ),
    "rules": ("tcptrace-tw rules", "tcptrace-tw rules RU", "tcptrace-tw rules RU004"),
}


def epilog(command: str = "") -> str:
    """The examples of a command, one a paragraph."""
    lines = EXAMPLES.get(command, ())
    return "\n\n".join(("Examples:", *(f"  {line}" for line in lines))) if lines else ""
