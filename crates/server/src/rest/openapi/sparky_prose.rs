//! Prose of the operations that Sparky's web pages use.

use super::prose::Prose;

/// The prose of every operation of Sparky's pages.
pub(super) fn sparky() -> Vec<Prose> {
    let op = |route, id, summary| Prose::new(route, id, "sparky", summary);
    vec![
        op("get /health", "sparkyHealth", "Show the server's health")
            .answer(200, "The server answers."),
        op("post /api/auth/login", "sparkyLogin", "Log in; a key is the password")
            .answer(200, "A token for 12 hours. Without keys it only names a user."),
        op("post /api/auth/register", "sparkyRegister", "Check whether a login would succeed")
            .answer(201, "The user of the key. Users are not made: the password must be a key."),
        op("post /api/auth/refresh", "sparkyRefresh", "Renew a token")
            .answer(200, "A token, for as long as the login lasts."),
        op("post /api/auth/logout", "sparkyLogout", "Log out")
            .answer(200, "Nothing changes; the page deletes its tokens."),
        op("get /api/auth/me", "sparkyMe", "Show the caller").answer(200, "The caller."),
        op("get /api/user/{user}/chats", "sparkyChats", "List chats")
            .answer(200, "The chats, newest activity first."),
        op("put /api/user/{user}/chats/{chat}", "sparkyRenameChat", "Rename a chat")
            .answer(200, "The chat is renamed."),
        op("delete /api/user/{user}/chats/{chat}", "sparkyDeleteChat", "Delete a chat")
            .answer(200, "The chat and its session are deleted."),
        op("post /api/user/{user}/chats/{chat}/archive", "sparkyArchiveChat", "Archive a chat")
            .answer(200, "The chat is archived."),
        op(
            "post /api/user/{user}/chats/{chat}/unarchive",
            "sparkyUnarchiveChat",
            "Take a chat back from the archive",
        )
        .answer(200, "The chat is listed again."),
        op("put /api/user/{user}/chats/{chat}/model", "sparkyChatModel", "Change a chat's model")
            .answer(501, "A chat always has its agent's model."),
        op("get /api/chats/{chat}/messages", "sparkyMessages", "Read a chat").answer(
            200,
            "The newest 1,000 messages; with `limit` or `offset` the page behind `offset`. \
             Oldest first.",
        ),
        op("get /api/prompts", "sparkyPrompts", "List prompts")
            .answer(200, "None: agents do not use prompts of MCP servers."),
        op("get /api/resources", "sparkyResources", "List resources")
            .answer(200, "None: agents do not use resources of MCP servers."),
        op("get /api/models", "sparkyModels", "List models")
            .answer(200, "The default model and those of the caller's agents."),
        op("post /upload_file", "sparkyUpload", "Upload a file")
            .answer(501, "This server does not store files."),
    ]
}
