"""An agent that repeats each input, word by word: `python echo.py [NAME]`."""

import sys

import thoughtwire

agent = thoughtwire.Agent(sys.argv[1] if len(sys.argv) > 1 else "echo")


@agent.turn
async def answer(turn: thoughtwire.Interface) -> None:
    await turn.internal_monologue(f"{len(turn.user_message)} characters to say.")
    async with turn.message() as message:
        for word in turn.user_message.split(" "):
            await message.write(word + " ")


if __name__ == "__main__":
    agent.run()
