//! `POST /v1/events` and `POST /v1/inspect`.
