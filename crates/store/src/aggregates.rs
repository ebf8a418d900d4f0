//! Tables that count up: sessions, agents' identities, system prompts, tallies. Gathered in memory for a batch and written once
//! before its commit, because most events of a batch touch the same few rows.

use std::collections::HashMap;

use event::{Direction, Key, Kind, Part, Phase, PieceMeta, Role, attr};
use rusqlite::{Connection, Result, params};
use sanitize::Clean;

use crate::cut;
use crate::rollups::Rollups;
use crate::row::{EventRow, Fnv, chain, display, is_joined, proof_name, round};

/// What a batch adds.
#[derive(Debug, Default)]
pub(crate) struct Aggregates {
    sessions: HashMap<String, Session>,
    identities: HashMap<[String; 8], Span>,
    prompts: HashMap<(String, String, i64), Prompt>,
    kinds: HashMap<&'static str, i64>,
    contents: i64,
    content_bytes: i64,
    rollups: Rollups,
}

/// Longest text of what is told of a session's client, in bytes: addresses and names are shorter, and so are user agents of people.
const CLIENT_TEXT_BYTES_MAX: usize = 1_024;

/// Tally of the texts of a partition.
pub(crate) const CONTENTS: &str = "contents";

/// Tally of their bytes before compression.
pub(crate) const CONTENT_BYTES: &str = "content_bytes";

/// What stands before a kind in the name of the tally of its events.
pub(crate) const KIND_PREFIX: &str = "kind:";

#[derive(Debug, Default, Clone, Copy)]
struct Span {
    first_ns: i64,
    last_ns: i64,
    events: i64,
}

#[derive(Debug, Default)]
struct Session {
    /// Its place among those that the batch tells of.
    place: usize,
    /// Whether anything but the server's own administration happened in it.
    others: bool,
    span: Span,
    login_ns: Option<i64>,
    logout_ns: Option<i64>,
    user_id: Option<String>,
    user_proof: Option<&'static str>,
    application: Option<String>,
    agent: Option<String>,
    client: Option<String>,
    model_calls: i64,
    tokens: i64,
    score: Option<f64>,
    tool_calls: i64,
}

#[derive(Debug, Default)]
struct Prompt {
    span: Span,
    event_id: String,
    session_id: Option<String>,
    user_id: Option<String>,
    credential: Option<String>,
    model: Option<String>,
    score: Option<f64>,
}

impl Span {
    fn add(&mut self, time_ns: i64) {
        self.first_ns = if self.events == 0 { time_ns } else { self.first_ns.min(time_ns) };
        self.last_ns = if self.events == 0 { time_ns } else { self.last_ns.max(time_ns) };
        self.events += 1;
    }
}

impl Aggregates {
    /// Adds an event. `contents` are the numbers of its pieces' contents, in their order.
    pub(crate) fn add(&mut self, row: &EventRow<'_>, contents: &[i64]) {
        *self.kinds.entry(row.event.kind.as_str()).or_default() += 1;
        self.rollups.add(row);
        // What Watchkeeper itself says of a session is not part of it.
        if !matches!(row.event.kind, Kind::Detection | Kind::ResponseAction | Kind::Gap) {
            self.add_session(row);
            self.add_identity(row);
        }
        if has_system_prompt(row) {
            self.add_prompts(row, contents);
        }
    }

    /// Adds a text that was stored.
    pub(crate) fn add_content(&mut self, text: &str) {
        self.contents += 1;
        self.content_bytes = self.content_bytes.saturating_add(crate::row::integer(text.len() as u64));
    }

