"""The counters of a namespace's TCP stack, before and after."""

TABLES = ("/proc/net/snmp", "/proc/net/netstat")
WORTH_TELLING = (
    "PAWS",
    "TW",
    "TCPTimeWaitOverflow",
    "ListenOverflows",
    "ListenDrops",
    "TCPSYNChallenge",
    "TCPChallengeACK",
    "TCPACKSkipped",
    "TCPAbortOn",
    "EstabResets",
    "OutRsts",
    "ActiveOpens",
    "PassiveOpens",
    "AttemptFails",
    "RetransSegs",
    "TCPSynRetrans",
    "TCPDSACK",
    "TCPTimeouts",
    "TCPKeepAlive",
    "TCPFromZeroWindowAdv",
    "TCPToZeroWindowAdv",
    "TCPWinProbe",
    "TCPLossProbes",
)


def read(namespace):
    """All Tcp and TcpExt counters as one dict."""
    found = {}
    for table in TABLES:
        lines = namespace.read(table).splitlines()
        for names, values in zip(lines[::2], lines[1::2], strict=True):
            title, *names = names.split()
            if title in ("Tcp:", "TcpExt:"):
                found.update(zip(names, map(int, values.split()[1:]), strict=True))
    return found


def moved(before, after):
    """The counters that changed and that say something about a connection's life."""
    return {
        name: after[name] - before[name]
        for name in after
        if after[name] != before[name] and name.startswith(WORTH_TELLING)
    }
