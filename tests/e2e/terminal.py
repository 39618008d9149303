# SPDX-License-Identifier: Apache-2.0
"""Runs a command with stderr on a terminal and stdout in a pipe; writes what the terminal got to stdout and ends with the
command's exit code. The command is stopped for a while soon after its start, so that it takes long enough for a person to
wait whatever the machine. Usage: terminal.py COMMAND [ARGUMENT ...] < INPUT"""
import os, pty, select, signal, subprocess, sys, threading, time

terminal, child = pty.openpty()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, stderr=child, env={**os.environ, "TERM": "xterm"})
os.close(child)


def dawdle():
    for running in 0.05, 0.1:
        time.sleep(running)
        if process.poll() is None:
            process.send_signal(signal.SIGSTOP)
            time.sleep(0.6)
            process.send_signal(signal.SIGCONT)


threading.Thread(target=dawdle, daemon=True).start()
shown, open_ends = b"", [terminal, process.stdout.fileno()]
while open_ends:
    for end in select.select(open_ends, [], [])[0]:
        try:
            data = os.read(end, 1 << 16)
        except OSError:  # what a terminal says when its last user has gone
            data = b""
        if not data:
            open_ends.remove(end)
        elif end == terminal:
            shown += data
sys.stdout.buffer.write(shown)
sys.exit(process.wait())
