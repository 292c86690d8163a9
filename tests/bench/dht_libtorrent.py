"""libtorrent's DHT node as a server, for bench_dht_server: dht_libtorrent.py ADDRESS:PORT.

Reads the nodes to begin from ("ADDRESS PORT", one a line) from standard input, prints
"ready" and serves until it is ended. Needs python3-libtorrent; without it: exit code 3.
"""
import sys
import time

try:
    import libtorrent
except ImportError:
    sys.exit(3)

session = libtorrent.session({
    "listen_interfaces": sys.argv[1],
    "enable_dht": True, "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False,
    "enable_incoming_tcp": False, "enable_outgoing_tcp": False,
    "enable_incoming_utp": False, "enable_outgoing_utp": False,
    "alert_mask": 0,
    "dht_bootstrap_nodes": "",
    # Its limits, far above what is measured: bytes a second, packets of one address.
    "dht_upload_rate_limit": 2_000_000_000,
    "dht_block_ratelimit": 1_000_000_000,
})
for line in sys.stdin:
    address, port = line.split()
    session.add_dht_node((address, int(port)))
print("ready", flush=True)
while True:
    time.sleep(10)
    session.pop_alerts()
