//! What the routes of the console take and give. Field names are part of the contract: `docs/reference/openapi.json`.

mod detections;
mod events;
mod integrity;
mod live;
mod overview;
mod rules;
mod searches;
mod session;
mod usage;

pub(crate) use self::detections::*;
pub(crate) use self::events::*;
pub(crate) use self::integrity::*;
pub(crate) use self::live::*;
pub(crate) use self::overview::*;
pub(crate) use self::rules::*;
pub(crate) use self::searches::*;
pub(crate) use self::session::*;
pub(crate) use self::usage::*;
