# SPDX-License-Identifier: GPL-2.0-or-later
"""What is measured in a window of time, and what follows from it."""

import math
import os
import time

from host import A, B, GREEDY, MIB, WEIGHTS, cpu_seconds

TOLERANCE = 10          # per cent that a share may be off
LATENCY = 2             # times the p99 of being alone
FREED = 1.0             # seconds
BESIDE = 4 * MIB        # bytes of the doors' own buffers
FULL = 85               # per cent of the store: else nobody had to share


def bucket_width(at):
    """A bucket is a quarter of the power of two that it is in."""
    return (1 << at.bit_length() - 1) / 4 if at > 3 else 1


def by_chance(number):
    """How many of so many are above a p99 that is right, at most: 3 sigma."""
    return number / 100 + 3 * math.sqrt(number * 0.01 * 0.99)


class Histogram:
    """Latencies of a client, as counts by the least time of their bucket."""

    def __init__(self, counts=None):
        self.counts = counts or {}

    @classmethod
    def of(cls, client):
        """Requests with loads, from taking them to handing them back."""
        counts = {}
        for bucket in client['latency']['load-request'].get('buckets', []):
            counts[bucket['from-ns']] = bucket['count']
        return cls(counts)

    def since(self, before):
        return Histogram({at: count - before.counts.get(at, 0)
                          for at, count in self.counts.items()
                          if count > before.counts.get(at, 0)})

    @property
    def total(self):
        return sum(self.counts.values())

    def above(self, microseconds):
        """How many took longer; within a bucket as percentile() has it."""
        limit, number = microseconds * 1000, 0
        for at, count in self.counts.items():
            width = bucket_width(at)
            number += count * min(max((at + width - limit) / width, 0), 1)
        return number

    def percentile(self, percent):
        """In microseconds, within a bucket a straight line; None of nothing."""
        wanted, below = self.total * percent / 100, 0
        for at in sorted(self.counts):
            count = self.counts[at]
            if below + count >= wanted:
                return (at + bucket_width(at) * (wanted - below) / count) / 1000
            below += count
        return None


def expected_shares(store, clients):
    """Bytes by minimum and weight of what the store has for its clients."""
    stats = store['stats']
    left = (stats['size-bytes'] - stats['overhead-bytes'] -
            sum(c['limits']['min-size'] for c in clients))
    weights = sum(c['limits']['weight'] for c in clients)
    return {c['name']: c['limits']['min-size'] +
            left * c['limits']['weight'] / weights for c in clients}


class Window:
    """A stretch of time in which samples of the host are taken."""

    def __init__(self, host, processes):
        self.host = host
        self.processes = processes      # name -> process ID
        self.begin = time.monotonic()
        self.first = self.last = host.query()
        self.cpu_first = self._cpu()
        self.samples = 0
        self.memory_peak = 0
        self.sums = {}
        self.lowest = {}
        self.shares = {}

    def _cpu(self):
        return {name: cpu_seconds(pid) for name, pid in self.processes.items()}

    def sample(self):
        self.last = store = self.host.query()
        self.samples += 1
        self.memory_peak = max(self.memory_peak, self.host.memory())
        self.shares = expected_shares(store, store['clients'])
        for client in store['clients']:
            name, used = client['name'], client['stats']['bytes']
            self.sums[name] = self.sums.get(name, 0) + used
            self.lowest[name] = min(self.lowest.get(name, used), used)
        return store

    def latency(self, name):
        def of(store):
            return next(Histogram.of(client) for client in store['clients']
                        if client['name'] == name)
        return of(self.last).since(of(self.first))

    def spread(self):
        """Per cent that a client is off its share at most, now."""
        return max(100 * abs(client['stats']['bytes'] /
                             self.shares[client['name']] - 1)
                   for client in self.last['clients'])

    @property
    def seconds(self):
        return time.monotonic() - self.begin

    def cpu_percent(self):
        """Of one CPU, by process, until now."""
        now, seconds = self._cpu(), max(self.seconds, 0.001)
        return {name: 100 * (now[name] - before) / seconds
                for name, before in self.cpu_first.items()}

    def mean(self, name):
        return self.sums[name] / max(self.samples, 1)


