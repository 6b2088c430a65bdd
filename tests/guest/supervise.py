#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs QEMU for tests/guest/run and judges what the guest does.

Two serial ports come out of the guest, each a UNIX socket in the working
directory that is listened on here before QEMU starts:

console  is shown, logged, and searched for reports of the kernel.
side     carries the verdict and is never shown.  Lines from the guest:

    exit N             the script's exit status; the guest gets "bye" and
                       powers off
    taint N            /proc/sys/kernel/tainted, sent just before exit
    setup-failed TEXT  init could not do what was asked of it
    checkpoint ARG...  run the host check with these arguments while the
                       guest waits; it gets the line "reply STATUS"
    note TEXT          appended to the file notes (the demo reads it)
    expect TEXT        a report of the kernel that contains TEXT is wanted
"""

import argparse
import ctypes
import os
import re
import selectors
import shlex
import signal
import socket
import subprocess
import sys
import termios
import time
import tty

import qmp

EXIT_TIMEOUT, EXIT_RUNNER, EXIT_KERNEL, EXIT_QEMU = 124, 125, 126, 127

# What a kernel says when something in it is wrong.  Only text that follows a
# printk time stamp counts, so that a program may print what it likes.
#
# Of allocations that fail two are the kernel's own business on any swap disk: pages
# of a task that is being killed for want of memory (HIGHUSER), and in 7.x the table
# of a cluster of swap slots, which reclaim asks for without its reserves and can do
# without (NOMEMALLOC).
REPORTS = re.compile(
    r'\[ *\d+\.\d{6}\](?:\[ *[TC]\d+\])? ('
    r'WARNING: .*|BUG[ :].*|\[ BUG: .*|-+\[ cut here \]-+|kernel BUG at .*|'
    r'watchdog: BUG: .*|Oops.*|general protection fault.*|'
    r'divide error: .*|invalid opcode: .*|stack segment: .*|double fault: .*|'
    r'Kernel panic.*|INFO: task .* blocked for more than .*|'
    r'(?:rcu: )?INFO: rcu_.*|INFO: rcu.*|rcu: rcu_.* kthread .*|'
    r'INFO: possible .*|INFO: inconsistent .*|INFO: suspicious .*|'
    r'INFO: trying to register non-static key.*|UBSAN: .*|'
    r'=+\[? ?BUG.*|refcount_t: .*|list_(?:add|del) corruption.*|'
    r'.*: page allocation failure: '
    r'(?!.*(?:GFP_HIGHUSER_MOVABLE|__GFP_NOMEMALLOC)).*|.*nobody cared.*|'
    r'.*(?:Bad swap (?:file|offset)|Unused swap) (?:offset )?entry.*|'
    r'INFO: lockdep is turned off.*)')

# Bits of the taint mask that stand for a report, see tainted-kernels.rst.
TAINTS = {5: 'a bad page', 7: 'an oops or a BUG', 9: 'a WARNING',
          14: 'a soft lockup'}

AFTER_REPORT = 3    # seconds of console still shown after a report
POWER_OFF = 60      # seconds a guest may need to power off
CHECK_TIME = 60     # seconds a host check may need


def die_with_parent():
    """Make the kernel kill this process when its parent is gone (Linux)."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


class Ended(Exception):
    """The run is over: an exit status and a sentence (None: nothing to say)."""

    def __init__(self, status, text=None):
        super().__init__(text)
        self.status, self.text = status, text


