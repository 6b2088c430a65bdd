# SPDX-License-Identifier: GPL-2.0-or-later
"""The fleet as a table: over itself on a terminal, else now and then."""

from figures import Histogram, expected_shares
from host import DOORS, MIB, WEIGHTS

HEADER = (f'{"client":<9}{"door":<16}{"weight":>6}{"pages":>9}{"MiB":>8}'
          f'{"share":>8}{"of it":>7}{"refused":>10}{"p99 us":>9}')


def refused(client):
    return client['total']['stores'] - client['total']['stores-ok']


class View:
    """What was shown last, so that the next table has the difference."""

    def __init__(self, out, every=5):
        self.out = out
        self.live = out.isatty()
        self.every = 1 if self.live else every
        self.next = 0
        self.height = 0
        self.before = {}

    def rows(self, store):
        shares = expected_shares(store, store['clients'])
        clients = {client['name']: client for client in store['clients']}
        for name in WEIGHTS:
            client = clients[name]
            now = Histogram.of(client)
            p99 = now.since(self.before.get(name, Histogram())).percentile(99)
            self.before[name] = now
            used = client['stats']['bytes']
            yield (f'{name:<9}{DOORS[name]:<16}{WEIGHTS[name]:>6}'
                   f'{client["total"]["pages"]:>9}{used / MIB:>8.1f}'
                   f'{shares[name] / MIB:>8.1f}'
                   f'{100 * used / shares[name]:>6.0f}%{refused(client):>10}'
                   f'{"-" if p99 is None else format(p99, ".1f"):>9}')

    def show(self, phase, seconds, store):
        if seconds < self.next:
            return
        self.next = seconds + self.every
        stats = store['stats']
        lines = [f'{seconds:>5.0f} s  {phase}: '
                 f'{stats["used-bytes"] / MIB:.1f} of '
                 f'{stats["size-bytes"] / MIB:.0f} MiB in use', HEADER,
                 *self.rows(store)]
        up = f'\033[{self.height}A' if self.height and self.live else ''
        clear = '\033[K' if self.live else ''
        self.out.write(up + ''.join(f'{clear}{line}\n' for line in lines))
        self.out.flush()
        self.height = len(lines)

    def say(self, text):
        self.out.write(f'{text}\n')
        self.out.flush()
        self.height = 0


def verdict(view, result):
    for sentence in result.sentences:
        view.say(f'{"ok " if sentence["ok"] else "NOT"} {sentence["text"]}')
    view.say('verdict: ' + ('fair' if result.ok else 'NOT FAIR'))



