"""Drives a server with PyPI's `openai`. Each scenario is a function; its name is an argument.

usage: client.py URL SCENARIO [ARGUMENT…]
"""

import sys

import branch_scenarios
import chat_scenarios
import edge_scenarios
import response_scenarios

SCENARIOS = {
    **vars(chat_scenarios),
    **vars(response_scenarios),
    **vars(branch_scenarios),
    **vars(edge_scenarios),
}

SCENARIOS[sys.argv[2]](*sys.argv[3:])
print("ok")
