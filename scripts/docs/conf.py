# SPDX-License-Identifier: GPL-2.0-or-later
"""Sphinx: the manual of virtio-tmem alone, without the rest of QEMU's."""

# Sphinx wants these names.
# pylint: disable=invalid-name
project = 'virtio-tmem'
author = 'The virtio-tmem authors'
copyright = author              # pylint: disable=redefined-builtin
extensions = []
highlight_language = 'none'
html_theme = 'sphinx_rtd_theme'
html_static_path = ['static']
html_css_files = ['tables.css']
html_copy_source = False
html_show_sourcelink = False
# Sphinx keeps no time stamps, so the same text gives the same pages.
html_last_updated_fmt = None
man_pages = [
    ('system/devices/virtio-tmem', 'virtio-tmem',
     'swap of KVM guests to a compressed store: the device', [author], 7),
    ('system/tmem-guide', 'tmem-guide',
     'swap of KVM guests to a compressed store: operator\'s guide',
     [author], 7),
    ('system/devices/vhost-user-tmem', 'vhost-user-tmem',
     'swap of KVM guests to a compressed store: in a daemon', [author], 7),
    ('system/devices/tmem-block', 'tmem-block',
     'swap of KVM guests to a compressed store: as a disk', [author], 7),
]
