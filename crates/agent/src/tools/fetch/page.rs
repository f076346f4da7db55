//! Conversion of an HTML page to text.
//!
//! A page may be hostile, so it is read in one pass without a tree. Time grows with the length of
//! the page, and memory only with its text. Depth and attributes cost nothing. Attributes are
//! skipped, except the targets of links.

mod entities;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};

/// Largest amount of text taken from a page, in bytes.
const MAX_TEXT: usize = 512 << 10;
/// Largest number of tags that are processed.
const MAX_TAGS: usize = 200_000;
/// Longest address of a link, in bytes.
const LONGEST_LINK: usize = 500;
/// Number of tags between two checks of the stop flag.
const STOP_CHECK_TAGS: usize = 256;
/// Note at the end of a page that was cut.
const CUT: &str = "\n\n[the page goes on]";

/// The text of a page: headings with `#`, list items with `*`, links as `[words](address)`. Absent
/// if `stop` was set meanwhile.
pub(super) fn text(html: &str, stop: &AtomicBool) -> Option<String> {
    let mut page = PageText::default();
    let mut rest = html;
    let mut tags: usize = 0;
    while let Some(at) = rest.find('<') {
        if tags.is_multiple_of(STOP_CHECK_TAGS) && stop.load(Ordering::Relaxed) {
            return None;
        }
        tags += 1;
        let (words, markup) = rest.split_at_checked(at)?;
        page.push_text(words);
        if tags > MAX_TAGS || page.out.len() > MAX_TEXT {
            return Some(page.finish(CUT));
        }
        rest = page.markup(markup);
    }
    page.push_text(rest);
    let end = if page.out.len() > MAX_TEXT { CUT } else { "" };
    Some(page.finish(end))
}

#[derive(Default)]
struct PageText {
    out: String,
    /// The separator due before the next text.
    gap: Gap,
    /// The element whose contents are hidden, and its nesting depth.
    hidden: Option<(&'static str, usize)>,
    /// Number of open `pre` elements, in which white space counts.
    pre: usize,
    link: Option<OpenLink>,
}

/// An open link.
struct OpenLink {
    address: String,
    /// Index in `out` at which its text begins.
    from: usize,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Gap {
    #[default]
    None,
    Space,
    Line,
    Paragraph,
}

/// Elements whose contents are code, data or media.
const HIDDEN: [&str; 9] =
    ["script", "style", "template", "svg", "iframe", "object", "canvas", "audio", "video"];
/// Elements whose contents are not markup.
const RAW: [&str; 8] =
    ["script", "style", "iframe", "textarea", "title", "xmp", "noembed", "noframes"];

impl PageText {
    /// Processes markup that begins with `<`. Returns the rest.
    fn markup<'a>(&mut self, markup: &'a str) -> &'a str {
        let inner = markup.get(1..).unwrap_or_default();
        let first = inner.as_bytes().first().copied().unwrap_or_default();
        if let Some(comment) = inner.strip_prefix("!--") {
            return behind(comment, "-->");
        }
        if let Some(data) = inner.strip_prefix("![CDATA[") {
            return behind(data, "]]>");
        }
        if matches!(first, b'!' | b'?') {
            return behind(inner, ">");
        }
        let (closing, named) = match inner.strip_prefix('/') {
            Some(named) => (true, named),
            None => (false, inner),
        };
        if !named.as_bytes().first().is_some_and(u8::is_ascii_alphabetic) {
            if closing {
                return behind(named, ">");
            }
            self.push_text("<");
            return inner;
        }
        let end = named.find(|char: char| char.is_ascii_whitespace() || "/>".contains(char));
        let (name, attributes) =
            named.split_at_checked(end.unwrap_or(named.len())).unwrap_or_default();
        let name = ElementName::of(name);
        let Some((attributes, rest)) = attributes_end(attributes) else { return "" };
        if closing {
            self.close(name.as_str());
            return rest;
        }
        self.open(name.as_str(), attributes);
        let raw = RAW.into_iter().find(|raw| *raw == name.as_str());
        match raw {
            Some(raw) => {
                let (contents, rest) = raw_end(rest, raw);
                self.push_text(contents);
                rest
            }
            None => rest,
        }
    }

