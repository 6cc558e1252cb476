"""The least a program must do between reader and POS: the bench's measure for a tap."""

import os
import socket
import sys
import tty

port, path = sys.argv[1:]
reader = os.open(port, os.O_RDWR | os.O_NOCTTY)
tty.setraw(reader)
server = socket.socket(socket.AF_UNIX)
server.bind(path)
server.listen()
client, _ = server.accept()
rest = b""
while chunk := os.read(reader, 4096):
    rest += chunk
    *frames, rest = rest.split(b"\x03\n")
    for frame in frames:
        client.sendall(frame.rpartition(b"\x1f")[2] + b"\n")
