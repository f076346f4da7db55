//! Descriptions of handlers, derived from the types that they take and return.

use std::convert::Infallible;
use std::future::Future;

use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderMap, HeaderName};
use axum::response::NoContent;
use axum::{Extension, Json};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};
use thoughtwire_proto::rest::{
    EventPage, InputAccepted, StreamClosed, StreamRestarted, TurnResult,
};
use thoughtwire_proto::{Record, schema};

use crate::access::Identity;
use crate::rest::RequiredScope;
use crate::rest::events::EventsAnswer;
use crate::rest::inputs::InputAnswer;
use crate::rest::reply::{Created, IdempotencyHeader, PathParams, QueryParams, WithCookie};

/// An operation as far as its handler's types describe it.
pub(in crate::rest) struct Draft<'a> {
    /// Collects the named schemas of all operations.
    pub(super) schemas: &'a mut SchemaGenerator,
    /// Parameters beside those of the path.
    pub(super) parameters: Vec<Value>,
    /// The request's body.
    pub(super) request: Option<Value>,
    /// Answers by status.
    pub(super) answers: Map<String, Value>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(schemas: &'a mut SchemaGenerator) -> Self {
        Self { schemas, parameters: Vec::new(), request: None, answers: Map::new() }
    }

    fn schema<T: JsonSchema>(&mut self) -> Value {
        self.schemas.subschema_for::<T>().to_value()
    }

    fn takes<T: JsonSchema>(&mut self, required: bool) {
        let schema = self.schema::<T>();
        self.request = Some(json!({
            "required": required,
            "content": {"application/json": {"schema": schema}},
        }));
    }

    fn answers(&mut self, status: u16, content: &Value) {
        self.answers.insert(status.to_string(), json!({"content": content}));
    }

    fn answers_json<T: JsonSchema>(&mut self, status: u16) {
        let schema = self.schema::<T>();
        self.answers(status, &json!({"application/json": {"schema": schema}}));
    }
}

/// A route: its method, its path, its permission and the description of its handler.
pub(in crate::rest) type Route = (&'static str, &'static str, RequiredScope, Describe);