    fn open(&mut self, name: &str, attributes: &str) {
        if let Some((hidden, depth)) = &mut self.hidden {
            *depth += usize::from(*hidden == name && !attributes.ends_with('/'));
            return;
        }
        if let Some(hidden) = HIDDEN.into_iter().find(|hidden| *hidden == name) {
            if !attributes.ends_with('/') {
                self.hidden = Some((hidden, 1));
            }
            return;
        }
        match name {
            "br" => {
                if self.gap == Gap::Space {
                    self.gap = Gap::None;
                }
                self.write("\n");
            }
            "li" => {
                self.separate(Gap::Line);
                self.write("* ");
            }
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => {
                self.separate(Gap::Paragraph);
                let level =
                    name.bytes().last().map_or(1, |digit| usize::from(digit.saturating_sub(b'0')));
                self.write(&format!("{} ", "#".repeat(level)));
            }
            "td" | "th" => self.separate(Gap::Space),
            "pre" => {
                self.separate(Gap::Paragraph);
                self.pre += 1;
            }
            "a" => {
                self.end_link();
                if let Some(address) = link(attributes) {
                    self.link = Some(OpenLink { address, from: self.out.len() });
                }
            }
            "img" => {
                if let Some(words) =
                    attribute(attributes, "alt").filter(|alt| !alt.trim().is_empty())
                {
                    self.push_text(words);
                }
            }
            _ => self.separate(gap(name)),
        }
    }

    fn close(&mut self, name: &str) {
        if let Some((hidden, depth)) = &mut self.hidden {
            *depth -= usize::from(*hidden == name);
            if *depth == 0 {
                self.hidden = None;
            }
            return;
        }
        match name {
            "a" => self.end_link(),
            "pre" => {
                self.pre = self.pre.saturating_sub(1);
                self.separate(Gap::Paragraph);
            }
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => self.separate(Gap::Paragraph),
            "td" | "th" => self.separate(Gap::Space),
            "li" => self.separate(Gap::Line),
            _ => self.separate(gap(name)),
        }
    }

    fn end_link(&mut self) {
        let Some(OpenLink { address, from }) = self.link.take() else { return };
        let words = self.out.get(from..).unwrap_or_default();
        let begin = from + words.len() - words.trim_start().len();
        if words.trim().is_empty() {
            return;
        }
        self.out.insert(begin, '[');
        self.out.push_str("](");
        self.out.push_str(&address);
        self.out.push(')');
    }

    fn separate(&mut self, gap: Gap) {
        self.gap = self.gap.max(gap);
    }

    fn push_text(&mut self, words: &str) {
        if self.hidden.is_some() || words.is_empty() {
            return;
        }
        let words = entities::decoded(words);
        if self.pre > 0 {
            self.write(&words);
            return;
        }
        let space = |char: char| char.is_ascii_whitespace();
        if words.starts_with(space) {
            self.separate(Gap::Space);
        }
        for word in words.split(space).filter(|word| !word.is_empty()) {
            self.write(word);
            self.separate(Gap::Space);
        }
        // A word may continue in the next piece.
        if !words.ends_with(space) && self.gap == Gap::Space {
            self.gap = Gap::None;
        }
    }

    /// Writes the due separator and a text.
    fn write(&mut self, words: &str) {
        if self.out.len() > MAX_TEXT {
            return;
        }
        let gap = std::mem::take(&mut self.gap);
        if !self.out.is_empty() {
            self.out.push_str(match gap {
                Gap::None => "",
                Gap::Space if self.out.ends_with([' ', '\n']) => "",
                Gap::Space => " ",
                Gap::Line => "\n",
                Gap::Paragraph => "\n\n",
            });
        }
        self.out.push_str(words);
    }

    fn finish(mut self, end: &str) -> String {
        self.end_link();
        self.out.truncate(self.out.floor_char_boundary(MAX_TEXT));
        let kept = self.out.trim_end().len();
        self.out.truncate(kept);
        let begin = self.out.len() - self.out.trim_start_matches('\n').len();
        self.out.drain(..begin);
        self.out.push_str(end);
        self.out
    }
}