    fn add_session(&mut self, row: &EventRow<'_>) {
        let event = row.event;
        let is_session = event.kind == Kind::Session;
        let Some(id) = row.session().map(str::to_owned).or_else(|| is_session.then(|| format!("event:{}", row.id))) else {
            return;
        };
        let place = self.sessions.len();
        let session = self.sessions.entry(id).or_insert_with(|| Session { place, ..Session::default() });
        session.others |= !row.is_own();
        session.span.add(row.time_ns);
        if is_session {
            let action = row.text(&attr::EVENT_ACTION).unwrap_or_default();
            let at =
                if action.contains("out") || action.contains("end") { &mut session.logout_ns } else { &mut session.login_ns };
            at.get_or_insert(row.time_ns);
        }
        let identity = &event.identity;
        let keep = |slot: &mut Option<String>, value: Option<&str>| {
            if slot.is_none() {
                *slot = value.map(|value| cut::text(value).to_owned());
            }
        };
        keep(&mut session.user_id, row.user());
        keep(&mut session.application, row.application());
        keep(&mut session.agent, row.agent());
        session.user_proof = session.user_proof.or(identity.user.as_ref().map(|user| proof_name(user.proof)));
        if let Some(client) = client(row)
            && session.client.as_ref().is_none_or(|first| client < *first)
        {
            session.client = Some(client);
        }
        if event.kind == Kind::ModelCall && event.phase != Phase::Request && !is_joined(event) {
            session.model_calls += 1;
            for key in [attr::GEN_AI_USAGE_INPUT_TOKENS, attr::GEN_AI_USAGE_OUTPUT_TOKENS] {
                session.tokens = session.tokens.saturating_add(row.int(&key).unwrap_or(0).max(0));
            }
        }
        session.tool_calls += i64::from(event.kind == Kind::ToolCall && event.phase != Phase::Request && !is_joined(event));
        if let Some(inspection) = event.inspection {
            session.score = Some(session.score.unwrap_or(0.0).max(round(inspection.score)));
        }
    }

    fn add_identity(&mut self, row: &EventRow<'_>) {
        let identity = &row.event.identity;
        let Some(agent) = &identity.agent else { return };
        let chain = chain(&identity.delegation);
        let text = |text: Option<&str>| cut::text(text.unwrap_or_default()).to_owned();
        let key = [
            cut::text(&agent.id).to_owned(),
            display(agent).to_owned(),
            text(agent.version.as_deref()),
            proof_name(agent.proof).to_owned(),
            text(row.application()),
            text(row.user()),
            text(row.credential()),
            chain.join(" > "),
        ];
        self.identities.entry(key).or_default().add(row.time_ns);
    }

    fn add_prompts(&mut self, row: &EventRow<'_>, contents: &[i64]) {
        for (piece, content) in row.event.pieces.iter().zip(contents) {
            if !is_system_text(&piece.meta) || *content == 0 {
                continue;
            }
            let text = |text: Option<&str>| text.map(str::to_owned);
            let key = (row.application().unwrap_or_default().to_owned(), row.agent().unwrap_or_default().to_owned(), *content);
            let prompt = self.prompts.entry(key).or_insert_with(|| Prompt {
                event_id: row.id.clone(),
                session_id: text(row.session()),
                user_id: text(row.user()),
                credential: text(row.credential()),
                model: row.model().map(std::borrow::Cow::into_owned),
                ..Prompt::default()
            });
            prompt.span.add(row.time_ns);
            if row.event.inspection.is_some() {
                let score = piece.findings.iter().map(|finding| finding.score).fold(0.0, f32::max);
                prompt.score = Some(prompt.score.unwrap_or(0.0).max(round(score)));
            }
        }
    }

    /// Writes what was gathered, inside the transaction.
    pub(crate) fn flush(&mut self, connection: &Connection) -> Result<()> {
        self.flush_sessions(connection)?;
        let mut statement = connection.prepare_cached(
            "INSERT INTO identities VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
             ON CONFLICT DO UPDATE SET first_ns = min(first_ns, excluded.first_ns), last_ns = max(last_ns, excluded.last_ns),
               events = events + excluded.events",
        )?;
        for ([id, name, version, proof, application, user, credential, delegation], span) in self.identities.drain() {
            let Span { first_ns, last_ns, events } = span;
            statement.execute(params![
                id,
                name,
                version,
                proof,
                application,
                user,
                credential,
                delegation,
                first_ns,
                last_ns,
                events
            ])?;
        }
        let mut statement = connection.prepare_cached(
            "INSERT INTO prompts_seen VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
             ON CONFLICT DO UPDATE SET first_ns = min(first_ns, excluded.first_ns), last_ns = max(last_ns, excluded.last_ns),
               uses = uses + excluded.uses, score = coalesce(max(score, excluded.score), score, excluded.score)",
        )?;
        for ((application, agent, content), prompt) in self.prompts.drain() {
            statement.execute(params![
                application,
                agent,
                content,
                prompt.span.first_ns,
                prompt.span.last_ns,
                prompt.span.events,
                prompt.event_id,
                prompt.session_id,
                prompt.user_id,
                prompt.credential,
                prompt.model,
                prompt.score,
            ])?;
        }
        let mut statement = connection
            .prepare_cached("INSERT INTO tallies VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = value + excluded.value")?;
        for (kind, events) in self.kinds.drain() {
            statement.execute(params![format!("{KIND_PREFIX}{kind}"), events])?;
        }
        for (name, value) in [(CONTENTS, &mut self.contents), (CONTENT_BYTES, &mut self.content_bytes)] {
            statement.execute(params![name, std::mem::take(value)])?;
        }
        self.rollups.flush(connection)
    }

