# SPDX-License-Identifier: GPL-2.0-or-later
"""A strict reader of OpenMetrics 1.0, as far as tmemctl can use it.

What the specification forbids is an AssertionError; see "Overall Structure"
and "Metric Types" at https://prometheus.io/docs/specs/om/open_metrics_spec/.
"""

import re

NAME = r'[a-zA-Z_:][a-zA-Z0-9_:]*'
LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*"'
SAMPLE = re.compile(rf'({NAME})(?:\{{({LABEL}(?:,{LABEL})*)?\}})? '
                    r'(-?\d+(?:\.\d+)?)')
SUFFIXES = {
    'counter': ['_total', '_created'],
    'gauge': [''],
    'info': ['_info'],
    'summary': ['', '_count', '_sum', '_created'],
    'unknown': [''],
}


def claim(condition, line, text):
    if not condition:
        raise AssertionError(f'{text}: {line}')


class Family:
    def __init__(self, name):
        self.name = name
        self.type = self.unit = self.help = None
        self.samples = []


def read_metadata(families, family, line):
    """# TYPE, # UNIT or # HELP; returns the family it is about."""
    match = re.fullmatch(rf'# (TYPE|UNIT|HELP) ({NAME}) (.+)', line)
    claim(match, line, 'no metadata')
    key, name, text = match.groups()
    if family is None or family.name != name:
        claim(name not in families, line, 'the family is in two places')
        family = families[name] = Family(name)
    claim(getattr(family, key.lower()) is None, line, 'said twice')
    claim(not family.samples, line, 'metadata behind samples')
    if key == 'TYPE':
        claim(text in SUFFIXES, line, 'unknown type')
    if key == 'UNIT':
        claim(name.endswith('_' + text), line, 'the name lacks the unit')
        claim(text in ('bytes', 'seconds'), line, 'no base unit')
    setattr(family, key.lower(), text)
    return family


def read_sample(family, line, seen):
    match = SAMPLE.fullmatch(line)
    claim(match, line, 'no sample')
    name, labels, value = match.groups()
    claim(family is not None and family.type, line, 'sample without a type')
    claim(name in [family.name + s for s in SUFFIXES[family.type]], line,
          f'no name for a {family.type}')
    labels = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels or ''))
    key = (name, tuple(sorted(labels.items())))
    claim(key not in seen, line, 'the same sample twice')
    seen.add(key)
    if family.type == 'counter':
        claim(float(value) >= 0, line, 'negative counter')
    if 'quantile' in labels:
        claim(family.type == 'summary' and name == family.name and
              0 <= float(labels['quantile']) <= 1, line, 'no quantile')
    family.samples.append((name, labels, float(value)))


def parse(text):
    """The families in @text, by name."""
    claim(text.endswith('# EOF\n'), text[-80:], 'no end')
    families, family, seen = {}, None, set()
    for line in text.splitlines()[:-1]:
        claim(line != '# EOF', line, 'an end in between')
        if line.startswith('#'):
            family = read_metadata(families, family, line)
        else:
            read_sample(family, line, seen)
    names = set(families)
    for name, one in families.items():
        claim(one.help and one.samples, name, 'nothing in the family')
        clash = {name + s for s in SUFFIXES[one.type] if s} & names
        claim(not clash, clash, 'two families with one name')
    return families


def value(families, name, **labels):
    """The one sample called @name that has @labels."""
    found = [v for family in families.values()
             for n, have, v in family.samples
             if n == name and labels.items() <= have.items()]
    claim(len(found) == 1, f'{name} {labels}', f'{len(found)} samples')
    return found[0]
