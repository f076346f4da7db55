"""Worker of the test that kills one: `paying_worker.py URL EFFECTS stuck|works`."""

import sys
import time
from functools import partial

from thoughtwire import Agent, blocking


def pay(n: int, effects: str, role: str, _: str) -> str:
    with open(effects, "a") as file:
        file.write(f"{n}\n")
    if role == "stuck" and n == 2:
        print("paid, and stuck", flush=True)
        time.sleep(3600)
    return f"paid {n}"


def main(url: str, effects: str, role: str) -> None:
    agent = Agent("payer", url=url, resumable=True)

    @agent.turn
    def answer(turn: blocking.Interface) -> str:
        makers = [(n, partial(pay, n, effects, role)) for n in (1, 2, 3)]
        return ", ".join(turn.call_once("pay", {"n": n}, make) for n, make in makers)

    agent.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
