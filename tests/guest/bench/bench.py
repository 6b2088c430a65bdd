#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Measures swap devices against each other in a guest under memory pressure.

Every row boots the same guest, lets it work on more memory than it has with
every byte verified, and then swaps out and in one kind at a time:

  blk-zram     virtio-blk on a zram disk (lz4) of this host; needs root
  blk-file     virtio-blk on a raw file, cache=none
  guest-zram   zram (lz4) inside the guest
  disk         the swap disk of virtio-tmem
  frontswap    the frontswap hooks of virtio-tmem (Linux 5.10)

Exits to the device and interrupts are counted at QEMU's virtio devices, with
ioeventfd=off for each of them, so that a notification is one exit whoever
handles it.  A row whose peer this machine does not have is skipped.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.realpath(__file__))
TOP = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
ROWS = ('blk-zram', 'blk-file', 'guest-zram', 'disk', 'frontswap')
ZRAM = '/sys/class/zram-control'
KEYS = ('row', 'wall_s', 'host_cpu_s', 'pages_in', 'pages_out',
        'kicks_per_page', 'irq_per_page', 'kicks_per_store',
        'kicks_per_sequential_load', 'bad_pages')


class Skipped(Exception):
    """This machine lacks what the row needs; says what."""


class Failed(Exception):
    """The row could not be measured; says why."""


def say(text):
    print(text, file=sys.stderr, flush=True)


# What the peers need of this host.

@contextlib.contextmanager
def host_zram(mib):
    """A zram disk of this host with lz4, as the path of its node."""
    if not os.path.isdir(ZRAM):
        subprocess.run(['modprobe', 'zram', 'num_devices=0'], check=False,
                       stderr=subprocess.DEVNULL)
    if not os.path.isdir(ZRAM):
        raise Skipped('this host has no zram: it needs the module zram')
    if os.geteuid() != 0:
        raise Skipped('a zram disk of this host needs root')
    with open(f'{ZRAM}/hot_add', encoding='ascii') as f:
        number = f.read().strip()
    sysfs = f'/sys/block/zram{number}'
    try:
        for name, value in ('comp_algorithm', 'lz4'), ('disksize', f'{mib}M'):
            try:
                with open(f'{sysfs}/{name}', 'w', encoding='ascii') as f:
                    f.write(value)
            except OSError as e:
                raise Skipped(f'zram of this host does not take {name}='
                              f'{value}: {e.strerror}') from e
        if not os.path.exists(f'/dev/zram{number}'):
            raise Skipped(f'there is no /dev/zram{number}')
        yield f'/dev/zram{number}'
    finally:
        for path, value in ((f'{sysfs}/reset', '1'),
                            (f'{ZRAM}/hot_remove', number)):
            try:
                with open(path, 'w', encoding='ascii') as f:
                    f.write(value)
            except OSError as e:
                say(f'zram{number} stays behind: {path}: {e.strerror}')


@contextlib.contextmanager
def raw_file(mib):
    """A file on a file system that takes O_DIRECT, as cache=none wants it."""
    directory = os.path.join(TOP, 'build')
    with tempfile.NamedTemporaryFile(dir=directory, prefix='bench-swap.') as f:
        try:
            os.close(os.open(f.name, os.O_RDWR | os.O_DIRECT))
        except OSError as e:
            raise Skipped(f'the file system of {directory} takes no direct '
                          'I/O') from e
        f.truncate(mib << 20)
        yield f.name


@contextlib.contextmanager
def arguments_of(row, options):
    """The arguments of tests/guest/run that make this row what it is."""
    words = ['--kernel', '5.10' if row == 'frontswap' else options.kernel]
    with contextlib.ExitStack() as stack:
        if row in ('blk-zram', 'blk-file'):
            peer = host_zram if row == 'blk-zram' else raw_file
            path = stack.enter_context(peer(2 * options.mib))
            words += ['--device', 'none', '--front-end', 'none',
                      '--qemu', '-drive', '--qemu', 'if=none,id=swap,'
                      f'format=raw,cache=none,file={path}',
                      '--qemu', '-device', '--qemu',
                      'virtio-blk-pci,drive=swap,ioeventfd=off']
        elif row == 'guest-zram':
            words += ['--device', 'none', '--front-end', 'none']
        else:
            words += ['--front-end', row, '--store', f'size={4 * options.mib}M',
                      '--device', f'virtio-tmem,disk-size={2 * options.mib}M,'
                      'ioeventfd=off']
        yield words


# One run.

def write_script(work, row, options):
    """The guest's script: what it has to know, and guest.sh."""
    script = os.path.join(work, 'script')
    with open(script, 'w', encoding='utf-8') as f:
        f.write(f'row={row} mib={options.mib} passes={options.passes} '
                f'load_mib={options.memory * 3 // 8}\n')
        with open(os.path.join(HERE, 'guest.sh'), encoding='utf-8') as source:
            f.write(source.read())
    return script


