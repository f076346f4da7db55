//! Identities of connections and requests, and their permissions.

mod following;
mod jwt;
mod key_clock;
mod keyring;
mod login;
mod tickets;

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::COOKIE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri};
use futures::future::BoxFuture;
use thoughtwire_hub::{Hub, Made};
use thoughtwire_proto::{
    AgentProfile, AgentSpec, Command, CommandId, ConnectionCommand, DirectoryCommand, Refusal,
    RefusalCode, Timestamp, UserId,
};
use thoughtwire_store::{KeyId, Scope, Store, StoreError};
use tokio_util::sync::CancellationToken;

pub(crate) use jwt::Jwt;
use key_clock::KeyClock;
pub(crate) use keyring::Keyring;
pub(crate) use login::{LASTS, Login};
pub(crate) use tickets::{TICKET_LASTS, Tickets};

use crate::config::Auth;
use crate::connection_permits::ConnectionPermits;
use crate::guard::{Guard, bearer};

/// Name of the cookie of a login.
pub(crate) const COOKIE_NAME: &str = "thoughtwire";

/// Prefix of a token that only names a Sparky user.
const NAMING: &str = "user:";

/// An authenticated caller.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) user: UserId,
    pub(crate) scopes: Vec<Scope>,
    /// Id of the key that it used, if any.
    pub(crate) key: Option<KeyId>,
    /// Time at which its credential expires.
    pub(crate) until: Option<Timestamp>,
    /// Token that is cancelled when its key is revoked.
    revoked: CancellationToken,
}

impl Identity {
    fn owner(user: UserId) -> Self {
        Self {
            user,
            scopes: Scope::ALL.to_vec(),
            key: None,
            until: None,
            revoked: CancellationToken::new(),
        }
    }

