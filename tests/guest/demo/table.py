#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The host's half of the demo: guest and host side by side, live.

    table.py DIR RAM-MIB WORK-MIB

DIR is the working directory of tests/guest/run: its file "notes" has the
guest's figures, its socket "qmp" the host's.  Ends when QEMU does, with a
summary in plain words if the guest's work was seen.
"""

import os
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)),
                                '..'))

# pylint: disable=wrong-import-position
import qmp                                                      # noqa: E402

MIB = 1 << 20
PAGE = 4096
LIVE_SECONDS, PLAIN_SECONDS = 1, 5
HEADER = ('  time | guest: free    swap  done | host:  pages  memory ratio '
          '  same refused')


class Sample:
    """The figures of one moment; None where they are not known yet."""

    def __init__(self, notes, store, seconds):
        self.seconds = seconds
        self.total, self.free, self.swap = (
            notes.get(key) for key in ('total', 'free', 'swap'))
        self.work = notes.get('work') or 'booting'
        self.store = store
        client = store['clients'][0] if store and store['clients'] else None
        self.pages = client['total'] if client else None
        self.client = client['stats'] if client else None

    @property
    def percent(self):
        match = re.search(r'(\d+) %', self.work)
        return int(match.group(1)) if match else 0

    @property
    def refused(self):
        return self.pages['stores'] - self.pages['stores-ok']

    @property
    def moved(self):
        return self.pages['stores'] + self.pages['loads']

    @property
    def ratio(self):
        """Bytes of the pages held for each byte of memory they take."""
        used = self.client['bytes']
        return self.pages['pages'] * PAGE / used if used else 0


def mib(size):
    return f'{size / MIB:,.0f} MiB'


def kib(size):
    return '-' if size is None else mib(size * 1024)


def read_notes(directory, notes):
    """Update notes from the last whole line of each kind."""
    try:
        with open(os.path.join(directory, 'notes'), encoding='utf-8') as f:
            lines = f.read().split('\n')[:-1]
    except OSError:
        return
    for line in lines[-3:]:
        line, mark, work = line.partition('work=')
        if mark:
            notes['work'] = work
        for word in line.split():
            key, _, value = word.partition('=')
            if value.isdigit():
                notes[key] = int(value)


def guest_lines(s):
    bar = '#' * (s.percent * 24 // 100)
    where, _, _ = s.work.partition(',')
    return [
        f'RAM            {kib(s.total):>20}',
        f'RAM free       {kib(s.free):>20}',
        f'swap used      {kib(s.swap):>20}',
        '',
        f'{where:>35}',
        f'work [{bar:<24}] {s.percent:>2} %',
    ]


def host_lines(s):
    if not s.pages:
        return ['no client yet']
    per_page = max(s.moved, 1)
    return [
        f"pages stored   {s.pages['pages']:>9,} = "
        f"{mib(s.pages['pages'] * PAGE):>8}",
        f"memory used    {mib(s.client['bytes']):>20}",
        f'ratio          {s.ratio:>16.1f} : 1',
        f"same-filled    {s.pages['pages-same-filled']:>14,} pages",
        f"stores, loads  {s.pages['stores']:>9,} {s.pages['loads']:>10,}",
        f'refused        {s.refused:>20,}',
        'notifications per page moved:',
        f"  to host {s.client['kicks'] / per_page:.3f}, "
        f"to guest {s.client['interrupts'] / per_page:.3f}",
    ]


def screen(s, title):
    left, right = guest_lines(s), host_lines(s)
    height = 8
    left += [''] * (height - len(left))
    right += [''] * (height - len(right))
    rule = '-' * 38 + '+' + '-' * 40
    lines = [f'{title:<66}{s.seconds:>10.0f} s', rule,
             f" {'guest (Linux 6.12)':<36} | {'host (store of QEMU)'}", rule]
    lines += [f' {a:<36} | {b:<38}' for a, b in zip(left, right)]
    return lines + [rule]


class Terminal:
    """The table, written over itself."""

    period = LIVE_SECONDS

    def __init__(self, title):
        self.title = title
        self.height = 0

    def show(self, sample):
        lines = screen(sample, self.title)
        up = f'\033[{self.height}A' if self.height else ''
        sys.stdout.write('\r' + up + ''.join(f'\033[K{line}\n'
                                             for line in lines))
        sys.stdout.flush()
        self.height = len(lines)


class Plain:
    """A line now and then."""

    period = PLAIN_SECONDS

    def __init__(self, title):
        print(title)
        self.rows = 0

    def show(self, s):
        if not s.pages or s.total is None:
            return
        if self.rows % 20 == 0:
            print(HEADER)
        self.rows += 1
        print(f'{s.seconds:>4.0f} s | {kib(s.free):>11} {kib(s.swap):>7} '
              f"{s.percent:>3} % | {s.pages['pages']:>12,} "
              f"{mib(s.client['bytes']):>7} {s.ratio:>5.1f} "
              f"{s.pages['pages-same-filled']:>6,} {s.refused:>7,}",
              flush=True)


def summary(peak, last, ram, work, rounds):
    """What happened, in sentences."""
    text = [
        f'The guest has {ram} MiB of RAM and worked on {work} MiB'
        + (f', {rounds} times' if rounds and rounds > 1 else '')
        + '; every byte was verified.',
        f"At the peak the host held {mib(peak.pages['pages'] * PAGE)} of its "
        f"pages in {mib(peak.client['bytes'])} of memory,",
        f'index included ({peak.ratio:.1f} : 1); '
        f"{peak.pages['pages-same-filled']:,} of them are one repeated word.",
        f"{last.pages['stores']:,} pages went to the host and "
        f"{last.pages['loads']:,} came back, with "
        f"{last.client['kicks'] / max(last.moved, 1):.3f}",
        'notifications of the host per page.',
    ]
    if last.refused:
        text.append(f'{last.refused:,} stores were refused: the store was '
                    'full.')
    else:
        text.append('Nothing was refused, and nothing touched a disk.')
    print('\n' + '\n'.join(text), flush=True)


def watch(directory, view):
    """Show samples until QEMU ends; return the fullest and the last one."""
    notes, start = {}, time.monotonic()
    peak = last = monitor = None
    next_row = 0
    try:
        while True:
            if not monitor:
                try:
                    monitor = qmp.QMP(os.path.join(directory, 'qmp'))
                except qmp.QMPError:
                    # Not up yet; whoever started this ends it if never.
                    time.sleep(0.2)
                    continue
            stores = monitor.cmd('query-tmem')
            read_notes(directory, notes)
            seconds = time.monotonic() - start
            sample = Sample(notes, stores[0] if stores else None, seconds)
            if sample.pages:
                # At power-off the device is reset and its counts are gone.
                if not last or sample.moved >= last.moved:
                    last = sample
                if not peak or sample.pages['pages'] > peak.pages['pages']:
                    peak = sample
            if seconds >= next_row:
                view.show(sample)
                next_row += view.period
            time.sleep(0.25)
    except qmp.QMPError:
        read_notes(directory, notes)
    return peak, last, notes.get('rounds')


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__.strip())
    directory, ram, work = sys.argv[1:]
    title = f'A guest with {ram} MiB of RAM works on {work} MiB'
    view = Terminal(title) if sys.stdout.isatty() else Plain(title)
    try:
        peak, last, rounds = watch(directory, view)
    except KeyboardInterrupt:
        sys.exit(130)
    if not rounds:
        sys.exit(1)     # the guest did not get to its end
    summary(peak, last, ram, work, rounds)


if __name__ == '__main__':
    main()
