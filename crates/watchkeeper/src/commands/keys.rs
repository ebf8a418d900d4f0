//! `watchkeeper keys`.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use keys::Keyring;
use server::{ApiKeys, DataDir, Role, RootKeyPlace};
use store::{Cell, Table};

use super::lifecycle::with;
use crate::cli::{Data, FormatName, Keys, Operator, Rotated};
use crate::local_api::LocalApi;
use crate::output::{complain, printable, say, table};

pub(super) fn keys(command: Keys) -> anyhow::Result<ExitCode> {
    match command {
        Keys::Create { data, role, days, name } => {
            let role: Role = role.parse().with_context(|| format!("--role {role}"))?;
            let lifetime_s = days.map(|days| days.saturating_mul(86_400));
            let (id, key) = match running(&data)? {
                Some(api) => {
                    let body = serde_json::json!({ "name": name, "role": role, "lifetime_s": lifetime_s });
                    let made: serde_json::Value = api.post("/api/keys", &body)?;
                    (text(&made, "id"), text(&made, "key"))
                }
                None => {
                    let made = open(&data)?.create(&name, role, lifetime_s)?;
                    (made.info.id, made.secret)
                }
            };
            let end = match days {
                Some(days) => format!("in {days} days; `watchkeeper keys revoke {id}` ends it sooner"),
                None => format!("never; `watchkeeper keys revoke {id}` ends it"),
            };
            let name = printable(&name);
            say(&format!("id    {id}\nname  {name}\nrole  {}\nends  {end}\nkey   {key}\n      shown this once", role.as_str()))?;
        }
        Keys::List { data, format } => {
            let columns = ["id", "name", "role", "created", "expires"].map(str::to_owned).to_vec();
            let dir = DataDir::existing(&data.path()?)?;
            let rows = ApiKeys::open(server::read_keyring(&dir, &data.root()?)?)?
                .list()
                .into_iter()
                .map(|key| {
                    // For people a cell without an end would be one that is not known.
                    let never = if format.format == FormatName::Table { Cell::Text("never".to_owned()) } else { Cell::Null };
                    let (created, expires) = (Cell::Text(key.created()), key.expires().map_or(never, Cell::Text));
                    vec![Cell::Text(key.id), Cell::Text(key.name), Cell::Text(key.role.as_str().to_owned()), created, expires]
                })
                .collect();
            table(&Table { columns, rows, truncated: false }, format.format)?;
        }
        Keys::Revoke { data, id } => {
            match running(&data)? {
                Some(api) => api.delete(&format!("/api/keys/{id}"))?,
                None => drop(open(&data)?.revoke(&id)?),
            }
            say(&format!("{id} is revoked"))?;
        }
        Keys::Show { data, format } => show(&data, format.format)?,
        Keys::Rotate { data, what, overlap, new_root_key } => rotate(&data, what, overlap, new_root_key.as_deref())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn show(data: &Data, format: FormatName) -> anyhow::Result<()> {
    let dir = DataDir::existing(&data.path()?)?;
    // The public keys are there for everybody; which private ones are held, only the keyring tells.
    let keyring = match server::read_keyring(&dir, &data.root()?) {
        Ok(keyring) => Some(keyring),
        Err(error) => {
            complain(&format!("the keyring does not open, so that only public keys are shown: {error}"));
            None
        }
    };
    let keys = server::log_keys(&dir, keyring.as_deref())?;
    if format == FormatName::Json {
        let root = keyring.map(|keyring| keyring.root_id()).transpose()?;
        say(&serde_json::to_string_pretty(&serde_json::json!({ "root_key": root, "log_keys": keys }))?)?;
        return Ok(());
    }
    let columns = ["generation", "signs_from", "to", "state", "private_keys", "vkeys"].map(str::to_owned).to_vec();
    let number = |value: u64| Cell::Int(i64::try_from(value).unwrap_or(i64::MAX));
    let rows = keys.into_iter().map(|pair| {
        let held = pair.held.map_or(Cell::Null, |held| Cell::Text(if held { "held" } else { "destroyed" }.to_owned()));
        // The ML-DSA-44 key has 1,800 characters; name and id tell which it is.
        let short = |vkey: &String| vkey.rsplit_once('+').map_or_else(|| vkey.clone(), |(name, _)| name.to_owned());
        let vkeys = if format == FormatName::Csv { pair.vkeys } else { pair.vkeys.iter().map(short).collect() };
        let to = pair.last.map_or(Cell::Null, number);
        let (from, generation) = (number(pair.from), number(pair.generation));
        vec![generation, from, to, Cell::Text(pair.state.to_owned()), held, Cell::Text(vkeys.join(" "))]
    });
    let rows = rows.collect();
    if let Some(keyring) = keyring.filter(|_| format == FormatName::Table) {
        say(&format!("root key  {}", keyring.root_id()?))?;
    }
    table(&Table { columns, rows, truncated: false }, format)
}

fn rotate(data: &Data, what: Rotated, overlap: Option<u64>, new_root: Option<&Path>) -> anyhow::Result<()> {
    if overlap.is_some() && what != Rotated::Log {
        anyhow::bail!("--overlap belongs to the log's keys: say --what log");
    }
    match (what, new_root) {
        (Rotated::Log, None) => rotate_log(data, overlap.unwrap_or(server::OVERLAP_RECORDS)),
        (Rotated::Tenant, None) => rotate_tenant(data),
        (Rotated::Root, Some(new_root)) => rotate_root(data, new_root),
        (Rotated::Root, None) => anyhow::bail!("name the root key that is to be with --new-root-key"),
        (_, Some(_)) => anyhow::bail!("--new-root-key rotates the root key: say --what root, or leave --what out"),
    }
}

fn rotate_log(data: &Data, overlap: u64) -> anyhow::Result<()> {
    let rotation: serde_json::Value = with(
        data,
        &Operator::default(),
        None,
        |api| api.post("/api/log-key/rotate", &serde_json::json!({ "overlap": overlap })),
        |node, asker| Ok(serde_json::to_value(node.rotate_log_keys(asker, overlap)?)?),
    )?;
    let of = |key: &str| rotation[key].as_u64().unwrap_or_default();
    let (number, from, last) = (of("number"), of("from"), of("last"));
    say(&format!("rotation {number}: the new keys sign checkpoints of {from} records and more"))?;
    if last >= from {
        say(&format!(
            "the old ones sign with them up to {last} records, and are destroyed then; until then give the new ones to whoever trusts the old ones, such as witnesses"
        ))?;
    } else {
        say(
            "the old ones sign nothing any more, and are destroyed; give the new ones to whoever trusts the old ones, such as witnesses",
        )?;
    }
    say("the public keys are in ledger/vkey and ledger/keys; `watchkeeper keys show` lists them")?;
    Ok(())
}

fn rotate_tenant(data: &Data) -> anyhow::Result<()> {
    match running(data)? {
        Some(api) => api.post::<Option<()>>("/api/keyring/rotate", &serde_json::json!({})).map(drop)?,
        None => {
            let dir = DataDir::existing(&data.path()?)?;
            Keyring::open(&dir.keys(), data.root()?.read(&dir)?)?.rotate_tenant()?;
        }
    }
    fresh_tenant_key()
}

fn rotate_root(data: &Data, new_root: &Path) -> anyhow::Result<()> {
    if running(data)?.is_some() {
        anyhow::bail!("the server that runs on this directory knows the old root key; stop it first");
    }
    let dir = DataDir::existing(&data.path()?)?;
    let keyring = Keyring::open(&dir.keys(), data.root()?.read(&dir)?)?;
    let (new_root, is_new) = RootKeyPlace::new(Some(new_root))?.read_or_create(&dir)?;
    keyring.replace_root(new_root)?;
    let made = if is_new { "made it, and " } else { "" };
    say(&format!(
        "{made}wrapped the tenant key by the new root key: name it with --root-key from now on, keep a copy of it elsewhere, destroy the old one"
    ))?;
    fresh_tenant_key()
}

fn fresh_tenant_key() -> anyhow::Result<()> {
    say("the keyring is encrypted under a fresh tenant key; take a new backup of keys/ and remove the old ones")?;
    Ok(())
}

fn running(data: &Data) -> anyhow::Result<Option<LocalApi>> {
    LocalApi::find(&DataDir::existing(&data.path()?)?, data)
}

fn open(data: &Data) -> anyhow::Result<ApiKeys> {
    let dir = DataDir::existing(&data.path()?)?;
    Ok(ApiKeys::open(Arc::new(Keyring::open(&dir.keys(), data.root()?.read(&dir)?)?))?)
}

fn text(value: &serde_json::Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}
