"""Worker of the test that kills one: `paying_worker.py URL EFFECTS stuck|works`."""

import sys
import time
from functools import partial

from thoughtwire import Agent, blocking

url, effects, role = sys.argv[1:]
agent = Agent("payer", url=url, resumable=True)


@agent.turn
def answer(turn: blocking.Interface) -> str:
    def pay(n: int, _: str) -> str:
        with open(effects, "a") as file:
            file.write(f"{n}\n")
        if role == "stuck" and n == 2:
            print("paid, and stuck", flush=True)
            time.sleep(3600)
        return f"paid {n}"

    return ", ".join(turn.call_once("pay", {"n": n}, partial(pay, n)) for n in (1, 2, 3))


if __name__ == "__main__":
    agent.run()