class Guest:
    """One QEMU process and the two ports of its guest."""

    def __init__(self, options):
        self.options = options
        self.selector = selectors.DefaultSelector()
        self.console = self.side = self.qemu = None
        self.console_line = b''
        self.side_line = b''
        self.column = 0
        self.report = None          # first report of the kernel
        self.expected = None        # what one may contain
        self.report_ends = None
        self.verdict = None         # from the side port
        self.taint = None
        self.setup_failed = None
        self.power_off_ends = None
        self.check = None           # (process, name, ends)
        self.terminal = None
        self.log = open('console.log', 'wb', buffering=0)
        self.deadline = time.monotonic() + options.timeout

    # Start and stop.

    def listen(self, name, connected):
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        server.bind(name)
        server.listen(1)
        self.selector.register(server, selectors.EVENT_READ,
                               lambda: connected(server.accept()[0]))

    def start(self):
        self.listen('console', self.console_connected)
        self.listen('side', self.side_connected)
        # A process group of its own: Ctrl-C on the terminal is for this
        # program, which then decides how QEMU ends.
        self.qemu = subprocess.Popen(
            self.options.command, stdin=subprocess.DEVNULL,
            start_new_session=True, preexec_fn=die_with_parent)
        if self.options.interactive:
            fd = sys.stdin.fileno()
            self.terminal = termios.tcgetattr(fd)
            tty.setraw(fd)
            self.selector.register(fd, selectors.EVENT_READ, self.typed)

    def stop(self):
        if self.terminal:
            termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN,
                              self.terminal)
        if self.check:
            os.killpg(self.check[0].pid, signal.SIGKILL)
            self.check[0].wait()
        if self.qemu and self.qemu.poll() is None:
            self.qemu.kill()
        if self.qemu:
            self.qemu.wait()
        if self.column and not self.options.quiet:
            print(flush=True)

    # The console.

    def console_connected(self, conn):
        self.console = conn
        conn.setblocking(False)
        self.selector.register(conn, selectors.EVENT_READ, self.console_read)

    def console_read(self):
        data = self.receive(self.console)
        if not data:
            return
        self.log.write(data)
        if not self.options.quiet:
            shown = data if self.terminal else data.replace(b'\r', b'')
            sys.stdout.buffer.write(shown)
            sys.stdout.buffer.flush()
            self.column = 0 if data.endswith(b'\n') else 1
        lines = (self.console_line + data).split(b'\n')
        # Bounded: a guest that never ends its line costs no memory.
        self.console_line = lines.pop()[-4096:]
        for line in lines:
            self.look_for_report(line.decode('utf-8', 'replace').rstrip('\r'))

    def look_for_report(self, line):
        match = None if self.report else REPORTS.search(line)
        if match and self.expected and self.expected in match.group(1):
            return
        if match:
            self.report = match.group(1)
            self.report_ends = time.monotonic() + AFTER_REPORT
        elif self.report and self.report.startswith('---'):
            # "cut here" is only the frame: the next line says what it is.
            self.report = re.sub(r'^.*?\] ', '', line)

    def typed(self):
        data = os.read(sys.stdin.fileno(), 1024)
        if not data or b'\x1d' in data:     # Ctrl-]
            raise Ended(0, None)
        self.send(self.console, data)

    # The side port.

    def side_connected(self, conn):
        self.side = conn
        conn.setblocking(False)
        self.selector.register(conn, selectors.EVENT_READ, self.side_read)

    def side_read(self):
        lines = (self.side_line + self.receive(self.side)).split(b'\n')
        self.side_line = lines.pop()[-4096:]
        for line in lines:
            word, _, rest = line.decode('utf-8', 'replace').strip() \
                                .partition(' ')
            handler = getattr(self, 'on_' + word.replace('-', '_'), None)
            if handler:
                handler(rest)

    def on_exit(self, rest):
        self.verdict = int(rest) if rest.isdigit() else EXIT_RUNNER
        self.power_off_ends = time.monotonic() + POWER_OFF
        self.send(self.side, b'bye\n')

    def on_taint(self, rest):
        mask = int(rest) if rest.isdigit() else 0
        bits = [text for bit, text in TAINTS.items() if mask & 1 << bit]
        self.taint = ' and '.join(bits)

    def on_setup_failed(self, rest):
        self.setup_failed = rest

    def on_note(self, rest):
        with open('notes', 'a', encoding='utf-8') as f:
            f.write(rest + '\n')

    def on_expect(self, rest):
        self.expected = rest

    def on_checkpoint(self, rest):
        name = rest or '(no name)'
        if self.check or not self.options.host_check:
            self.say(f'checkpoint {name}: there is no host check to run')
            self.reply(EXIT_RUNNER)
            return
        environment = dict(os.environ, QMP_SOCKET=os.path.abspath('qmp'),
                           PYTHONDONTWRITEBYTECODE='1')
        try:
            process = subprocess.Popen(
                [self.options.host_check] + shlex.split(rest),
                stdin=subprocess.DEVNULL, env=environment,
                start_new_session=True, preexec_fn=die_with_parent)
        except (OSError, ValueError) as e:
            self.say(f'checkpoint {name}: {e}')
            self.reply(EXIT_RUNNER)
            return
        self.check = process, name, time.monotonic() + CHECK_TIME

    def poll_check(self):
        process, name, ends = self.check
        status = process.poll()
        if status is None:
            if time.monotonic() < ends:
                return
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            self.say(f'checkpoint {name}: the host check did not end within '
                     f'{CHECK_TIME} seconds')
            status = EXIT_TIMEOUT
        self.check = None
        # A signal's number is no exit status that a shell could pass on.
        self.reply(status if status >= 0 else 128 - status)

    def reply(self, status):
        self.send(self.side, b'reply %d\n' % status)

    # The watch.

    @staticmethod
    def send(conn, data):
        """A port of a QEMU that is gone takes nothing; judge() says why."""
        try:
            if conn:
                conn.sendall(data)
        except OSError:
            pass

    @staticmethod
    def receive(conn):
        try:
            return conn.recv(65536)
        except (BlockingIOError, ConnectionError):
            return b''

    def say(self, text):
        sys.stdout.flush()
        end = '\r\n' if self.terminal else '\n'
        sys.stderr.write(('\n' if self.column else '') +
                         f'guest run: {text}{end}')
        sys.stderr.flush()
        self.column = 0

    def drain(self):
        """Read what is left on the ports of a QEMU that has ended."""
        for conn, read in ((self.console, self.console_read),
                           (self.side, self.side_read)):
            while conn:
                before = self.log.tell(), self.side_line, self.verdict
                read()
                if before == (self.log.tell(), self.side_line, self.verdict):
                    break

    def judge(self):
        """Raise Ended when the run is over."""
        now = time.monotonic()
        if self.check:
            self.poll_check()
        gone = self.qemu.poll()
        if gone is not None:
            self.drain()
        if self.report and (gone is not None or now > self.report_ends):
            raise Ended(EXIT_KERNEL,
                        f'the guest kernel reported: {self.report}')
        if gone is not None:
            self.judge_end(gone)
        if self.power_off_ends and now > self.power_off_ends:
            self.ask_what_hangs()
            raise Ended(EXIT_KERNEL, 'the guest gave its verdict and then did '
                        f'not power off within {POWER_OFF} seconds')
        if now > self.deadline:
            self.ask_what_hangs()
            if self.report:
                raise Ended(EXIT_KERNEL,
                            f'the guest kernel reported: {self.report}')
            raise Ended(EXIT_TIMEOUT, 'no verdict from the guest within '
                        f'{self.options.timeout} seconds')

    def judge_end(self, gone):
        if self.taint:
            raise Ended(EXIT_KERNEL, 'the guest kernel is tainted by '
                        f'{self.taint} that was not seen on the console')
        if self.setup_failed:
            raise Ended(EXIT_RUNNER, f'guest setup: {self.setup_failed}')
        if gone < 0:
            name = signal.Signals(-gone).name
            raise Ended(EXIT_QEMU, f'QEMU was ended by {name}')
        if self.verdict is None and gone > 0:
            raise Ended(EXIT_QEMU, f'QEMU ended with status {gone} before '
                        'the guest gave a verdict')
        if self.verdict is None:
            raise Ended(EXIT_QEMU, 'the guest powered off or restarted '
                        'before it gave a verdict')
        raise Ended(self.verdict)

    def ask_what_hangs(self):
        """Have the guest print its blocked tasks and what its CPUs run."""
        try:
            with qmp.QMP('qmp-run', timeout=2) as monitor:
                for key in b'wl':
                    monitor.cmd('chardev-send-break', id='console')
                    self.send(self.console, bytes([key]))
                    self.loop_for(2)
        except qmp.QMPError:
            return

    def loop_for(self, seconds):
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            for key, _ in self.selector.select(0.2):
                key.data()
            if self.qemu.poll() is not None:
                # A closed socket is always readable.
                return

    def run(self):
        self.start()
        while True:
            self.judge()
            for key, _ in self.selector.select(0.1):
                key.data()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--dir', required=True)
    parser.add_argument('--timeout', type=float, required=True)
    parser.add_argument('--host-check')
    parser.add_argument('--quiet', action='store_true')
    parser.add_argument('--interactive', action='store_true')
    parser.add_argument('command', nargs='+')
    options = parser.parse_args()
    options.timeout = int(options.timeout)

    ending = []

    def interrupted(number, _frame):
        # Once is enough: the clean-up is not to be interrupted.
        if not ending:
            ending.append(number)
            raise Ended(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupted)
    os.chdir(options.dir)
    guest = Guest(options)
    try:
        guest.run()
    except Ended as end:
        ended = end
    except OSError as e:
        ended = Ended(EXIT_RUNNER, str(e))
    finally:
        ending.append(None)
        guest.stop()
    guest.terminal = None
    if ended.text:
        guest.say(ended.text)
    sys.exit(ended.status)


if __name__ == '__main__':
    main()
