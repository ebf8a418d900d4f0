//! What is told live.

use serde::{Deserialize, Serialize};
use store::{DetectionRow, EventRow};
use utoipa::{IntoParams, ToSchema};

use crate::Progress;

/// What is sent live, as the data of server-sent events. `rows`: [`LiveRows`]; `detections`: [`LiveDetections`]; `progress`: [`Progress`];
/// `dropped`: [`LiveDropped`]; `reset`: [`LiveReset`]. Ids are places in the journal: whoever comes again with `Last-Event-ID` goes on behind it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it describes the stream; its parts are what is sent")]
pub(crate) enum Live {
    /// Of the event `rows`.
    Rows(LiveRows),
    /// Of the event `detections`.
    Detections(LiveDetections),
    /// Of the event `progress`.
    Progress(Progress),
    /// Of the event `dropped`.
    Dropped(LiveDropped),
    /// Of the event `reset`.
    Reset(LiveReset),
}

/// New events, in the order of the journal.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LiveRows {
    /// The events.
    pub(crate) rows: Vec<EventRow>,
}

/// New detections.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LiveDetections {
    /// The detections.
    pub(crate) rows: Vec<DetectionRow>,
}

/// Events that were passed over, because they came faster than they were taken.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LiveDropped {
    /// How many records; the lists have them.
    pub(crate) count: u64,
    /// It goes on behind this place in the journal.
    pub(crate) seq: u64,
}

/// The place from which was asked for events lies behind the newest one: it is of another record, or the store is being built anew.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LiveReset {
    /// The place that was asked for.
    pub(crate) asked: u64,
    /// It goes on behind this place in the journal; none: from the first record on.
    pub(crate) seq: Option<u64>,
}

/// Which events are sent live.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct LiveQuery {
    /// Begin behind this place in the journal; default: now. `Last-Event-ID` goes before it.
    pub(crate) after: Option<u64>,
    /// Of this kind.
    pub(crate) kind: Option<String>,
    /// Of this user.
    pub(crate) user: Option<String>,
    /// Of this agent.
    pub(crate) agent: Option<String>,
    /// Of this application.
    pub(crate) application: Option<String>,
    /// Of this model.
    pub(crate) model: Option<String>,
    /// Of this tool.
    pub(crate) tool: Option<String>,
    /// Of this session.
    pub(crate) session: Option<String>,
    /// With this status.
    pub(crate) status: Option<String>,
    /// With this category among its risks.
    pub(crate) risk: Option<String>,
    /// `false`: without what Watchkeeper records of its own administration.
    pub(crate) own: Option<bool>,
}