def run_guest(row, options, work):
    """Runs the row's guest; returns its marks and what its programs said."""
    with arguments_of(row, options) as words:
        command = [os.path.join(TOP, 'tests/guest/run'), '--quiet',
                   '--work', work, '--init', write_script(work, row, options),
                   '--memory', str(options.memory), '--smp', '2',
                   '--timeout', str(options.timeout), '--accel', options.accel,
                   '--host-check', os.path.join(HERE, 'mark'),
                   '--qemu', '-D', '--qemu', os.path.join(work, 'trace')]
        for event in ('virtio_queue_notify', 'virtio_notify',
                      'virtio_notify_irqfd'):
            command += ['--qemu', '-trace', '--qemu', event]
        # A file and not a pipe: who reads a pipe to its end waits for all
        # that hold it.
        with open(os.path.join(work, 'said'), 'w+', encoding='utf-8') as said, \
                subprocess.Popen(command + words, stdin=subprocess.DEVNULL,
                                 stdout=said, stderr=said) as guest:
            try:
                status = guest.wait()
            except BaseException:
                guest.terminate()
                raise
            said.seek(0)
            why = said.read().strip()
    try:
        with open(os.path.join(work, 'console.log'), encoding='utf-8',
                  errors='replace') as f:
            console = f.read().replace('\r', '')
    except FileNotFoundError:
        # There was no guest: it is said why.
        raise Failed(why.splitlines()[-1] if why else
                     f'status {status}, and no guest was run') from None
    # 1 and 3: wrong and lost pages, which are a result.
    if status not in (0, 1, 3):
        keep = os.path.join(TOP, 'build/log', f'bench-{row}.log')
        shutil.copy(os.path.join(work, 'console.log'), keep)
        raise Failed(f'its guest ended with status {status}'
                     f'{": " + why.splitlines()[-1] if why else ""}; '
                     f'its console is in {os.path.relpath(keep, TOP)}')
    marks = {}
    with open(os.path.join(work, 'marks'), encoding='utf-8') as f:
        for line in f:
            mark = json.loads(line)
            marks[mark['step'], mark['when']] = mark
    return marks, console


def difference(after, before):
    if isinstance(after, dict):
        # A counter that is not there before has been zero.
        return {key: difference(value, before.get(key, 0))
                for key, value in after.items()}
    return after - before if isinstance(after, (int, float)) else None


def step(marks, name):
    """What was counted between the two marks of a step, or None."""
    try:
        before, after = marks[name, 'begin'], marks[name, 'end']
    except KeyError:
        return None
    counted = {key: difference(after[key], before[key])
               for key in ('cpu', 'wall', 'kicks', 'interrupts', 'guest')}
    if after['store']:
        # Under frontswap the kernel does not count what the hooks take.
        store = difference(after['store'], before['store'])
        counted['in'], counted['out'] = store['loads-hit'], store['stores-ok']
    else:
        counted['in'] = counted['guest']['pswpin']
        counted['out'] = counted['guest']['pswpout']
    return counted


def per(count, pages):
    return round(count / pages, 4) if pages else None


def bad_pages(console):
    """Pages found wrong or lost; each process of pressure stops at its first."""
    bad = 0
    for line in console.splitlines():
        if line.startswith(('pressure: WRONG', 'pressure: LOST')):
            bad += 1
        elif line.startswith('swap-steps: FAILED'):
            bad += int(line.split(', ')[-1].split()[0])
    return bad


def cross_check(row, work):
    """Our driver counts too: what it says must be what the device saw."""
    guest = work['guest']
    if 'driver_kicks' not in guest:
        return
    # The driver's figures leave out the control queue and the moment between
    # its mark and the host's.
    # A task that looks for its answer may take others' as well, whose interrupt
    # then has nothing to do: the driver does not count it.
    for name, device, driver, spoiled in (
            ('kicks', work['kicks'], guest['driver_kicks'], 0),
            ('interrupts', work['interrupts'], guest['driver_interrupts'],
             guest['driver_polls'])):
        slack = 20 + device // 50
        if not driver - slack <= device <= driver + spoiled + slack:
            say(f'{row}: the device counted {device} {name}, the driver '
                f'{driver}: one of them is wrong')


def measure(row, options, work):
    marks, console = run_guest(row, options, work)
    work_step = step(marks, 'work')
    if not work_step:
        raise Failed('its guest did not come to the end of its work')
    if not work_step['in'] or not work_step['out']:
        raise Failed('nothing was swapped: give more --mib or less --memory')
    cross_check(row, work_step)
    pages = work_step['in'] + work_step['out']
    virtio = row != 'guest-zram'
    result = {
        'row': row,
        'wall_s': round(work_step['wall'], 2),
        'host_cpu_s': round(work_step['cpu'], 2),
        'pages_in': work_step['in'],
        'pages_out': work_step['out'],
        'kicks_per_page': per(work_step['kicks'], pages) if virtio else None,
        'irq_per_page': per(work_step['interrupts'], pages) if virtio else None,
        'kicks_per_store': None,
        'kicks_per_sequential_load': None,
        'bad_pages': bad_pages(console),
    }
    for key, name, way in (('kicks_per_store', 'store', 'out'),
                           ('kicks_per_sequential_load', 'load', 'in')):
        counted = step(marks, name)
        if counted and virtio:
            result[key] = per(counted['kicks'], counted[way])
    return result


