//! The tables of a partition.

/// Version of the tables. A partition of an older version is built again from the record; one of a newer version is refused.
pub(crate) const SCHEMA_VERSION: i64 = 8;

/// Directions of a piece, as the table has them.
pub(crate) const INPUT: i64 = 0;
/// See [`INPUT`].
pub(crate) const OUTPUT: i64 = 1;

/// Roles of a piece, by their number in the table.
pub(crate) const ROLES: [&str; 5] = ["system", "user", "assistant", "tool", "document"];

/// Parts of a message, by their number in the table. Never reordered.
pub(crate) const PARTS: [&str; 11] = [
    "text",
    "reasoning",
    "tool_call",
    "tool_result",
    "document",
    "query",
    "tool_definition",
    "media",
    "command",
    "body",
    "other",
];

/// Columns of `events`, in the order in which [`row`](crate::row) binds them.
pub(crate) const EVENT_COLUMNS: [&str; 66] = [
    "seq INTEGER PRIMARY KEY",
    "id TEXT NOT NULL",
    // Tells two events that were given one id apart, so that neither hides the other.
    "variant INTEGER NOT NULL",
    "kind TEXT NOT NULL",
    "phase TEXT NOT NULL",
    "name TEXT NOT NULL",
    // As people write it: what they filter and order by must be what the index is on.
    "time TEXT NOT NULL",
    "time_ns INTEGER NOT NULL",
    "observed_ns INTEGER NOT NULL",
    "duration_ns INTEGER",
    "trace_id TEXT",
    "span_id TEXT",
    "parent_span_id TEXT",
    "session_id TEXT",
    "turn TEXT",
    "user_id TEXT",
    "user_name TEXT",
    "user_proof TEXT",
    "application TEXT",
    "application_version TEXT",
    "agent_id TEXT",
    "agent TEXT",
    "agent_version TEXT",
    "agent_proof TEXT",
    "delegation TEXT",
    "credential TEXT",
    "credential_proof TEXT",
    "client_address TEXT",
    "user_agent TEXT",
    "source_path TEXT NOT NULL",
    "dialect TEXT NOT NULL",
    "scope TEXT",
    "operation TEXT",
    "provider TEXT",
    "request_model TEXT",
    "response_model TEXT",
    "tool_name TEXT",
    "tool_call_id TEXT",
    "call_id TEXT",
    "status TEXT NOT NULL",
    "error_type TEXT",
    "finish_reasons TEXT",
    "input_tokens INTEGER",
    "output_tokens INTEGER",
    "cached_tokens INTEGER",
    "cache_creation_tokens INTEGER",
    "reasoning_tokens INTEGER",
    "logprob_mean REAL",
    "score REAL",
    "verdict TEXT",
    "scanned_bytes INTEGER",
    "unscanned_bytes INTEGER",
    "risks TEXT",
    "prompt_score REAL",
    "prompt_risk TEXT",
    "response_score REAL",
    "response_risk TEXT",
    "has_prompt INTEGER NOT NULL",
    "output TEXT",
    "url TEXT",
    "server_address TEXT",
    "http_status INTEGER",
    "attributes TEXT NOT NULL",
    "unmapped TEXT",
    "sanitized TEXT",
    // What Watchkeeper records of its own administration: see `EventRow::is_own`.
    "own INTEGER NOT NULL",
];

/// Everything else. Contents and pieces are tied by a number that is local to the partition: a conversation names each
/// of its pieces again in every call, so a reference must cost a few bytes.
pub(crate) const TABLES: &str = "
CREATE UNIQUE INDEX events_id ON events(id, variant);

CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;

-- records whose events were erased; kind is NULL where the leaf's is not known
CREATE TABLE erased (
  seq INTEGER PRIMARY KEY,
  time TEXT NOT NULL,
  time_ns INTEGER NOT NULL,
  observed_ns INTEGER NOT NULL,
  kind TEXT
);

