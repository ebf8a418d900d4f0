//! The console's files, which are part of the program where they were built. Whatever path a page of the console has, it is the same page.

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::ApiError;

include!(concat!(env!("OUT_DIR"), "/console.rs"));

/// The page of the console.
const INDEX: &str = "/index.html";

/// Files below it have a digest in their names, and never change.
const HASHED: &str = "/assets/";

/// Said where the console was not built.
const MISSING: &str = include_str!("../../assets/missing.html");

/// The files that have a place of their own. All others are found by [`fallback`].
pub(super) fn router() -> Router {
    Router::new().route("/favicon.ico", get(|| async { StatusCode::NO_CONTENT })).route("/api/openapi.json", get(contract))
}

/// The contract of the API.
async fn contract() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], super::openapi::document()).into_response()
}

/// A file of the console, its page, or that there is nothing at the path.
pub(super) async fn fallback(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let nothing =
        || ApiError::new(StatusCode::NOT_FOUND, "there is nothing at this path; see docs/reference/api.md").into_response();
    let path = uri.path();
    let is_api =
        ["/api", "/v1"].iter().any(|api| path.strip_prefix(api).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')));
    if is_api || !matches!(method, Method::GET | Method::HEAD) {
        return nothing();
    }
    if let Some(file) = find(path) {
        return file.respond(&headers);
    }
    // A path of the console may name what has a dot in its name. A file that is missing is asked for as something else than a page.
    let accepts_page =
        headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).is_some_and(|accept| accept.contains("text/html"));
    let has_extension = path.rsplit('/').next().is_some_and(|name| name.contains('.'));
    if path.starts_with(HASHED) || (has_extension && !accepts_page) {
        return nothing();
    }
    match find(INDEX) {
        Some(page) => page.respond(&headers),
        None => ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], MISSING).into_response(),
    }
}

/// A file that is part of the program.
#[derive(Debug, Clone, Copy)]
struct File {
    path: &'static str,
    bytes: &'static [u8],
    /// The same, compressed, where that is smaller.
    gzip: Option<&'static [u8]>,
}

fn find(path: &str) -> Option<File> {
    let place = FILES.binary_search_by_key(&path, |file| file.path).ok()?;
    FILES.get(place).copied()
}

impl File {
    fn respond(self, headers: &HeaderMap) -> Response {
        let accepts_gzip = headers.get(header::ACCEPT_ENCODING).and_then(|accept| accept.to_str().ok()).is_some_and(takes_gzip);
        let compressed = self.gzip.filter(|_| accepts_gzip);
        let mut response = compressed.unwrap_or(self.bytes).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type(self.path)));
        let kept = if self.path.starts_with(HASHED) { "public, max-age=31536000, immutable" } else { "no-cache" };
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(kept));
        if compressed.is_some() {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        if self.gzip.is_some() {
            headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        }
        response
    }
}

/// Whether a client takes gzip, by its `Accept-Encoding`.
fn takes_gzip(accept: &str) -> bool {
    accept.split(',').any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let is_refused = weight
            .trim()
            .strip_prefix("q=")
            .and_then(|weight| weight.trim().parse::<f32>().ok())
            .is_some_and(|weight| weight <= 0.0);
        matches!(name.trim(), "gzip" | "*") && !is_refused
    })
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(method: Method, path: &str, accept: &str) -> StatusCode {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        fallback(method, path.parse().unwrap(), headers).await.status()
    }

    #[tokio::test]
    async fn a_path_of_the_console_is_its_page_and_one_of_the_api_is_not() {
        for (method, path, accept, status) in [
            (Method::GET, "/", "text/html", 200),
            (Method::GET, "/detections", "text/html,*/*", 200),
            (Method::GET, "/sessions/x", "*/*", 200),
            (Method::GET, "/entities/model/gpt-4.1", "text/html", 200),
            (Method::HEAD, "/trace", "*/*", 200),
            (Method::GET, "/logo.svg", "image/*", 404),
            (Method::GET, "/assets/index-0123.js", "text/html", 404),
            (Method::GET, "/api/nothing", "text/html", 404),
            (Method::GET, "/api", "text/html", 404),
            (Method::GET, "/v1/traces", "text/html", 404),
            (Method::GET, "/apiary", "text/html", 200),
            (Method::POST, "/detections", "text/html", 404),
        ] {
            assert_eq!(ask(method.clone(), path, accept).await.as_u16(), status, "{method} {path} {accept}");
        }
    }

    #[test]
    fn files_are_found_by_their_paths_and_gzip_is_sent_to_whoever_takes_it() {
        assert!(FILES.windows(2).all(|pair| pair[0].path < pair[1].path), "they are sorted");
        for (accept, takes) in
            [("gzip, deflate, br", true), ("br", false), ("gzip;q=0, br", false), ("*", true), ("", false), ("gzip;q=0.5", true)]
        {
            assert_eq!(takes_gzip(accept), takes, "{accept}");
        }
        let file = File { path: "/assets/a-1.js", bytes: b"1", gzip: Some(b"2") };
        let mut headers = HeaderMap::new();
        assert_eq!(file.respond(&headers).headers().get(header::CONTENT_ENCODING), None);
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        let response = file.respond(&headers);
        assert_eq!(response.headers()[header::CONTENT_ENCODING], "gzip");
        assert!(response.headers()[header::CACHE_CONTROL].to_str().unwrap().contains("immutable"));
        let page = File { path: "/index.html", bytes: b"1", gzip: None };
        assert_eq!(page.respond(&headers).headers()[header::CACHE_CONTROL], "no-cache");
    }
}
