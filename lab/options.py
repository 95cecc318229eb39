"""Command line of lab.py, read once; the other modules look at OPTIONS."""

import argparse

PARSER = argparse.ArgumentParser()
PARSER.add_argument('cmd')
PARSER.add_argument('--out', default='lab-out')
PARSER.add_argument('--mode', default='native')
PARSER.add_argument('--offload', default='off')
PARSER.add_argument('--stat', default='nth')
PARSER.add_argument('--masq-random-fully', action='store_true')
PARSER.add_argument('--backend', default='nft')
PARSER.add_argument('--trace', action='store_true')
PARSER.add_argument('--only', default='')
PARSER.add_argument('--skip', default='')
PARSER.add_argument('--load', type=int, default=0)
PARSER.add_argument('--rules', default='', help='folder with NODE.v4.rules and NODE.v6.rules to load instead')
OPTIONS = PARSER.parse_args()
