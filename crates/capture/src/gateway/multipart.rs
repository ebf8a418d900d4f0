//! Forms (`multipart/form-data`, RFC 7578): their fields as JSON, with the size of each file in the place of its bytes.

use super::decode::DecodeError;
use super::json;

/// Most parts of a form that are read. The APIs take some dozen pictures.
const PARTS_MAX: usize = 256;

/// Longest head of a part, in bytes.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// Longest boundary (RFC 2046, section 5.1.1).
const BOUNDARY_BYTES_MAX: usize = 70;

/// A part of a form.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Field<'a> {
    pub(super) name: String,
    /// The name of the file, where the part is one.
    pub(super) file: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) body: &'a [u8],
}

/// The boundary that a content type names, when it is that of a form.
pub(super) fn boundary(content_type: &str) -> Option<String> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let found = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"').to_owned())
    })?;
    (!found.is_empty() && found.len() <= BOUNDARY_BYTES_MAX).then_some(found)
}

/// The parts of a form.
pub(super) fn fields<'a>(body: &'a [u8], boundary: &str) -> Result<Vec<Field<'a>>, DecodeError> {
    let wrong = |reason: &str| DecodeError::NotForm { reason: reason.to_owned() };
    let delimiter = format!("\r\n--{boundary}").into_bytes();
    // The first delimiter has no line before it.
    let mut rest = match body.strip_prefix(&delimiter[2..]) {
        Some(rest) => rest,
        None => {
            let at = find(body, &delimiter).ok_or_else(|| wrong("its boundary does not occur"))?;
            &body[at + delimiter.len()..]
        }
    };
    let mut fields = Vec::new();
    loop {
        if rest.starts_with(b"--") {
            return Ok(fields);
        }
        if fields.len() >= PARTS_MAX {
            return Err(wrong("it has too many parts"));
        }
        let line = find(rest, b"\r\n").ok_or_else(|| wrong("it breaks off"))?;
        rest = &rest[line + 2..];
        let (head, content) = match rest.strip_prefix(b"\r\n") {
            Some(content) => (&b""[..], content),
            None => {
                let window = &rest[..rest.len().min(HEAD_BYTES_MAX)];
                let end = find(window, b"\r\n\r\n").ok_or_else(|| wrong("the head of a part does not end"))?;
                (&rest[..end], &rest[end + 4..])
            }
        };
        let end = find(content, &delimiter).ok_or_else(|| wrong("it breaks off"))?;
        fields.push(field(head, &content[..end]).ok_or_else(|| wrong("a part has no name"))?);
        rest = &content[end + delimiter.len()..];
    }
}

/// The fields of a form as one JSON object. A field that stands more than once is a list; a file is its name, type and size.
pub(super) fn as_json(body: &[u8], boundary: &str) -> Result<String, DecodeError> {
    let mut object = serde_json::Map::new();
    for field in fields(body, boundary)? {
        let value = match field.file {
            Some(_) => file_reference(&field),
            None => String::from_utf8_lossy(field.body).into_owned(),
        };
        let name = field.name.strip_suffix("[]").unwrap_or(&field.name).to_owned();
        match object.get_mut(&name) {
            None => {
                object.insert(name, value.into());
            }
            Some(serde_json::Value::Array(values)) => values.push(value.into()),
            Some(before) => *before = serde_json::Value::Array(vec![before.take(), value.into()]),
        }
    }
    Ok(serde_json::Value::Object(object).to_string())
}

/// What is recorded of a file: never its bytes.
pub(super) fn file_reference(field: &Field<'_>) -> String {
    let name = field.file.as_deref().unwrap_or_default();
    let kind = field.content_type.as_deref().unwrap_or("application/octet-stream");
    format!(
        "file {}, {}, {} bytes",
        json::cut_at(name.to_owned(), 1_024).0,
        json::cut_at(kind.to_owned(), 100).0,
        field.body.len()
    )
}

fn field<'a>(head: &[u8], body: &'a [u8]) -> Option<Field<'a>> {
    let head = String::from_utf8_lossy(head);
    let mut field = Field { name: String::new(), file: None, content_type: None, body };
    let mut named = false;
    for line in head.split("\r\n") {
        let Some((header, value)) = line.split_once(':') else { continue };
        if header.trim().eq_ignore_ascii_case("content-type") {
            field.content_type = Some(value.trim().to_owned());
        } else if header.trim().eq_ignore_ascii_case("content-disposition") {
            for (name, value) in parameters(value) {
                match name.to_ascii_lowercase().as_str() {
                    "name" => {
                        named = true;
                        field.name = value;
                    }
                    "filename" | "filename*" => field.file = Some(value),
                    _ => {}
                }
            }
        }
    }
    named.then_some(field)
}

/// `; name="value"`, with the escapes that browsers and SDKs write.
fn parameters(value: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = value;
    while let Some((_, after)) = rest.split_once(';') {
        let Some((name, after)) = after.split_once('=') else { break };
        let (text, left) = match after.strip_prefix('"') {
            Some(quoted) => {
                let end = quoted_end(quoted);
                let text = quoted[..end].replace("\\\"", "\"").replace("%22", "\"");
                (text, quoted.get(end + 1..).unwrap_or_default())
            }
            None => {
                let end = after.find(';').unwrap_or(after.len());
                (after[..end].trim().to_owned(), &after[end..])
            }
        };
        found.push((name.trim().to_owned(), text));
        rest = left;
    }
    found
}

fn quoted_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'"' if !escaped => return at,
            b'\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text.len()
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    memchr::memmem::find(haystack, needle)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FORM: &[u8] = b"--X\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n\
        --X\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a \\\"b\\\".mp3\"\r\nContent-Type: audio/mpeg\r\n\r\n\
        \x00\x01\r\n--Y\r\n--X\r\nContent-Disposition: form-data; name=\"g[]\"\r\n\r\nword\r\n\
        --X\r\nContent-Disposition: form-data; name=\"g[]\"\r\n\r\nsegment\r\n--X--\r\n";

    #[test]
    fn fields_are_read_and_files_are_measured() {
        assert_eq!(boundary("multipart/form-data; boundary=\"X\"").as_deref(), Some("X"));
        assert_eq!(boundary("application/json; boundary=X"), None);
        let json = as_json(FORM, "X").unwrap();
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["model"], "whisper-1");
        assert_eq!(value["file"], "file a \"b\".mp3, audio/mpeg, 7 bytes");
        assert_eq!(value["g"], serde_json::json!(["word", "segment"]));
    }

    #[test]
    fn what_is_no_form_is_named() {
        for body in [
            &b""[..],
            b"--X",
            b"--X\r\n",
            b"--X\r\n\r\nnameless\r\n--X--",
            b"--X\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nno end",
        ] {
            assert!(matches!(fields(body, "X"), Err(DecodeError::NotForm { .. })), "{body:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(values in proptest::collection::vec("[a-z]{0,12}", 0..5), noise in any::<Vec<u8>>()) {
            let mut body = Vec::new();
            for value in &values {
                body.extend_from_slice(format!("--b0\r\nContent-Disposition: form-data; name=\"n\"\r\n\r\n{value}\r\n").as_bytes());
            }
            body.extend_from_slice(b"--b0--\r\n");
            let read: Vec<_> = fields(&body, "b0").unwrap().into_iter().map(|field| String::from_utf8_lossy(field.body).into_owned()).collect();
            prop_assert_eq!(read, values);
            let _ = fields(&noise, "b0");
        }
    }
}
