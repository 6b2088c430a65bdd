#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs tmem-bench, short, and what it must refuse; TAP.

    test-bench.py TMEM-BENCH
"""

import json
import math
import os
import random
import re
import signal
import subprocess
import sys
import tempfile

PAGE = 4096

# What others may rely on to be there, as a number or null.
KEYS = '''p1_store_ratio p1_load_ratio p1_samefilled_speedup p3_fresh p3_churn
p3_giveback_1s p4_two_threads p4_64_clients p4_30m_pages p5_ratio p8_ratio
p8_load_p99_ratio zram_store_ratio zram_load_ratio entries_store entries_load
samefilled_share store_us load_us raw_store_us raw_load_us
same_entries_bytes zram_density zram_fresh zram_churn zram_compacted timing_store_ratio
timing_load_ratio'''.split()

# Measured on every machine.
ALWAYS = '''p1_store_ratio p1_load_ratio p1_samefilled_speedup p3_fresh p3_churn
p3_giveback_1s p4_64_clients p4_30m_pages p5_ratio samefilled_share timing_store_ratio
timing_load_ratio'''.split()


class Wrong(Exception):
    """Something is not as it must be."""


def make_corpus(path, pages=2600):
    """Text-like, incompressible and same-filled pages, in no order."""
    rand = random.Random(1)
    words = [bytes(rand.choices(b'abcdefghij \n', k=rand.randrange(3, 12)))
             for _ in range(300)]
    with open(path, 'wb') as f:
        for nr in range(pages):
            if nr % 50 == 0:
                f.write(bytes([nr // 50 % 4]) * PAGE)
            elif nr % 50 == 1:
                f.write(rand.randbytes(PAGE))
            else:
                text = b''.join(rand.choices(words, k=700))
                f.write(text[:PAGE].ljust(PAGE, b'.'))


def run(*arguments):
    return subprocess.run(arguments, capture_output=True, text=True,
                          timeout=300, check=False)


def check_quick(bench, directory):
    out = os.path.join(directory, 'quick.json')
    done = run(bench, 'store', '--quick', '--json', out, '--corpus',
               os.path.join(directory, 'corpus'))
    if done.returncode:
        raise Wrong(f'status {done.returncode}: {done.stderr}')
    with open(out, encoding='utf-8') as f:
        figures = json.load(f)
    for key in KEYS:
        if key not in figures:
            raise Wrong(f'no {key} in the JSON')
        value = figures[key]
        if value is None and key not in ALWAYS:
            continue
        if not isinstance(value, (int, float)) or not math.isfinite(value):
            raise Wrong(f'{key} is {value!r}')
        if value < 0 or (value == 0 and key.endswith(('_ratio', '_us'))):
            raise Wrong(f'{key} is {value!r}')
    # What is not a matter of time has its right value.
    if abs(figures['samefilled_share'] - 0.02) > 0.001:
        raise Wrong(f"samefilled_share is {figures['samefilled_share']}")
    if figures['p3_refused']:
        raise Wrong(f"{figures['p3_refused']} pages were refused")
    # An entry of 8 bytes, its part of a node, and of a store so small.
    if not 8 < figures['same_entries_bytes'] < 200:
        raise Wrong(f"{figures['same_entries_bytes']} bytes a page")
    nested = [key for key, value in figures.items()
              if isinstance(value, (dict, list))]
    if nested:
        raise Wrong(f'the JSON is not flat: {nested}')
    # The table has them too.
    missing = [key for key in KEYS if not re.search(rf'^{key} ', done.stdout,
                                                    re.MULTILINE)]
    if missing:
        raise Wrong(f'not in the table: {missing}')


def refuse(status, words, *arguments):
    """It must end with @status and one line that has @words."""
    done = run(*arguments)
    lines = done.stderr.splitlines()
    if done.returncode != status:
        raise Wrong(f'status {done.returncode}, not {status}: {done.stderr}')
    if len(lines) != 1 or not lines[0].startswith('tmem-bench: '):
        raise Wrong(f'not one sentence: {done.stderr!r}')
    if words not in lines[0]:
        raise Wrong(f'{words!r} is not in: {lines[0]}')
    if done.stdout:
        raise Wrong(f'it printed {done.stdout!r}')


def check_corpora(bench, directory):
    def corpus(name, data):
        path = os.path.join(directory, name)
        with open(path, 'wb') as f:
            f.write(data)
        return path

    for words, path in (
            ('No such file', os.path.join(directory, 'missing')),
            ('not a regular file', directory),
            ('not a regular file', '/dev/zero'),
            ('0 bytes', corpus('empty', b'')),
            ('4097 bytes', corpus('odd', bytes(4097))),
            ('100 bytes', corpus('short', bytes(100)))):
        refuse(1, words, bench, 'store', '--corpus', path)
    if os.geteuid():
        unreadable = corpus('unreadable', bytes(PAGE))
        os.chmod(unreadable, 0)
        refuse(1, 'Permission denied', bench, 'store', '--corpus', unreadable)


def check_one_page(bench, directory):
    """The smallest corpus there is: nothing to compare, nothing to break."""
    path = os.path.join(os.fsencode(directory), b'one\xff')
    out = os.path.join(directory, 'one.json')
    with open(path, 'wb') as f:
        f.write(bytes(range(256)) * 16)
    done = subprocess.run([bench, 'store', '--quick', '--corpus', path,
                           '--json', out], capture_output=True, timeout=300,
                          check=False)
    if done.returncode:
        raise Wrong(f'status {done.returncode}: {done.stderr}')
    try:
        with open(out, encoding='utf-8') as f:
            json.load(f)        # whatever the corpus is called
    except ValueError as e:
        raise Wrong(f'this is no JSON: {e}') from e


def check_usage(bench, directory):
    corpus = os.path.join(directory, 'corpus')
    store = (bench, 'store', '--corpus', corpus)

    refuse(2, 'what to measure', bench)
    refuse(2, "no 'load'", bench, 'load')
    refuse(2, '--corpus', bench, 'store')
    refuse(2, '--fast', *store, '--fast')
    refuse(2, "'more'", *store, 'more')
    refuse(2, '--pages 5', *store, '--pages', '5')
    refuse(2, '--pages', *store, '--pages', 'many')
    refuse(2, '--rounds 0', *store, '--rounds', '0')
    refuse(2, '--threads -1', *store, '--threads=-1')
    refuse(2, "no part 'all'", *store, '--only', 'all')
    refuse(2, '--entries 7', *store, '--entries', '7')
    refuse(2, '--same-entries 7', *store, '--same-entries', '7')
    refuse(1, 'No such file', *store, '--json', '/nonexistent/x.json')
    refuse(1, 'directory', *store, '--json', directory)
    fifo = os.path.join(directory, 'fifo')
    os.mkfifo(fifo)
    refuse(1, 'no regular file', *store, '--json', fifo)
    refuse(1, 'No such file', *store, '--json', '')
    refuse(1, 'No such file', bench, 'vring', '--corpus', corpus, '--json',
           '/nonexistent/x.json')
    refuse(2, '--corpus', bench, 'vring')
    refuse(2, '--rounds', bench, 'vring', '--corpus', corpus, '--rounds', '0')
    refuse(1, 'make qemu', bench, 'vring', '--quick', '--no-zram', '--corpus',
           corpus, '--daemon', '/nonexistent/daemon')
    for arguments in (('--help',), ('store', '--help'), ('vring', '--help')):
        done = run(bench, *arguments)
        if done.returncode or 'Usage:' not in done.stdout or done.stderr:
            raise Wrong(f'{arguments}: status {done.returncode}, '
                        f'{done.stderr}')


def check_memory(bench, directory):
    corpus = os.path.join(directory, 'corpus')
    refuse(1, 'ask for fewer', bench, 'store', '--corpus', corpus, '--pages',
           '4000000000')
    refuse(1, 'ask for fewer', bench, 'store', '--corpus', corpus,
           '--entries', '4000000000')


def check_signals(bench, directory):
    """Its zram device goes with it, whatever ends it."""
    for number in signal.SIGINT, signal.SIGTERM, signal.SIGKILL:
        with subprocess.Popen(
                [bench, 'store', '--corpus',
                 os.path.join(directory, 'corpus'), '--rounds', '1000'],
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                text=True) as process:
            device = None
            for line in process.stderr:
                found = re.search('/dev/zram([0-9]+)', line)
                if found or 'round' in line:
                    device = found and f'/sys/block/zram{found[1]}'
                    break
            if not device:
                process.kill()
                return 'no zram to be had here'
            if not os.path.exists(device):
                process.kill()
                raise Wrong(f'there is no {device}')
            process.send_signal(number)
            # The pipe ends when the guard has ended too.
            process.stderr.read()
            if process.wait() != -number:
                raise Wrong(f'status {process.returncode} after {number!r}')
        if os.path.exists(device):
            raise Wrong(f'{device} is still there after {number!r}')
    return None


def check_evict(bench, directory):
    """A trace whose hits can be counted by hand, and limits of others."""
    trace = os.path.join(directory, 'trace')
    # The guest caches one page of ten and the store four: of three pages in
    # turn, ten times, 27 of the 30 loads hit, and none of the other seven.
    with open(trace, 'w', encoding='ascii') as f:
        f.write('# by hand\n' + '5 0 3\n' * 10 + '6 0 7\n')
    done = run(bench, 'evict', '--trace', trace)
    rows = re.findall(r'^([a-z0-9-]+) +[0-9.]+ +[0-9.]+ +[0-9.]+ +([0-9.]+) ',
                      done.stdout, re.MULTILINE)
    if len(rows) < 18 or '37 times' not in done.stdout:
        raise Wrong(f'{len(rows)} rows: {done.stdout}{done.stderr}')
    wrong = [row for row in rows if row[1] != '73.0']
    if wrong:
        raise Wrong(f'not 73.0: {wrong}')
    # A loop is what FIFO is worst at; with 5 pages of 100 kept, about 5 of
    # the 100 loads of each turn can hit.
    with open(trace, 'w', encoding='ascii') as f:
        f.write('1 0 100\n' * 11)
    done = run(bench, 'evict', '--trace', trace)
    rows = dict(re.findall(r'^(fifo|belady) +([0-9.]+) ', done.stdout,
                           re.MULTILINE))
    if rows.get('fifo') != '0.0' or not 4 <= float(rows['belady']) <= 6:
        raise Wrong(f'{rows}: {done.stderr}')
    done = run(bench, 'evict', '--model', 'zipf+scan', '--guest', '50')
    if done.returncode or 'loads 2' not in done.stdout:
        raise Wrong(f'status {done.returncode}: {done.stdout}{done.stderr}')

    for words, text in (('line 2', '1 2 3\n1 2\n'), ('line 1', '1 2 0\n'),
                        ('line 1', '1 2 -3\n'), ('line 1', '1 2 3 4\n'),
                        ('empty', ''), ('line 1', 'x' * 1000)):
        with open(trace, 'w', encoding='ascii') as f:
            f.write(text)
        refuse(1, words, bench, 'evict', '--trace', trace)
    refuse(1, 'No such file', bench, 'evict', '--trace', trace + 'x')
    refuse(1, "no model 'x'", bench, 'evict', '--model', 'x')
    refuse(2, 'either', bench, 'evict')
    refuse(2, '--guest', bench, 'evict', '--model', 'zipf', '--guest', '0')


CHECKS = (check_quick, check_one_page, check_corpora, check_usage,
          check_memory, check_signals, check_evict)


def main():
    bench = sys.argv[1]
    failed = 0
    print(f'1..{len(CHECKS)}')
    with tempfile.TemporaryDirectory() as directory:
        make_corpus(os.path.join(directory, 'corpus'))
        for nr, check in enumerate(CHECKS, 1):
            name = '/bench/' + check.__name__.removeprefix('check_')
            skipped = None
            try:
                skipped = check(bench, directory)
                verdict = 'ok'
            except (Wrong, subprocess.TimeoutExpired) as e:
                verdict = 'not ok'
                failed += 1
                for line in str(e).splitlines():
                    print('# ' + line)
            skipped = f' # SKIP {skipped}' if skipped else ''
            print(f'{verdict} {nr} {name}{skipped}', flush=True)
    sys.exit(1 if failed else 0)


if __name__ == '__main__':
    main()