class Verdict:
    """Sentences with what they are about, each right or not."""

    def __init__(self):
        self.sentences = []
        self.figures = {}

    def add(self, good, text):
        self.sentences.append({'ok': bool(good), 'text': text})

    @property
    def ok(self):
        return all(sentence['ok'] for sentence in self.sentences)

    def shares(self, window):
        # Parts of what they hold together: what is free is nobody's.
        all_bytes = sum(window.mean(name) for name in WEIGHTS)
        wanted = sum(window.shares[name] for name in WEIGHTS)
        for name in WEIGHTS:
            part = window.mean(name) / all_bytes
            of_right = 100 * part / (window.shares[name] / wanted)
            self.figures[f'{name}_share_percent'] = round(100 * part, 2)
            self.figures[f'{name}_of_weight_percent'] = round(of_right, 1)
            self.add(abs(of_right - 100) <= TOLERANCE,
                     f'{name} holds {100 * part:.1f} % of what is held,'
                     f' {of_right:.0f} % of what its weight says')
        held = 100 * all_bytes / window.host.size
        self.figures['held_percent'] = round(held, 1)
        self.add(held >= FULL, f'the store was {held:.0f} % full')

    def minimums(self, window):
        for name, least in window.host.min_bytes.items():
            self.figures[f'{name}_lowest_bytes'] = window.lowest[name]
            self.figures[f'{name}_min_bytes'] = least
            self.add(window.lowest[name] >= least,
                     f'{name} never held less than'
                     f' {window.lowest[name] / least:.2f} of its minimum')

    def latencies(self, alone, together):
        for name in (A, B):
            before = alone[name].latency(name)
            after = together.latency(name)
            p99 = before.percentile(99), after.percentile(99)
            if None in p99:
                self.add(False, f'{name} loaded nothing')
                continue
            ratio = p99[1] / p99[0]
            self.figures.update({
                f'{name}_p99_alone_us': round(p99[0], 2),
                f'{name}_p99_us': round(p99[1], 2),
                f'{name}_p50_alone_us': round(before.percentile(50), 2),
                f'{name}_p50_us': round(after.percentile(50), 2),
                f'{name}_loads_alone': before.total,
                f'{name}_loads': after.total,
                f'{name}_p99_ratio': round(ratio, 2)})
            # Of few loads a p99 is one of the slowest, and so an accident.
            slow = after.above(LATENCY * p99[0])
            self.figures[f'{name}_slow_loads'] = round(slow)
            self.add(slow <= by_chance(after.total),
                     f'loads of {name}: p99 {p99[1]:.1f} us, alone'
                     f' {p99[0]:.1f} us, {ratio:.2f} times; of {after.total},'
                     f' {slow:.0f} took over {LATENCY} times that'
                     f' ({by_chance(after.total):.0f} may by chance;'
                     f' {before.total} timed alone)')

    def memory(self, peak, beside, size):
        """@peak: of all that libtmem had; @beside: what is not the store's."""
        peak -= beside
        self.figures['memory_peak_bytes'] = peak
        self.figures['memory_beside_bytes'] = beside
        self.figures['size_bytes'] = size
        # Else it would hide as much of what is above the limit.
        self.add(beside <= BESIDE, 'buffers of the doors, beside the store,'
                 f' are {beside / MIB:.1f} MiB, of {BESIDE // MIB} at most')
        self.add(peak <= size, f'memory of the store was {peak / size:.3f} of'
                 ' its limit at most')

    def cpu(self, windows):
        """@windows: phase -> window.  Returns a sentence for the reader."""
        said = []
        for phase, window in windows.items():
            shares = {who: round(share) for who, share in window.cpu.items()}
            self.figures[f'cpu_percent_{phase}'] = shares
            said.append(f'{phase}: ' + ', '.join(
                f'{who} {share}' for who, share in shares.items()))
        self.figures['cpus'] = os.cpu_count()
        return (f'CPU time in per cent of one of {os.cpu_count()}: ' +
                '; '.join(said))

    def hostility(self, client):
        stats = client['stats']
        names = 'requests-refused', 'ops-invalid', 'ops-no-pool'
        for name in names:
            self.figures[f'{GREEDY}_{name.replace("-", "_")}'] = stats[name]
        self.add(all(stats[name] for name in names),
                 f'of {GREEDY}, {stats["requests-refused"]} requests and'
                 f' {stats["ops-invalid"]} operations made no sense, and'
                 f' {stats["ops-no-pool"]} were for pools of others')

    def freed(self, name, seconds):
        self.figures[f'{name}_freed_s'] = round(seconds, 3)
        self.add(seconds <= FREED, f'{name} was killed, and all it held was'
                 f' free {seconds:.2f} s later')