# The report.

def cell(value):
    if value is None:
        return '-'
    return f'{value:.3f}' if isinstance(value, float) else str(value)


def table(results, options):
    heads = ('swap on', 'kernel', 'wall', 'host CPU', 'pages in', 'pages out',
             'kicks', 'interrupts', 'kicks per', 'kicks per', 'bad')
    units = ('', '', 's', 's', '', '', 'per page', 'per page', 'store',
             'seq. load', 'pages')
    rows = [heads, units]
    for result in results:
        values = [result[key] for key in KEYS]
        values.insert(1, '5.10' if result['row'] == 'frontswap'
                      else options.kernel)
        rows.append([f'{v:.1f}' if i in (2, 3) else cell(v)
                     for i, v in enumerate(values)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(heads))]
    for row in rows:
        print('  '.join(text.ljust(width) if i < 2 else text.rjust(width)
                        for i, (text, width) in enumerate(zip(row, widths)))
              .rstrip())
    print(f'''
One guest of {options.memory} MiB and 2 CPUs, {options.mib} MiB touched \
{options.passes + 1} times and verified.
Kicks (exits to a device) and interrupts are those of QEMU's virtio devices,
ioeventfd=off in every row.  Per store: while memory is only filled.  Per
sequential load: while swapped pages are only read, in order.''')
    if options.accel != 'kvm':
        print('''Under TCG the guest's own work, zram's compression among it, is emulated and the
host's is not: compare times between runs, and only counts between rows.''')


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line; --help has the rest."""

    def error(self, message):
        self.exit(2, f'bench guest: {message}\n')


def parse():
    parser = Parser(
        prog='scripts/bench guest', description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rows', nargs='+', default=['all'], metavar='ROW',
                        help='rows to measure, also with commas between; all '
                        '(default): each of them')
    parser.add_argument('--json', metavar='FILE', help='write the figures there '
                        'too: a list of objects, null where a figure does not '
                        'apply')
    parser.add_argument('--kernel', default='6.12', help='of all rows but '
                        'frontswap (6.12)')
    parser.add_argument('--memory', type=int, default=256, metavar='MIB',
                        help='RAM of the guest (256)')
    parser.add_argument('--mib', type=int, default=384, metavar='MIB',
                        help='memory the guest works on (384)')
    parser.add_argument('--passes', type=int, default=2, metavar='N',
                        help='over this memory after it was filled (2)')
    parser.add_argument('--accel', default='auto',
                        choices=('auto', 'kvm', 'tcg'),
                        help='auto: KVM where it runs this kernel, else TCG')
    parser.add_argument('--timeout', type=int, default=900, metavar='S',
                        help='seconds for one row (900)')
    options = parser.parse_args()
    rows = [row for word in options.rows for row in word.split(',') if row]
    for row in rows:
        if row not in ROWS + ('all',):
            parser.error(f'there is no row {row}: the rows are '
                         f'{", ".join(ROWS)}')
    options.rows = [row for row in ROWS if row in rows or 'all' in rows]
    if not options.rows:
        parser.error('--rows names no row')
    if not 96 <= options.memory <= 65536:
        parser.error('--memory: give it MiB from 96 to 65536')
    if not options.memory < options.mib <= 4 * options.memory:
        parser.error('--mib: give it more than --memory, up to 4 times as much')
    if not 1 <= options.passes <= 100:
        parser.error('--passes: give it a number from 1 to 100')
    if options.timeout < 1:
        parser.error('--timeout: give it a number of seconds')
    if options.json:
        # Before an hour of work, not after.
        try:
            with open(options.json, 'a', encoding='utf-8'):
                pass
        except OSError as e:
            parser.error(f'--json {options.json}: {e.strerror}')
    return options


def main():
    options = parse()
    results, failed = [], False
    for number, row in enumerate(options.rows, 1):
        say(f'[{number} of {len(options.rows)}] {row}')
        with tempfile.TemporaryDirectory(prefix='tmem-bench.') as work:
            try:
                result = measure(row, options, work)
            except Skipped as e:
                say(f'{row} is skipped: {e}')
                continue
            except Failed as e:
                say(f'{row} failed: {e}')
                failed = True
                continue
        say(f'{row}: {result["wall_s"]:.1f} s, '
            f'{result["pages_in"] + result["pages_out"]} pages')
        failed = failed or result['bad_pages'] > 0
        results.append(result)
    if options.json:
        with open(options.json, 'w', encoding='utf-8') as f:
            json.dump(results, f, indent=2)
            f.write('\n')
    if results:
        table(results, options)
    return 1 if failed or not results else 0


def interrupted(number, _frame):
    sys.exit(128 + number)


if __name__ == '__main__':
    for interrupt in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(interrupt, interrupted)
    sys.exit(main())
