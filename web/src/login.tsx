import { useRef, useState } from "preact/hooks";

import { reasonOf } from "./reason";
import { rest } from "./rest";

/** Login form. It sends the key to the server once and stores nothing. */
export function Login() {
  const [error, setError] = useState("");
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
            setError(reasonOf(error));
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
      {error && (
        <p class="error" role="alert">
          {error}
        </p>
      )}
      <p id="about" class="quiet">
        Ask the owner of this server for a key. Owners create keys with{" "}
        <code>thoughtwire keys add</code>.
      </p>
    </main>
  );
}