    fn flush_sessions(&mut self, connection: &Connection) -> Result<()> {
        let mut update = connection.prepare_cached(
            "UPDATE sessions SET first_ns = min(first_ns, ?2), last_ns = max(last_ns, ?3), login_ns = coalesce(login_ns, ?4),
               logout_ns = coalesce(logout_ns, ?5), user_id = coalesce(user_id, ?6), user_proof = coalesce(user_proof, ?7),
               application = coalesce(application, ?8), agent = coalesce(agent, ?9),
               client = coalesce(min(client, ?10), client, ?10), events = events + ?11, model_calls = model_calls + ?12,
               tokens = tokens + ?13, score = coalesce(max(score, ?14), score, ?14), tool_calls = tool_calls + ?15,
               others = max(others, ?16)
             WHERE session_id = ?1",
        )?;
        let mut insert = connection.prepare_cached(
            "INSERT INTO sessions (session_id, first_ns, last_ns, login_ns, logout_ns, user_id, user_proof, application, agent, client,
               events, model_calls, tokens, score, tool_calls, others, tie, severity)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, max(?16, found.worst IS NOT NULL), ?17, found.worst
             FROM (SELECT max(severity) AS worst FROM detections WHERE session_id = ?1) found",
        )?;
        let mut parts = connection.prepare_cached("INSERT INTO session_ids(rowid, id) VALUES (?1, ?2)")?;
        // In the order in which they were heard of, so that a day that is built anew numbers them as before.
        let mut sessions: Vec<(String, Session)> = self.sessions.drain().collect();
        sessions.sort_unstable_by_key(|(_, session)| session.place);
        for (id, session) in &sessions {
            let tie = tie(id);
            let values = params![
                id,
                session.span.first_ns,
                session.span.last_ns,
                session.login_ns,
                session.logout_ns,
                session.user_id,
                session.user_proof,
                session.application,
                session.agent,
                session.client,
                session.span.events,
                session.model_calls,
                session.tokens,
                session.score,
                session.tool_calls,
                session.others,
            ];
            if update.execute(values)? > 0 {
                continue;
            }
            insert.execute(&[values, params![tie]].concat()[..])?;
            // The index takes a null character for the end of a text.
            parts.execute(params![connection.last_insert_rowid(), cut::shown(id).replace('\0', " ")])?;
        }
        Ok(())
    }

    /// Drops what was gathered for a transaction that is rolled back.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// What tells sessions of one time apart in lists. Whoever sends events chooses their ids, so that nobody may easily find two with one tie.
fn tie(id: &str) -> i64 {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, id.as_bytes());
    let first = digest.as_ref().iter().take(8).fold(0_u64, |first, byte| first << 8 | u64::from(*byte));
    i64::from_be_bytes(first.to_be_bytes()) & i64::MAX
}

/// Whether its system texts are what an agent was told.
fn has_system_prompt(row: &EventRow<'_>) -> bool {
    matches!(row.event.kind, Kind::ModelCall | Kind::SystemPrompt) && row.event.phase != Phase::Response
}

fn is_system_text(meta: &PieceMeta<Clean>) -> bool {
    meta.direction == Direction::Input && meta.role == Role::System && matches!(meta.part, Part::Text | Part::Body)
}

