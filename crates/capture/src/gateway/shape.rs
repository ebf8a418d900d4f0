//! Bodies that a table describes: which texts stand where, and which fields and counts are which attribute. For every API whose
//! body is no conversation.

use event::{Direction, Key, Part, PieceMeta, Role, Value};
use serde_json::value::RawValue;

use super::api::Asked;
use super::decode::{
    DecodeError, Field, ModelRequest, ModelResponse, Pieces, body_object, list, map_fields, media_reference, position,
};
use super::json::{self, Object};
use super::multipart;
use crate::Raw;

/// A text in a body. A path is names with dots between them; `[]` goes through a list, and takes what is no list as its only item.
#[derive(Debug)]
pub(super) struct Text {
    pub(super) path: &'static str,
    pub(super) role: Role,
    pub(super) part: Part,
}

/// One side of an API.
#[derive(Debug)]
pub(super) struct Side {
    /// Scalars at the top and the attributes that they become.
    pub(super) fields: &'static [Field],
    /// Fields at the top that say nothing about what was asked or answered, or that are read elsewhere.
    pub(super) handled: &'static [&'static str],
    pub(super) texts: &'static [Text],
    /// Whole numbers, and the attributes that they become. Of two paths with one attribute the first that is there counts.
    pub(super) counts: &'static [(&'static str, Key)],
    /// Texts that become a list in an attribute.
    pub(super) lists: &'static [(&'static str, Key)],
}

/// An API whose bodies a table describes.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) asks: Side,
    pub(super) answers: Side,
}

impl Side {
    /// Nothing.
    pub(super) const NONE: Self = Self { fields: &[], handled: &[], texts: &[], counts: &[], lists: &[] };
}

impl Shape {
    /// Reads a request, JSON or a form.
    pub(super) fn request(&self, asked: &Asked, body: &[u8]) -> Result<ModelRequest, DecodeError> {
        let form = match &asked.boundary {
            Some(boundary) => Some(multipart::as_json(body, boundary)?),
            None => None,
        };
        let object = body_object(form.as_ref().map_or(body, |form| form.as_bytes()))?;
        let mut request = ModelRequest {
            model: object.text("model"),
            stream: object.get("stream").is_some_and(|raw| json::boolean(raw).unwrap_or(raw.get() == "\"true\"")),
            user: object.text("user").or_else(|| object.text("safety_identifier")),
            ..ModelRequest::default()
        };
        let mut pieces = Pieces::default();
        let side = &self.asks;
        side.read(
            &object,
            Direction::Input,
            &["model", "stream", "user", "safety_identifier"],
            &mut pieces,
            |fields, handled| {
                map_fields(&object, fields, handled, &mut request.attributes, &mut request.unmapped);
            },
        );
        side.numbers(&object, |key, value| {
            request.attributes.insert(key, value);
        });
        request.pieces = pieces.finish(&mut request.attributes);
        Ok(request)
    }

    /// Reads an answer, an error included.
    pub(super) fn answer(&self, body: &[u8]) -> Result<ModelResponse, DecodeError> {
        let object = body_object(body)?;
        let mut response = ModelResponse::default();
        let mut pieces = Pieces::default();
        if let Some(error) = object.get("error") {
            response.error = Some(super::openai::read_error(error, &mut pieces));
        }
        let side = &self.answers;
        side.read(&object, Direction::Output, &["error", "usage"], &mut pieces, |fields, handled| {
            map_fields(&object, fields, handled, &mut response.attributes, &mut response.unmapped);
        });
        side.numbers(&object, |key, value| {
            response.attributes.insert(key, value);
        });
        response.pieces = pieces.finish(&mut response.attributes);
        Ok(response)
    }
}