-- What `status` tells, counted up with each batch: counting millions of rows takes minutes.
CREATE TABLE tallies (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;

CREATE TABLE contents (
  id INTEGER PRIMARY KEY,
  content_id BLOB NOT NULL,
  -- the first eight bytes of `content_id`: an index on it is a third as large, and its pages stay in the cache
  content_key INTEGER NOT NULL,
  subject BLOB NOT NULL,
  -- the first event here that refers to it
  seq INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  data NOT NULL
);
CREATE INDEX contents_key ON contents(content_key);
CREATE VIRTUAL TABLE contents_fts USING fts5(
  text, content='', columnsize=0, detail=none, tokenize='unicode61 remove_diacritics 2'
);

CREATE TABLE pieces (
  seq INTEGER NOT NULL,
  ord INTEGER NOT NULL,
  direction INTEGER NOT NULL,
  role INTEGER NOT NULL,
  part INTEGER NOT NULL,
  message INTEGER NOT NULL,
  history INTEGER NOT NULL,
  name TEXT,
  call_id TEXT,
  score REAL,
  failed INTEGER,
  content INTEGER NOT NULL,
  PRIMARY KEY (seq, ord)
) WITHOUT ROWID;

CREATE TABLE findings (
  seq INTEGER NOT NULL,
  ord INTEGER NOT NULL,
  n INTEGER NOT NULL,
  risk TEXT NOT NULL,
  technique TEXT,
  rule TEXT NOT NULL,
  score REAL NOT NULL,
  start INTEGER NOT NULL,
  \"end\" INTEGER NOT NULL,
  view TEXT,
  PRIMARY KEY (seq, ord, n)
) WITHOUT ROWID;

CREATE TABLE actions (
  id INTEGER PRIMARY KEY,
  seq INTEGER NOT NULL,
  event_id TEXT NOT NULL,
  time TEXT NOT NULL,
  time_ns INTEGER NOT NULL,
  end_ns INTEGER NOT NULL,
  source TEXT NOT NULL,
  origins INTEGER NOT NULL,
  done INTEGER NOT NULL,
  call_id TEXT,
  session_id TEXT,
  trace_id TEXT,
  scope TEXT NOT NULL,
  exchange TEXT,
  user_id TEXT,
  application TEXT,
  agent TEXT,
  agent_version TEXT,
  model TEXT,
  tool TEXT,
  tool_type TEXT,
  args_hash INTEGER,
  arguments INTEGER,
  result INTEGER,
  result_event_id TEXT,
  result_time_ns INTEGER,
  joined_by TEXT,
  status TEXT NOT NULL,
  error TEXT,
  approval_status TEXT,
  approval_source TEXT,
  duration_ns INTEGER,
  risk_score REAL,
  risk TEXT
);
CREATE INDEX actions_session ON actions(session_id, call_id);
CREATE INDEX actions_trace ON actions(trace_id, call_id);
CREATE INDEX actions_scope ON actions(scope, call_id);
CREATE INDEX actions_args_session ON actions(session_id, args_hash);
CREATE INDEX actions_args_trace ON actions(trace_id, args_hash);
CREATE INDEX actions_exchange ON actions(exchange);

-- Numbered in the order in which they were first heard of.
CREATE TABLE sessions (
  id INTEGER PRIMARY KEY,
  session_id TEXT NOT NULL UNIQUE,
  first_ns INTEGER NOT NULL,
  last_ns INTEGER NOT NULL,
  login_ns INTEGER,
  logout_ns INTEGER,
  user_id TEXT,
  user_proof TEXT,
  application TEXT,
  agent TEXT,
  -- where it was first seen from: see `client` in `aggregates`
  client TEXT,
  events INTEGER NOT NULL,
  model_calls INTEGER NOT NULL,
  tokens INTEGER NOT NULL,
  score REAL,
  tool_calls INTEGER NOT NULL,
  -- of its id: tells sessions of one time apart, and lets an index have them in the order of lists
  tie INTEGER NOT NULL,
  -- the worst of its detections in this partition
  severity INTEGER,
  -- 0: nothing but the server's own administration happened in it
  others INTEGER NOT NULL
);
-- Parts of their ids: without it all of them would be read for one that few have. An id is in it as far as lists show it.
CREATE VIRTUAL TABLE session_ids USING fts5(id, content='', columnsize=0, detail=none, tokenize='trigram');

CREATE TABLE identities (
  agent_id TEXT NOT NULL,
  agent TEXT NOT NULL,
  agent_version TEXT NOT NULL,
  proof TEXT NOT NULL,
  application TEXT NOT NULL,
  user_id TEXT NOT NULL,
  credential TEXT NOT NULL,
  delegation TEXT NOT NULL,
  first_ns INTEGER NOT NULL,
  last_ns INTEGER NOT NULL,
  events INTEGER NOT NULL,
  PRIMARY KEY (agent_id, agent, agent_version, proof, application, user_id, credential, delegation)
) WITHOUT ROWID;

CREATE TABLE prompts_seen (
  application TEXT NOT NULL,
  agent TEXT NOT NULL,
  content INTEGER NOT NULL,
  first_ns INTEGER NOT NULL,
  last_ns INTEGER NOT NULL,
  uses INTEGER NOT NULL,
  event_id TEXT NOT NULL,
  session_id TEXT,
  user_id TEXT,
  credential TEXT,
  model TEXT,
  score REAL,
  PRIMARY KEY (application, agent, content)
) WITHOUT ROWID;

-- The events from which on an application's agent has another system prompt than with its call before, in this partition.
CREATE TABLE prompt_runs (
  seq INTEGER PRIMARY KEY,
  application TEXT NOT NULL,
  agent TEXT NOT NULL,
  -- of the ids of all texts of the prompt
  digest INTEGER NOT NULL
);
CREATE INDEX prompt_runs_agent ON prompt_runs(application, agent, seq);

-- What lists of detections show and filter by; the events have the rest.
CREATE TABLE detections (
  seq INTEGER PRIMARY KEY,
  id TEXT NOT NULL,
  time_ns INTEGER NOT NULL,
  observed_ns INTEGER NOT NULL,
  rule TEXT,
  title TEXT NOT NULL,
  technique TEXT,
  -- 0 informational to 4 critical
  severity INTEGER NOT NULL,
  confidence REAL,
  grade TEXT,
  session_id TEXT,
  trace_id TEXT,
  user_id TEXT,
  application TEXT,
  agent TEXT,
  tool TEXT,
  model TEXT
);
-- Lists go by when it was recorded: whoever sends events says when these happened.
CREATE INDEX detections_observed ON detections(observed_ns);
CREATE INDEX detections_id ON detections(id);
CREATE INDEX detections_session ON detections(session_id, observed_ns) WHERE session_id IS NOT NULL;

-- What happened in a minute (its beginning, in nanoseconds since 1970). `finished`: without the requests of calls in two phases.
CREATE TABLE minutes (
  minute INTEGER NOT NULL,
  kind TEXT NOT NULL,
  events INTEGER NOT NULL,
  finished INTEGER NOT NULL,
  errors INTEGER NOT NULL,
  input_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL,
  PRIMARY KEY (minute, kind)
) WITHOUT ROWID;

-- Calls of models in five minutes, and again in half an hour (`seconds`): once by each of `dimension` (see `UsageBy`), and not by all of them
-- at once, because every user has rows of their own then wherever models are asked for. `provider` is that of a model, and empty otherwise.
-- Cost is what the sources say, of `costed` calls.
CREATE TABLE usage (
  seconds INTEGER NOT NULL,
  dimension INTEGER NOT NULL,
  slot INTEGER NOT NULL,
  name TEXT NOT NULL,
  provider TEXT NOT NULL,
  calls INTEGER NOT NULL,
  errors INTEGER NOT NULL,
  refusals INTEGER NOT NULL,
  input_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL,
  cached_tokens INTEGER NOT NULL,
  cost REAL NOT NULL,
  costed INTEGER NOT NULL,
  PRIMARY KEY (seconds, dimension, slot, name, provider)
) WITHOUT ROWID;

-- How long calls took, as a histogram: step n is 2^(n/8) nanoseconds and more.
CREATE TABLE latencies (
  seconds INTEGER NOT NULL,
  slot INTEGER NOT NULL,
  model TEXT NOT NULL,
  step INTEGER NOT NULL,
  calls INTEGER NOT NULL,
  PRIMARY KEY (seconds, slot, model, step)
) WITHOUT ROWID;

-- What calls brought.
CREATE TABLE outputs (
  seconds INTEGER NOT NULL,
  slot INTEGER NOT NULL,
  model TEXT NOT NULL,
  output TEXT NOT NULL,
  calls INTEGER NOT NULL,
  PRIMARY KEY (seconds, slot, model, output)
) WITHOUT ROWID;

CREATE TABLE entities (
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  first_ns INTEGER NOT NULL,
  last_ns INTEGER NOT NULL,
  events INTEGER NOT NULL,
  PRIMARY KEY (kind, name)
) WITHOUT ROWID;

CREATE TABLE session_agents (session_id TEXT NOT NULL, agent TEXT NOT NULL, PRIMARY KEY (session_id, agent)) WITHOUT ROWID;
";

/// What readers need and the writer does not. The indexes of sessions have what lists of them filter by, so that those that
/// do not pass cost no look into the table; `sessions_last` begins with whose they are, so that any number of the server's own is passed over
/// at once. A partition that is built aside gets it at its end: an index that is sorted once
/// costs a tenth of one into which millions of keys are put in no order. The index of words gathers those of a batch in memory
/// (8 MiB; 1 MiB would cut a batch of 2,000 events into pieces that have to be merged again), and merges eight pieces at a time.
const FOR_READERS: &str = "
CREATE INDEX IF NOT EXISTS events_time ON events(time);
CREATE INDEX IF NOT EXISTS events_trace ON events(trace_id, time_ns) WHERE trace_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS events_session ON events(session_id, time_ns) WHERE session_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS events_user ON events(user_id, time_ns) WHERE user_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS events_application ON events(application, time_ns) WHERE application IS NOT NULL;
CREATE INDEX IF NOT EXISTS events_agent ON events(agent, time_ns) WHERE agent IS NOT NULL;
CREATE INDEX IF NOT EXISTS events_tool ON events(tool_name, time_ns) WHERE tool_name IS NOT NULL;
CREATE INDEX IF NOT EXISTS events_model ON events(coalesce(response_model, request_model), time_ns) WHERE coalesce(response_model, request_model) IS NOT NULL;
CREATE INDEX IF NOT EXISTS events_error ON events(time_ns) WHERE status = 'error';
CREATE INDEX IF NOT EXISTS events_risk ON events(time_ns) WHERE risks IS NOT NULL;
CREATE INDEX IF NOT EXISTS events_call ON events(call_id) WHERE call_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS events_others ON events(own, time_ns) WHERE own = 0;
CREATE INDEX IF NOT EXISTS events_kind ON events(kind, time_ns);
CREATE INDEX IF NOT EXISTS actions_time ON actions(time);
CREATE INDEX IF NOT EXISTS sessions_last ON sessions(others, last_ns, tie, first_ns, user_id, application, session_id);
CREATE INDEX IF NOT EXISTS sessions_user ON sessions(user_id, last_ns, tie, severity, first_ns, others, application, session_id) WHERE user_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS sessions_found ON sessions(last_ns, tie, severity, first_ns, others, user_id, application, session_id) WHERE severity IS NOT NULL;
INSERT INTO contents_fts(contents_fts, rank) VALUES ('hashsize', 8388608), ('automerge', 8);
";

/// Words of a partition that is built aside are gathered in eight times the memory: there is less to merge.
const WORDS_ASIDE: &str = "INSERT INTO contents_fts(contents_fts, rank) VALUES ('hashsize', 67108864), ('automerge', 8);";

/// The statements that make a partition.
pub(crate) fn create() -> String {
    format!("{}{FOR_READERS}", create_tables())
}

/// The statements that make a partition that nobody reads yet.
pub(crate) fn create_aside() -> String {
    format!("{}{WORDS_ASIDE}", create_tables())
}

/// What makes a partition of [`create_aside`] one of [`create`].
pub(crate) const FINISH: &str = FOR_READERS;

fn create_tables() -> String {
    format!("CREATE TABLE events ({});{TABLES}PRAGMA user_version = {SCHEMA_VERSION};", EVENT_COLUMNS.join(", "))
}