/// Notes the event where the agent's system prompt is another one than that of its call before. Here alone: views compare the first
/// notes of a partition with the last of the one before, so that a partition that is built anew brings the same.
pub(crate) fn note_prompt(connection: &Connection, row: &EventRow<'_>) -> Result<()> {
    if !has_system_prompt(row) {
        return Ok(());
    }
    let mut digest = Fnv::default();
    let mut texts = row.event.pieces.iter().filter(|piece| is_system_text(&piece.meta)).peekable();
    if texts.peek().is_none() {
        return Ok(());
    }
    // Ids of contents are keyed hashes, so that nobody can choose one prompt to be taken for another.
    texts.for_each(|piece| digest.field(piece.content.id.as_bytes()));
    connection
        .prepare_cached(
            "INSERT INTO prompt_runs(seq, application, agent, digest) SELECT ?1, ?2, ?3, ?4 WHERE ?4 IS NOT
               (SELECT digest FROM prompt_runs WHERE application = ?2 AND agent = ?3 ORDER BY seq DESC LIMIT 1)",
        )?
        .execute(params![row.seq, row.application().unwrap_or_default(), row.agent().unwrap_or_default(), digest.finish()])
        .map(drop)
}

/// From where, with what and how somebody came, as a JSON list: how well it tells of the session, the time with leading zeros, and
/// then address, user agent, place, country, city, number and name of the autonomous system, way of authentication. The least text is
/// the first of those that tell best, whatever order events come in; a sign-in tells best, an event without an address least.
fn client(row: &EventRow<'_>) -> Option<String> {
    let client = row.event.identity.client.as_ref();
    let text = |text: Option<&Clean>| text.map(|text| cut::head(text, CLIENT_TEXT_BYTES_MAX).to_owned());
    let address = text(client.and_then(|client| client.address.as_ref()));
    let agent = text(client.and_then(|client| client.user_agent.as_ref()));
    let own = |key: &Key| row.text(key).map(|text| cut::head(&text, CLIENT_TEXT_BYTES_MAX).to_owned());
    let find = |key: Option<Key>, names: &[&str]| key.and_then(|key| own(&key)).or_else(|| told_apart(row, names));
    let city = find(Some(attr::GEO_LOCALITY_NAME), &["city_name", "locality.name", "city"]);
    let region = find(Some(attr::GEO_REGION_ISO_CODE), &["region_name", "region_iso_code", "region.iso_code"]);
    let country = find(Some(attr::GEO_COUNTRY_ISO_CODE), &["country_iso_code", "country.iso_code", "country"]);
    let country_name = find(None, &["country_name"]).or_else(|| country.clone());
    let place: Vec<&str> = [&city, &region, &country_name].into_iter().flatten().map(String::as_str).collect();
    let place = (!place.is_empty()).then(|| place.join(", "));
    let auth = own(&attr::AUTH_METHOD);
    if address.is_none() && agent.is_none() && place.is_none() && auth.is_none() {
        return None;
    }
    let rank = match (row.event.kind, &address) {
        (Kind::Session, Some(_)) => 0,
        (_, Some(_)) => 1,
        (Kind::Session, None) => 2,
        (_, None) => 3,
    };
    let time = format!("{:020}", row.time_ns);
    let (number, organization) = (row.int(&attr::AS_NUMBER), own(&attr::AS_ORGANIZATION_NAME));
    serde_json::to_string(&(rank, time, address, agent, place, country, city, number, organization, auth)).ok()
}

/// A part of a place as ECS's and OTel's `client.geo.*`, `geo.*` and `source.geo.*` tell it where no dialect knew them.
fn told_apart(row: &EventRow<'_>, names: &[&str]) -> Option<String> {
    let mut keys =
        ["client.geo.", "geo.", "source.geo."].iter().flat_map(|prefix| names.iter().map(move |name| format!("{prefix}{name}")));
    let value = keys.find_map(|key| row.event.unmapped.get(key.as_str()))?;
    value.as_text().map(|text| cut::head(text, CLIENT_TEXT_BYTES_MAX).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_are_the_beginning_of_a_digest_in_which_nobody_finds_collisions() {
        // Of "abc", by FIPS 180-2.
        assert_eq!(tie("abc"), 0x3a78_16bf_8f01_cfea);
        assert!(tie("") >= 0 && tie("") != tie("\0"));
    }
}