impl Side {
    fn read(
        &self,
        object: &Object<'_>,
        direction: Direction,
        known: &[&'static str],
        pieces: &mut Pieces,
        map: impl FnOnce(&[Field], &[&str]),
    ) {
        let mut handled: Vec<&str> = known.iter().chain(self.handled).copied().collect();
        let paths = self.texts.iter().map(|text| text.path);
        let paths = paths.chain(self.counts.iter().map(|count| count.0)).chain(self.lists.iter().map(|list| list.0));
        handled.extend(paths.map(|path| path.split(['.', '[']).next().unwrap_or(path)));
        map(self.fields, &handled);
        for text in self.texts {
            each(object, text.path, &mut |index, raw| {
                let meta = PieceMeta { message: index, ..PieceMeta::new(direction, text.role, text.part) };
                pieces.push(meta, if text.part == Part::Media { media_text(raw) } else { json::text_or_json(raw) });
            });
        }
    }

    fn numbers(&self, object: &Object<'_>, mut set: impl FnMut(Key, Value<Raw>)) {
        for (path, key) in self.counts.iter().rev() {
            each(object, path, &mut |_, raw| {
                if let Some(number) = json::int(raw) {
                    set(key.clone(), Value::Int(number));
                }
            });
        }
        for (path, key) in self.lists {
            let mut texts = Vec::new();
            each(object, path, &mut |_, raw| texts.extend(json::text(raw)));
            if !texts.is_empty() {
                set(key.clone(), list(texts));
            }
        }
    }
}

/// Every value at a path, with the position in the first list that the path goes through. `null` counts as absent.
pub(super) fn each<'a>(object: &Object<'a>, path: &str, found: &mut dyn FnMut(u32, &'a RawValue)) {
    let (name, rest) = split(path);
    if let Some(raw) = object.get(name) {
        follow(raw, rest, None, found);
    }
}

fn follow<'a>(raw: &'a RawValue, path: &str, index: Option<u32>, found: &mut dyn FnMut(u32, &'a RawValue)) {
    if raw.get() == "null" {
        return;
    }
    if let Some(rest) = path.strip_prefix("[]") {
        match json::items(raw) {
            // A list of numbers (tokens, a vector) is one value.
            Some(items) if items.first().is_none_or(|item| !item.get().starts_with(|c: char| c == '-' || c.is_ascii_digit())) => {
                for (at, item) in items.into_iter().enumerate() {
                    follow(item, rest, index.or(Some(position(at))), found);
                }
            }
            _ => follow(raw, rest, index, found),
        }
    } else if let Some(rest) = path.strip_prefix('.') {
        let (name, rest) = split(rest);
        if let Some(inner) = Object::of(raw).and_then(|object| object.get(name)) {
            follow(inner, rest, index, found);
        }
    } else {
        found(index.unwrap_or(0), raw);
    }
}

fn split(path: &str) -> (&str, &str) {
    path.split_at(path.find(['.', '[']).unwrap_or(path.len()))
}

/// What is recorded of a picture, sound or file: where it is, or how large. Never its bytes.
pub(super) fn media_text(raw: &RawValue) -> String {
    match json::text(raw) {
        Some(text) if text.contains(':') || text.starts_with("file") => media_reference(&text),
        Some(text) => format!("{} characters", text.len()),
        None => format!("{} bytes of JSON", raw.get().len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_go_through_lists_and_take_what_is_no_list() {
        let body = r#"{"input":"one","many":["a",{"b":{"c":[1,2]}}],"deep":[{"t":"x"},{"t":null},{"t":"y"}],"n":[[1,2],[3]]}"#;
        let object = Object::parse(body).unwrap();
        let at = |path: &str| {
            let mut seen = Vec::new();
            each(&object, path, &mut |index, raw| seen.push((index, raw.get().to_owned())));
            seen
        };
        assert_eq!(at("input[]"), [(0, "\"one\"".to_owned())]);
        assert_eq!(at("deep[].t"), [(0, "\"x\"".to_owned()), (2, "\"y\"".to_owned())]);
        assert_eq!(at("many[].b.c[]"), [(1, "[1,2]".to_owned())]);
        assert_eq!(at("n[]"), [(0, "[1,2]".to_owned()), (1, "[3]".to_owned())]);
        assert_eq!(at("absent.x"), []);
    }
}
