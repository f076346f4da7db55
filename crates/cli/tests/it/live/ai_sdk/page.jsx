// A page as users of the SDK write it. Its address names the agent and the chat: #AGENT/CHAT

import { Chat, useChat } from "@ai-sdk/react";
import { DefaultChatTransport, lastAssistantMessageIsCompleteWithApprovalResponses } from "ai";
import { createRoot } from "react-dom/client";

const [agent, id] = location.hash.slice(1).split("/");
// The page keeps what the user said. Answers come from the server.
const said = JSON.parse(sessionStorage.getItem(id) ?? "[]");
const chat = new Chat({
  id,
  messages: said,
  transport: new DefaultChatTransport({ api: `/ai-sdk/${agent}` }),
  sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithApprovalResponses,
});

function Part({ part, answer }) {
  if (part.type === "text") return <p className="text">{part.text}</p>;
  if (part.type === "reasoning") return <p className="reasoning">{part.text}</p>;
  if (!part.type.startsWith("tool-")) return null;
  return (
    <p className="call">
      {part.type.slice(5)}: {part.state} {part.output}
      {part.state === "approval-requested" && (
        <button type="button" onClick={() => answer({ id: part.approval.id, approved: true })}>
          Approve
        </button>
      )}
    </p>
  );
}

function Page() {
  const { messages, status, sendMessage, addToolApprovalResponse } = useChat({
    chat,
    resume: true,
  });
  const users = messages.filter((message) => message.role === "user");
  sessionStorage.setItem(id, JSON.stringify(users));
  return (
    <main data-status={status}>
      {messages.map((message) => (
        <article key={message.id} className={message.role}>
          {message.parts.map((part, at) => (
            <Part key={at} part={part} answer={addToolApprovalResponse} />
          ))}
        </article>
      ))}
      <form
        onSubmit={(event) => {
          event.preventDefault();
          sendMessage({ text: new FormData(event.target).get("text") });
        }}
      >
        <input name="text" />
      </form>
    </main>
  );
}

createRoot(document.body.appendChild(document.createElement("div"))).render(<Page />);
