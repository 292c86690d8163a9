#!/usr/bin/python3
"""Answers every message with its own text: echo_bot.py [HOME]. An example of docs/API.md."""
import json
import os
import subprocess
import sys

import zmq

linnet = os.environ.get("LINNET", "linnet")
home = ["--home", sys.argv[1]] if len(sys.argv) > 1 else []
status = json.loads(subprocess.check_output([linnet, *home, "--json", "status"]))
api, events = (zmq.Context.instance().socket(kind) for kind in (zmq.DEALER, zmq.SUB))
api.connect(status["api"])
events.connect(status["events"])
events.subscribe("")  # the first event is the welcome: from then on nothing is missed


def call(method, **params):
    api.send_json({"id": 1, "method": method, "params": params})
    return api.recv_json()


while events.recv_multipart():
    for m in call("recv").get("result", {}).get("messages", []):  # also while we were away
        print(call("send", to=m["conversation"], text=m["text"]), flush=True)