/// Describes a handler.
pub(in crate::rest) type Describe = fn(&mut Draft<'_>);

/// Returns the description of a handler.
pub(in crate::rest) fn describe<A, H: Handler<A>>(_: H) -> Describe {
    H::describe
}

/// A function that answers requests; `A` are the types that it takes.
pub(in crate::rest) trait Handler<A> {
    fn describe(draft: &mut Draft<'_>);
}

macro_rules! handlers {
    ($(($($input:ident)*))+) => {$(
        impl<F, R, O, $($input),*> Handler<($($input,)*)> for F
        where
            F: Fn($($input),*) -> R,
            R: Future<Output = O>,
            O: HandlerOutput,
            $($input: HandlerInput),*
        {
            fn describe(draft: &mut Draft<'_>) {
                $($input::describe(draft);)*
                O::describe(draft);
            }
        }
    )+};
}

handlers! { () (A) (A B) (A B C) (A B C D) (A B C D E) (A B C D E G) }

/// A part of a request that handlers take.
pub(in crate::rest) trait HandlerInput {
    /// Does nothing, for parts that the document does not have.
    fn describe(_: &mut Draft<'_>) {}
}

impl<S> HandlerInput for State<S> {}
impl HandlerInput for Identity {}
impl HandlerInput for HeaderMap {}
impl<T> HandlerInput for Option<Extension<T>> {}
impl HandlerInput for axum::body::Body {}
// The route's path names its parameters.
impl<T> HandlerInput for PathParams<T> {}
impl<T> HandlerInput for axum::extract::Path<T> {}

impl HandlerInput for IdempotencyHeader {
    fn describe(draft: &mut Draft<'_>) {
        draft.parameters.push(json!({"$ref": "#/components/parameters/Idempotency-Key"}));
    }
}

impl<T: JsonSchema> HandlerInput for Result<Json<T>, JsonRejection> {
    fn describe(draft: &mut Draft<'_>) {
        draft.takes::<T>(true);
    }
}

impl<T: JsonSchema> HandlerInput for Result<Option<Json<T>>, JsonRejection> {
    fn describe(draft: &mut Draft<'_>) {
        draft.takes::<T>(false);
    }
}

impl<T: JsonSchema> HandlerInput for QueryParams<T> {
    fn describe(draft: &mut Draft<'_>) {
        let mut settings = SchemaSettings::draft2020_12().for_deserialize();
        settings.inline_subschemas = true;
        let schema = settings.into_generator().into_root_schema_for::<T>().to_value();
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let mut property = property.clone();
            // An absent parameter is not null, and a number's width is not the client's concern.
            if let Some([kind, _]) = property["type"].as_array().map(Vec::as_slice) {
                property["type"] = kind.clone();
            }
            let mut parameter = json!({"name": name, "in": "query"});
            if let Some(fields) = property.as_object_mut() {
                if fields.get("type").is_some_and(|kind| kind != "string") {
                    fields.remove("format");
                }
                fields.retain(|_, value| !value.is_null());
                if let Some(description) = fields.remove("description") {
                    parameter["description"] = description;
                }
            }
            if required.iter().any(|required| required == name) {
                parameter["required"] = json!(true);
            }
            parameter["schema"] = property;
            draft.parameters.push(parameter);
        }
    }
}

/// An answer that handlers return.
pub(in crate::rest) trait HandlerOutput {
    fn describe(draft: &mut Draft<'_>);
}

// Every operation can be refused in the same form.
impl<T: HandlerOutput, E> HandlerOutput for Result<T, E> {
    fn describe(draft: &mut Draft<'_>) {
        T::describe(draft);
    }
}

impl<T: JsonSchema> HandlerOutput for Json<T> {
    fn describe(draft: &mut Draft<'_>) {
        draft.answers_json::<T>(200);
    }
}

impl<T: JsonSchema> HandlerOutput for Created<T> {
    fn describe(draft: &mut Draft<'_>) {
        draft.answers_json::<T>(201);
    }
}

impl HandlerOutput for NoContent {
    fn describe(draft: &mut Draft<'_>) {
        draft.answers.insert("204".to_owned(), json!({}));
    }
}

impl<T: HandlerOutput> HandlerOutput for WithCookie<T> {
    fn describe(draft: &mut Draft<'_>) {
        T::describe(draft);
        for answer in draft.answers.values_mut() {
            answer["headers"] = json!({"Set-Cookie": {
                "description": "The cookie of the login.",
                "schema": {"type": "string"},
            }});
        }
    }
}

impl HandlerOutput for String {
    fn describe(draft: &mut Draft<'_>) {
        draft.answers(200, &json!({"text/plain": {"schema": {"type": "string"}}}));
    }
}

/// The operation's own prose names the content's type.
impl<V, T, const N: usize> HandlerOutput for ([(HeaderName, V); N], T) {
    fn describe(draft: &mut Draft<'_>) {
        draft.answers(200, &json!({}));
    }
}

/// The operation is always refused.
impl HandlerOutput for Infallible {
    fn describe(_: &mut Draft<'_>) {}
}

impl HandlerOutput for InputAnswer {
    fn describe(draft: &mut Draft<'_>) {
        draft.answers_json::<TurnResult>(200);
        draft.answers_json::<InputAccepted>(202);
    }
}

impl HandlerOutput for EventsAnswer {
    fn describe(draft: &mut Draft<'_>) {
        let (page, record) = (draft.schema::<EventPage>(), draft.schema::<Record>());
        let restarted = draft.schema::<StreamRestarted>();
        let closed = draft.schema::<StreamClosed>();
        let stream = json!({
            "type": "string",
            "description": "For each record an event `event`: `id` is `EPOCH:SEQ` and `data` a \
                record. An event `restarted` comes first if the position is not of this log. An \
                event `closed` comes last.",
        });
        draft.answers(
            200,
            &json!({
                "application/json": {"schema": page},
                "text/event-stream": {
                    "schema": stream,
                    // The schemas of `data` by the event's name; OpenAPI 3.1 has no place for them.
                    "x-events": {"event": record, "restarted": restarted, "closed": closed},
                },
            }),
        );
    }
}

/// Returns the generator for the document's named schemas.
pub(super) fn generator() -> SchemaGenerator {
    schema::generator("/components/schemas")
}
