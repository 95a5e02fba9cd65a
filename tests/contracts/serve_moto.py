"""Serves moto on a free port of loopback, says its address, and ends with its standard input.

Whoever started it may die in any way: its end of the pipe closes, and so nothing is left running.
"""

import logging
import sys

from moto.server import ThreadedMotoServer

logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print("http://{}:{}".format(*server.get_host_and_port()), flush=True)
sys.stdin.read()
