import { useRef, useState } from "preact/hooks";

import { reasonOf } from "./reason";
import { rest } from "./rest";

/** Where keys are needed: shows one to the server once, and keeps nothing of it. */
export function Login() {
  const [trouble, setTrouble] = useState("");
  const field = useRef<HTMLInputElement>(null);
  return (
    <main class="login">
      <h1>Thoughtwire</h1>
      <form
        onSubmit={async (event) => {
          event.preventDefault();
          try {
            await rest.login(field.current?.value.trim() ?? "");
            location.reload();
          } catch (error) {
            setTrouble(reasonOf(error));
            field.current?.select();
          }
        }}
      >
        <label for="key">Key</label>
        <input
          ref={field}
          id="key"
          type="password"
          autocomplete="current-password"
          autofocus
          required
          aria-describedby="about"
        />
        <button type="submit">Log in</button>
      </form>
      {trouble && (
        <p class="trouble" role="alert">
          {trouble}
        </p>
      )}
      <p id="about" class="quiet">
        The owner of this server makes keys with <code>thoughtwire keys add</code>.
      </p>
    </main>
  );
}