/// The separator of an element.
fn gap(name: &str) -> Gap {
    match name {
        "p" | "ul" | "ol" | "dl" | "table" | "blockquote" | "section" | "article" | "figure"
        | "title" | "hr" | "form" => Gap::Paragraph,
        "div" | "tr" | "dt" | "dd" | "header" | "footer" | "main" | "nav" | "aside" | "address"
        | "body" | "head" | "caption" | "figcaption" | "fieldset" | "option" | "details"
        | "summary" | "textarea" => Gap::Line,
        _ => Gap::None,
    }
}

/// An element's name in lower case. Empty if it is longer than any known name.
struct ElementName {
    bytes: [u8; Self::LONGEST],
    length: usize,
}

impl ElementName {
    const LONGEST: usize = 16;

    fn of(written: &str) -> Self {
        let mut name = Self { bytes: [0; Self::LONGEST], length: 0 };
        if written.len() <= Self::LONGEST {
            for (to, from) in name.bytes.iter_mut().zip(written.bytes()) {
                *to = from.to_ascii_lowercase();
            }
            name.length = written.len();
        }
        name
    }

    fn as_str(&self) -> &str {
        self.bytes
            .get(..self.length)
            .and_then(|name| std::str::from_utf8(name).ok())
            .unwrap_or_default()
    }
}

/// The rest of a text behind a mark. Empty if the mark is missing.
fn behind<'a>(text: &'a str, mark: &str) -> &'a str {
    text.split_once(mark).map_or("", |(_, rest)| rest)
}

/// A tag's attributes, and the rest behind the tag. Absent if the tag has no end.
fn attributes_end(text: &str) -> Option<(&str, &str)> {
    let mut quote = None;
    let mut after_equals = false;
    for (at, byte) in text.bytes().enumerate() {
        match (quote, byte) {
            (Some(open), byte) if byte == open => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'') if after_equals => quote = Some(byte),
            (None, b'>') => return Some((text.get(..at)?, text.get(at + 1..)?)),
            (None, _) => {}
        }
        if !byte.is_ascii_whitespace() {
            after_equals = byte == b'=' && quote.is_none();
        }
    }
    None
}

/// The contents of an element without markup, and the rest from its end tag on.
fn raw_end<'a>(text: &'a str, name: &str) -> (&'a str, &'a str) {
    for (at, _) in text.match_indices("</") {
        let tag = text.get(at + 2..).unwrap_or_default();
        let is_named = tag.get(..name.len()).is_some_and(|found| found.eq_ignore_ascii_case(name));
        let next = tag.as_bytes().get(name.len());
        if is_named && next.is_none_or(|next| next.is_ascii_whitespace() || b"/>".contains(next)) {
            // The end tag is processed like any other.
            return text.split_at_checked(at).unwrap_or((text, ""));
        }
    }
    (text, "")
}

/// The target of a link, if it can be shown.
fn link(attributes: &str) -> Option<String> {
    let address = attribute(attributes, "href")?.trim();
    let scripted = ["javascript:", "data:", "#"].iter().any(|scheme| {
        address.get(..scheme.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme))
    });
    if address.is_empty() || scripted || address.len() > LONGEST_LINK {
        return None;
    }
    let shown: String =
        entities::decoded(address).chars().filter(|char| !char.is_whitespace()).collect();
    Some(shown)
}

/// The value of an attribute as written. The first of several counts.
fn attribute<'a>(attributes: &'a str, wanted: &str) -> Option<&'a str> {
    let mut rest = attributes;
    loop {
        rest = rest.trim_start_matches(|char: char| char.is_ascii_whitespace() || char == '/');
        if rest.is_empty() {
            return None;
        }
        // A name may begin with an equals sign.
        let from = usize::from(rest.starts_with('='));
        let end =
            rest.get(from..)?.find(|char: char| char.is_ascii_whitespace() || "=/".contains(char));
        let (name, after) = rest.split_at_checked(end.map_or(rest.len(), |end| end + from))?;
        rest = after.trim_start();
        let mut value = "";
        if let Some(given) = rest.strip_prefix('=') {
            let given = given.trim_start();
            (value, rest) = match given.as_bytes().first() {
                Some(b'"') => given.get(1..)?.split_once('"')?,
                Some(b'\'') => given.get(1..)?.split_once('\'')?,
                Some(_) | None => {
                    let end = given.find(|char: char| char.is_ascii_whitespace());
                    given.split_at_checked(end.unwrap_or(given.len()))?
                }
            };
        }
        if name.eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
    }
}