    /// Tells whether it has a scope, directly or as a part of `admin`.
    pub(crate) fn has(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope) || self.scopes.contains(&Scope::Admin)
    }

    /// Checks that it has a scope.
    pub(crate) fn demand(&self, scope: Scope) -> Result<(), Refusal> {
        if self.has(scope) {
            return Ok(());
        }
        let scope = scope.as_str();
        Err(Refusal::new(
            RefusalCode::Forbidden,
            format!(
                "this key has not the scope `{scope}`; make one that has with `thoughtwire keys \
                 add --scope {scope}`"
            ),
        ))
    }

    /// Refuses a command that it has no scope for.
    pub(crate) fn demand_for(&self, command: &Command) -> Result<(), Refusal> {
        self.demand(match command {
            Command::Connection(ConnectionCommand::Offer(_) | ConnectionCommand::Say { .. }) => {
                Scope::Offer
            }
            Command::Directory(DirectoryCommand::CreateAgent(spec)) => self.scope_to_create(spec),
            Command::Connection(
                ConnectionCommand::Attach { .. }
                | ConnectionCommand::Detach { .. }
                | ConnectionCommand::Watch
                | ConnectionCommand::InAttached(_)
                | ConnectionCommand::DecideOldest { .. },
            )
            | Command::Session { .. }
            | Command::Directory(
                DirectoryCommand::FindAgent { .. }
                | DirectoryCommand::CreateSession { .. }
                | DirectoryCommand::OpenPeer { .. }
                | DirectoryCommand::OpenChat { .. },
            ) => Scope::Chat,
        })
    }

    /// Scope that is needed to make this agent.
    pub(crate) fn scope_to_create(&self, spec: &AgentSpec) -> Scope {
        if is_default_agent(spec) && self.has(Scope::Chat) { Scope::Chat } else { Scope::Agents }
    }

    /// Resolves when its credential ends, to a sentence that says why.
    pub(crate) fn ended(&self) -> BoxFuture<'static, &'static str> {
        let (revoked, until) = (self.revoked.clone(), self.until);
        let clock = KeyClock::from(None);
        Box::pin(async move {
            let expired = async {
                match until {
                    // In steps, since the wall clock may jump ahead.
                    Some(until) => {
                        while clock.now() < until {
                            let left = until
                                .as_millis()
                                .saturating_sub(clock.now().as_millis())
                                .clamp(1, 1_000);
                            tokio::time::sleep(std::time::Duration::from_millis(
                                left.unsigned_abs(),
                            ))
                            .await;
                        }
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = revoked.cancelled() => "the key was revoked",
                () = expired => "the key or token has expired",
            }
        })
    }
}

/// The name of the agent that a user without agents gets.
const DEFAULT_AGENT: &str = "main";

/// Tells whether an agent is the default agent with default settings. A key with only the scope
/// `chat` may use that agent, which is made at its first use.
pub(crate) fn is_default_agent(spec: &AgentSpec) -> bool {
    *spec == AgentSpec { name: DEFAULT_AGENT.to_owned(), ..AgentSpec::default() }
}

/// Makes an agent for a caller. A caller without the scope `agents` can only ask for the default
/// agent, and gets the existing one if there is one.
pub(crate) async fn create_agent(
    hub: &Hub,
    identity: &Identity,
    id: Option<CommandId>,
    spec: AgentSpec,
) -> Result<Made<AgentProfile>, Refusal> {
    match hub.directory().create_agent(&identity.user, id, spec).await {
        Err(refusal) if refusal.code == RefusalCode::NameTaken && !identity.has(Scope::Agents) => {
            let thing = hub.directory().find_agent(&identity.user, DEFAULT_AGENT).await?;
            Ok(Made { thing, duplicate: false })
        }
        outcome => outcome,
    }
}

/// Takes the identity that the routes' layer has put into the request.
impl<S: Sync> FromRequestParts<S> for Identity {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, StatusCode> {
        parts.extensions.get::<Self>().cloned().ok_or(StatusCode::UNAUTHORIZED)
    }
}

/// Identity of a connection that may still authenticate.
pub(crate) struct Entrant {
    pub(crate) identity: Identity,
    /// Whether its request, or a frame since, had a valid credential.
    pub(crate) trusted: bool,
}

/// Finds the identity of a credential.
#[derive(Clone)]
pub(crate) struct Access {
    pub(crate) guard: Arc<Guard>,
    /// The only user of a server without keys, and the owner of one with them.
    pub(crate) local: UserId,
    pub(crate) keyring: Keyring,
    pub(crate) tickets: Tickets,
    pub(crate) login: Login,
    pub(crate) jwt: Option<Arc<Jwt>>,
    /// Connections of each user.
    pub(crate) users: ConnectionPermits<UserId>,
}

impl Access {
    /// Opens the keys of a store. `per_user` limits the connections of a user, if there are keys.
    pub(crate) async fn open(
        guard: Guard,
        local: UserId,
        jwt: Option<Jwt>,
        per_user: usize,
        store: &Arc<Store>,
    ) -> Result<Self, StoreError> {
        // Without keys everybody is one user.
        let most = if guard.auth == Auth::Keys { per_user } else { usize::MAX };
        let keyring = Keyring::open(Arc::clone(store)).await?;
        Ok(Self {
            users: ConnectionPermits::new(most),
            guard: Arc::new(guard),
            local,
            login: Login::open(store, keyring.clock().clone()).await?,
            keyring,
            tickets: Tickets::new(Arc::clone(store)),
            jwt: jwt.map(Arc::new),
        })
    }

    /// Ends all logins and tickets: earlier ones are refused, and connections that use a cookie are
    /// closed. Keys stay as they are.
    ///
    /// # Errors
    /// When the new secret cannot be saved; then everything is as it was.
    pub(crate) async fn rotate(&self, store: &Store) -> Result<(), Refusal> {
        self.login.rotate(store).await
    }

    /// Tells whether anyone but the owner's own commands could authenticate.
    pub(crate) fn has_credentials(&self) -> bool {
        self.jwt.is_some() || !self.keyring.is_empty()
    }

    /// Returns the identity of a request by its bearer token, its ticket or its cookie, in this
    /// order; `None` if it has none of them.
    pub(crate) async fn request(
        &self,
        headers: &HeaderMap,
        uri: &Uri,
    ) -> Result<Option<Identity>, Refusal> {
        let identity = if self.guard.auth == Auth::None {
            Identity::owner(self.local.clone())
        } else if let Some(token) = bearer(headers) {
            self.token(token)?
        } else if let Some(ticket) = ticket_of(uri) {
            self.tickets.take(&ticket, &self.login, &self.keyring).await?
        } else if let Some(cookie) = cookie_of(headers) {
            // Browsers send cookies with the requests of any page.
            self.guard.same_origin(headers)?;
            self.login.read(cookie, &self.keyring)?
        } else {
            return Ok(None);
        };
        Ok(Some(identity))
    }

    /// Returns the identity of a key or token.
    pub(crate) fn token(&self, token: &str) -> Result<Identity, Refusal> {
        if self.guard.is_owner(token) {
            return Ok(Identity::owner(self.local.clone()));
        }
        if let Some(identity) = self.keyring.find(token)? {
            return Ok(identity);
        }
        // Sparky's page sends the token of its login.
        if let Ok(identity) = self.login.read(token, &self.keyring) {
            return Ok(identity);
        }
        match &self.jwt {
            Some(jwt) if token.split('.').count() == 3 => jwt.read(token, &self.local),
            Some(_) | None => Err(unauthorized(
                "the key is not known here; `thoughtwire keys list` shows those that are",
            )),
        }
    }

    /// Returns the identity of a connection that sends a token in a frame, or has authenticated.
    pub(crate) fn enter(
        &self,
        current: &Entrant,
        token: Option<&str>,
    ) -> Result<Identity, Refusal> {
        match (self.guard.auth, token) {
            (Auth::None, _) => Ok(current.identity.clone()),
            // A token is checked even if the connection has authenticated without it.
            (Auth::Keys, Some(token)) => self.token(token),
            (Auth::Keys, None) if current.trusted => Ok(current.identity.clone()),
            (Auth::Keys, None) => Err(unauthorized(
                "a key is needed: as `token` in the first frame, or as `Authorization: Bearer …`",
            )),
        }
    }

    /// Returns the name space of a Sparky user: that of a token, else the `user_id`, else the
    /// user's own name. It separates chats of one user of this server; it is no permission.
    pub(crate) fn space(
        &self,
        identity: &Identity,
        token: Option<&str>,
        user_id: Option<&str>,
    ) -> String {
        let said = match (self.guard.auth, token) {
            (Auth::Keys, Some(_)) => None,
            (Auth::Keys, None) => user_id,
            (Auth::None, token) => token.and_then(named_by).or(user_id),
        };
        said.filter(|said| !said.is_empty()).unwrap_or(identity.user.as_str()).to_owned()
    }

    /// A connection without a credential, on a wire on which one may still come.
    pub(crate) fn nobody(&self) -> Identity {
        Identity { scopes: Vec::new(), ..Identity::owner(self.local.clone()) }
    }
}

/// Token of a Sparky login where there are no keys. It is a name and proves nothing.
pub(crate) fn naming(user: &str) -> String {
    format!("{NAMING}{user}")
}

/// Returns the name in such a token.
pub(crate) fn named_by(token: &str) -> Option<&str> {
    token.strip_prefix(NAMING).filter(|name| !name.is_empty())
}

/// Tells whether a user's name is reserved for users whom the older wires name on a server without
/// keys.
fn reserved(name: &str) -> bool {
    name.starts_with('~') || name.to_ascii_lowercase().starts_with("sparky:")
}

fn ticket_of(uri: &Uri) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct TicketQuery {
        ticket: Option<String>,
    }
    axum::extract::Query::<TicketQuery>::try_from_uri(uri).ok().and_then(|query| query.0.ticket)
}

fn cookie_of(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs =
        cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE_NAME).map(|(_, value)| value)
}

/// Reason of the refusal of a request without a credential.
pub(crate) const KEY_NEEDED: &str = "a key is needed: send it as `Authorization: Bearer …`";

pub(crate) fn too_many() -> Refusal {
    Refusal::new(
        RefusalCode::TooFast,
        "this user has as many connections as one may have; close some first",
    )
}

pub(crate) fn unauthorized(reason: impl Into<String>) -> Refusal {
    Refusal::new(RefusalCode::Unauthorized, reason.into())
}

/// Returns 32 random bytes in hexadecimal digits.
fn random() -> Result<String, Refusal> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| {
        Refusal::new(RefusalCode::Internal, format!("the system gives no random numbers: {error}"))
    })?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
