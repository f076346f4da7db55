//! References inside of a schema.

use serde_json::Value;

use super::MAX_PARTS;

/// Largest number of references that are followed in a row.
const LONGEST_CHAIN: usize = 16;

/// Resolves references, and counts the visited parts.
pub(super) struct SchemaLookup<'a> {
    whole: &'a Value,
    visited: usize,
}

impl<'a> SchemaLookup<'a> {
    pub(super) fn new(whole: &'a Value) -> Self {
        Self { whole, visited: 0 }
    }

    /// Counts a part. Returns whether the limit allows it.
    pub(super) fn visit(&mut self) -> bool {
        self.visited += 1;
        self.visited <= MAX_PARTS
    }

    /// Whether there were more parts than allowed.
    pub(super) fn is_spent(&self) -> bool {
        self.visited > MAX_PARTS
    }

    /// The target of a reference in the same document, such as `#/$defs/Page`.
    pub(super) fn find(&self, reference: &str) -> Option<&'a Value> {
        let pointer = reference.strip_prefix('#')?;
        if let Some(found) = self.whole.pointer(&decoded(pointer)) {
            return Some(found);
        }
        // `#Page` names a part with that anchor.
        let definitions = ["$defs", "definitions"].iter().filter_map(|key| self.whole.get(key));
        definitions.filter_map(Value::as_object).flat_map(|all| all.values()).find(|part| {
            let is = |key, text: &str| part.get(key).and_then(Value::as_str) == Some(text);
            is("$anchor", pointer) || is("$id", reference)
        })
    }

    /// Resolves a chain of references and merges the keys beside each. Absent if the target is
    /// missing or the chain is circular.
    pub(super) fn follow(&self, schema: &Value) -> Option<Value> {
        let mut schema = schema.clone();
        for _ in 0..LONGEST_CHAIN {
            let Some(object) = schema.as_object_mut() else { return Some(schema) };
            let Some(reference) = object.shift_remove("$ref") else { return Some(schema) };
            let beside = std::mem::take(object);
            let mut found = self.find(reference.as_str()?)?.clone();
            if let Some(found) = found.as_object_mut() {
                found.extend(beside);
            }
            schema = found;
        }
        None
    }
}

/// Decodes percent escapes, which a pointer in a URL fragment may contain.
fn decoded(pointer: &str) -> String {
    let mut bytes = Vec::with_capacity(pointer.len());
    let mut rest = pointer.bytes();
    while let Some(byte) = rest.next() {
        let digits = rest.clone().take(2).collect::<Vec<_>>();
        let escape = std::str::from_utf8(&digits)
            .ok()
            .filter(|digits| digits.len() == 2)
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match escape {
            Some(escaped) if byte == b'%' => {
                bytes.push(escaped);
                rest.nth(1);
            }
            Some(_) | None => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
