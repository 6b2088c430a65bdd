#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Three guests on one store, one of them greedy and hostile: is it fair?

The polite guests are virtual machines that swap, one over vhost-user-blk with
nothing installed, one with the driver.  All three are at work until the shares
have settled, and that is measured; then each virtual machine alone, while the
other stands still.  In the end they are killed.
"""

import argparse
import json
import signal
import sys
import time

from figures import Verdict, Window
from host import (A, B, GREEDY, Guest, Host, Hostile, MIB, QMPError, WEIGHTS,
                  wait_until)
from view import View, verdict

SETTLED = 7             # per cent that a client is off its share then


def stored(store, name):
    """Stores that a client has asked for."""
    return next(client['total']['stores'] for client in store['clients']
                if client['name'] == name)


class Demo:
    """One run, phase by phase."""

    def __init__(self, options, view):
        self.options = options
        self.view = view
        self.start = time.monotonic()
        self.host = Host(options.store * MIB)
        self.guests = {}
        self.ending = []
        self.hostile = None
        self.peak = 0
        self.result = Verdict()

    def processes(self):
        named = {'daemon': self.host.pid, **{name: guest.pid for name, guest
                                             in self.guests.items()}}
        if self.hostile:
            named[GREEDY] = self.hostile.pid
        return named

    def watched(self):
        return [*self.guests.values(), *([self.hostile] if self.hostile
                                         else [])]

    def watch(self, phase, seconds, enough=lambda window: True):
        """Samples for so long, and until it is enough."""
        window = Window(self.host, self.processes())
        ends = time.monotonic() + seconds
        latest = ends + self.options.patience
        while time.monotonic() < ends or not enough(window):
            store = window.sample()
            self.view.show(phase, time.monotonic() - self.start, store)
            for one in self.watched():
                if one.problem():
                    raise RuntimeError(one.problem())
            if time.monotonic() > latest:
                break
            time.sleep(0.5)
        self.peak = max(self.peak, window.memory_peak)
        window.cpu = window.cpu_percent()
        return window

    def boot(self):
        for name in (A, B):
            self.guests[name] = Guest(self.host, name, self.options.work,
                                      self.options.timeout)
        for guest in self.guests.values():
            wait_until(lambda g=guest: 'ready' in g.notes(),
                       self.options.patience, f'{guest.name} swaps', guest)
            guest.monitor('stop')

    def together(self):
        """All at once: until the shares have settled, and then measured."""
        self.hostile = Hostile(self.host)
        for guest in self.guests.values():
            guest.monitor('cont')
        pages = self.host.size // 4096

        def settled(window):
            return window.spread() <= SETTLED and all(
                stored(window.last, name) - stored(window.first, name) >=
                self.options.churn * pages * WEIGHTS[name] // 3
                for name in (A, B))
        # What is held beyond a share goes as its holder stores it again.
        window = self.watch('all three begin', self.options.settle, settled)
        self.result.figures['settled_s'] = round(window.seconds)
        return self.watch('all three', self.options.measure,
                          lambda window: all(
                              window.latency(name).total >=
                              self.options.loads for name in (A, B)))

    def alone(self, name):
        """The others stand still; whoever is greedy has been sent away."""
        for other, guest in self.guests.items():
            guest.monitor('cont' if other == name else 'stop')
        return self.watch(f'{name} alone', self.options.measure,
                          lambda window:
                          window.latency(name).total >= self.options.loads)

    def kill(self, name):
        """SIGKILL; returns the seconds until nothing of it is left."""
        guest = self.guests.pop(name)
        self.ending.append(guest)
        guest.kill()
        start = time.monotonic()
        while True:
            client = self.host.client(name)
            if (not client['total']['pages'] and
                    client['stats']['bytes'] <= self.host.empty[name]):
                return time.monotonic() - start
            if time.monotonic() - start > 20:
                raise RuntimeError(f'{name} was killed, and'
                                   f' {client["total"]["pages"]} pages and'
                                   f' {client["stats"]["bytes"]} bytes are'
                                   ' left')
            time.sleep(0.01)

    def judge(self, alone, together):
        result = self.result
        result.shares(together)
        result.minimums(together)
        result.latencies(alone, together)
        self.view.say(result.cpu({**{f'{name} alone': window for name, window
                                     in alone.items()},
                                  'together': together}))

    def run(self):
        self.boot()
        together = self.together()
        self.result.hostility(self.host.client(GREEDY))
        self.hostile.stop()
        self.hostile = None
        alone = {name: self.alone(name) for name in (A, B)}
        self.judge(alone, together)
        for guest in self.guests.values():
            self.result.add(not guest.problem(), f'{guest.name} has found'
                            ' every byte right that it has read back')
        for name in (B, A):
            self.result.freed(name, self.kill(name))
        self.result.memory(self.peak, self.host.beside(), self.host.size)
        self.result.figures['daemon_rss_peak_bytes'] = self.host.rss_peak()

    def close(self):
        for guest in [*self.guests.values(), *self.ending]:
            guest.stop()
        if self.hostile:
            self.hostile.stop()
        self.host.close()


def arguments():
    parser = argparse.ArgumentParser(
        prog='fleet-demo', description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--short', action='store_true',
                        help='a smaller store and less time: a test')
    parser.add_argument('--json', action='store_true',
                        help='figures and verdict as JSON on standard output,'
                        ' the table on standard error')
    options = parser.parse_args()
    # In MiB, seconds, times that a guest's share of pages is stored, and loads
    # that a p99 takes at least while there is patience.
    options.store, options.work, options.settle, options.measure, \
        options.churn, options.loads = (24, 140, 5, 10, 1, 300) \
        if options.short else (48, 180, 20, 30, 2, 1000)
    options.patience = 300      # for a machine that has other work
    options.timeout = 3600
    return options


def interrupted(number, _frame):
    raise KeyboardInterrupt(number)


def main():
    options = arguments()
    view = View(sys.stderr if options.json else sys.stdout)
    ends = [number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
            if signal.getsignal(number) != signal.SIG_IGN]
    for number in ends:
        signal.signal(number, interrupted)
    try:
        demo = Demo(options, view)
    except (OSError, QMPError, RuntimeError) as e:
        sys.exit(f'fleet-demo: the storage daemon does not work: {e}')
    try:
        demo.run()
    except (OSError, QMPError, RuntimeError) as e:
        demo.result.add(False, f'{type(e).__name__}: {e}')
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        for number in ends:
            signal.signal(number, signal.SIG_IGN)
        demo.close()
    verdict(view, demo.result)
    if options.json:
        figures = {key.replace('-', '_').replace(' ', '_'): value
                   for key, value in demo.result.figures.items()}
        print(json.dumps({'fair': demo.result.ok, **figures,
                          'verdict': demo.result.sentences}, indent=4))
    sys.exit(not demo.result.ok)


main()
