//! The envelope around a payload.

use super::payload::Payload;
use crate::dialect::python::Json;
use crate::{Refusal, RefusalCode};

/// One `WSMessage`: a typed payload and its labels.
#[derive(Debug, Clone, PartialEq)]
pub struct WsMessage {
    /// The type and its data.
    pub payload: Payload,
    /// Sparky's session.
    pub session_id: Option<String>,
    /// Sparky's user.
    pub user_id: Option<String>,
    /// The chat.
    pub chat_id: Option<String>,
}

impl WsMessage {
    /// A message without labels.
    #[must_use]
    pub fn new(payload: Payload) -> Self {
        Self { payload, session_id: None, user_id: None, chat_id: None }
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// [`RefusalCode::BadFrame`] if it is not a JSON object, [`RefusalCode::UnknownType`] for an
    /// unknown type, [`RefusalCode::BadRequest`] and [`RefusalCode::EmptyText`] for wrong data.
    pub fn from_text(text: &str) -> Result<Self, Refusal> {
        Self::from_dict(&Json::parse(text)?)
    }

    /// Reads a frame from its parsed form.
    ///
    /// # Errors
    /// Those of [`WsMessage::from_text`].
    pub fn from_dict(json: &Json) -> Result<Self, Refusal> {
        if !matches!(json, Json::Dict(_)) {
            return Err(Refusal::new(
                RefusalCode::BadFrame,
                format!("a frame is a JSON object; this is {}", json.kind()),
            ));
        }
        let kind = match json.get("type") {
            Some(Json::Text(kind)) => kind,
            Some(Json::Null) | None => {
                return Err(Refusal::new(RefusalCode::BadRequest, "the frame has no \"type\""));
            }
            Some(other) => {
                return Err(Refusal::new(
                    RefusalCode::UnknownType,
                    format!("\"type\" is a string; this is {}", other.kind()),
                ));
            }
        };
        let payload = Payload::read(kind, json.get("data"))?;
        let label = |name: &str| match json.get(name) {
            None | Some(Json::Null) => Ok(None),
            Some(Json::Text(text)) => Ok(Some(text.clone())),
            Some(other) => Err(Refusal::new(
                RefusalCode::BadRequest,
                format!("{kind}: {name:?} is a string or null; this is {}", other.kind()),
            )),
        };
        Ok(Self {
            payload,
            session_id: label("session_id")?,
            user_id: label("user_id")?,
            chat_id: label("chat_id")?,
        })
    }

    /// The frame's parsed form. Empty labels are left out.
    #[must_use]
    pub fn to_dict(&self) -> Json {
        let mut frame = vec![
            ("type".to_owned(), Json::text(self.payload.kind())),
            ("data".to_owned(), self.payload.to_data()),
        ];
        for (name, label) in [
            ("session_id", &self.session_id),
            ("user_id", &self.user_id),
            ("chat_id", &self.chat_id),
        ] {
            if let Some(label) = label.as_ref().filter(|label| !label.is_empty()) {
                frame.push((name.to_owned(), Json::text(label)));
            }
        }
        Json::Dict(frame)
    }

    /// The frame as it is sent.
    #[must_use]
    pub fn to_text(&self) -> String {
        self.to_dict().dumps()
    }
}

/// Reads a frame of any type and writes it back normalised.
///
/// # Errors
/// Those of [`WsMessage::from_text`].
pub fn normalise(line: &str) -> Result<String, Refusal> {
    WsMessage::from_text(line).map(|message| message.to_text())
}

/// Writes a normalised frame as it is sent.
///
/// # Errors
/// Those of [`WsMessage::from_text`].
pub fn render(line: &str) -> Result<String, Refusal> {
    normalise(line)
}
