//! Reads an event: its `kind` decides which group reads the other keys.

use std::fmt;

use serde::de::value::{MapAccessDeserializer, StrDeserializer, StringDeserializer};
use serde::de::{DeserializeSeed, Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::{Event, InputEvent, OtherEvent, SessionEvent, TurnEvent};

const KIND: &str = "kind";

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EventVisitor)
    }
}

struct EventVisitor;

impl<'de> Visitor<'de> for EventVisitor {
    type Value = Event;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an event, which is an object with a `kind`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Event, A::Error> {
        // Our own events begin with `kind`. Others may have keys before it.
        let mut before = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            if key == KIND {
                let kind: String = map.next_value()?;
                return read(&kind, before, map).map_err(|error| {
                    A::Error::custom(format_args!("an event of kind {kind:?}: {error}"))
                });
            }
            before.insert(key, map.next_value()?);
        }
        Err(A::Error::custom("an event needs a `kind`"))
    }
}

fn read<'de, A: MapAccess<'de>>(
    kind: &str,
    before: Map<String, Value>,
    rest: A,
) -> Result<Event, A::Error> {
    if !Event::knows(kind) {
        return other(kind, before, rest).map(Event::Other);
    }
    let before = before.into_iter();
    let keys = KindFirst { kind: Some(kind.to_owned()), before, value: None, rest };
    let fields = MapAccessDeserializer::new(keys);
    if SessionEvent::KINDS.contains(&kind) {
        SessionEvent::deserialize(fields).map(Event::Session)
    } else if InputEvent::KINDS.contains(&kind) {
        InputEvent::deserialize(fields).map(Event::Input)
    } else {
        TurnEvent::deserialize(fields).map(Event::Turn)
    }
}

fn other<'de, A: MapAccess<'de>>(
    kind: &str,
    mut body: Map<String, Value>,
    mut rest: A,
) -> Result<OtherEvent, A::Error> {
    while let Some(key) = rest.next_key::<String>()? {
        if key == KIND {
            return Err(A::Error::duplicate_field(KIND));
        }
        body.insert(key, rest.next_value()?);
    }
    Ok(OtherEvent::new(kind.to_owned(), body))
}

/// Keys of an event with `kind` in front, where a group looks for it first.
struct KindFirst<A> {
    /// The kind, until it is read.
    kind: Option<String>,
    /// Keys that stood before `kind`.
    before: serde_json::map::IntoIter,
    /// Value of the key from `before` that was read last.
    value: Option<Value>,
    /// Keys behind `kind`.
    rest: A,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for KindFirst<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        if self.kind.is_some() {
            return seed.deserialize(StrDeserializer::new(KIND)).map(Some);
        }
        match self.before.next() {
            Some((key, value)) => {
                self.value = Some(value);
                seed.deserialize(StringDeserializer::new(key)).map(Some)
            }
            None => self.rest.next_key_seed(seed),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        if let Some(kind) = self.kind.take() {
            return seed.deserialize(StringDeserializer::new(kind));
        }
        match self.value.take() {
            Some(value) => seed.deserialize(value).map_err(A::Error::custom),
            None => self.rest.next_value_seed(seed),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::Event;

    #[track_caller]
    fn refuses(json: &str, reason: &str) {
        let error = serde_json::from_str::<Event>(json).expect_err("the event is wrong");
        assert!(error.to_string().contains(reason), "{error}");
    }

    #[test]
    fn the_kind_may_come_after_other_keys() {
        for (behind, in_front) in [
            (
                r#"{"text":"Hi","kind":"user_message","item":"i-1"}"#,
                r#"{"kind":"user_message","item":"i-1","text":"Hi"}"#,
            ),
            (
                r#"{"input_tokens":3,"kind":"usage","output_tokens":4}"#,
                r#"{"kind":"usage","input_tokens":3,"output_tokens":4}"#,
            ),
            (r#"{"of":1.50,"kind":"dreamt","to":2}"#, r#"{"kind":"dreamt","of":1.50,"to":2}"#),
        ] {
            let event: Event = serde_json::from_str(behind).expect("an event");
            assert_eq!(serde_json::to_string(&event).expect("JSON"), in_front);
        }
    }

    #[test]
    fn an_error_names_the_kind_and_the_key() {
        refuses(
            r#"{"kind":"user_message","item":"i-1"}"#,
            "\"user_message\": missing field `text`",
        );
        refuses(r#"{"kind":"thought","item":"i-1","text":1,"complete":true}"#, "\"thought\"");
        refuses(r#"{"item":"i-1"}"#, "needs a `kind`");
        refuses(r#"{"kind":1}"#, "invalid type");
        refuses(r#"{"kind":"dreamt","kind":"thought"}"#, "duplicate field `kind`");
        refuses(r#"{"kind":"usage","kind":"thought"}"#, "duplicate field `kind`");
        refuses("[]", "an object with a `kind`");
    }
}
