//! `watchkeeper keys`.

use std::path::Path;
use std::process::ExitCode;

use keys::Keyring;
use server::{ApiKeys, DataDir, Role, RootKeyFile};
use store::{Cell, Table};

use crate::cli::{Data, Keys};
use crate::local_api::LocalApi;
use crate::output::{say, table};

pub(super) fn keys(command: Keys) -> anyhow::Result<ExitCode> {
    match command {
        Keys::Create { data, role, days, name } => {
            let role: Role = role.parse()?;
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
            say(&format!("id   {id}\nkey  {key}\n     shown this once"))?;
        }
        Keys::List { data, format } => {
            let columns = ["id", "name", "role", "created_unix_s", "expires_unix_s"].map(str::to_owned).to_vec();
            let number = |value: u64| Cell::Int(i64::try_from(value).unwrap_or(i64::MAX));
            let rows = open(&data)?
                .list()?
                .into_iter()
                .map(|key| {
                    let end = key.expires_unix_s.map_or(Cell::Null, number);
                    vec![
                        Cell::Text(key.id),
                        Cell::Text(key.name),
                        Cell::Text(key.role.as_str().to_owned()),
                        number(key.created_unix_s),
                        end,
                    ]
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
        Keys::Rotate { data, new_root_key } => rotate(&data, new_root_key.as_deref())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn rotate(data: &Data, new_root: Option<&Path>) -> anyhow::Result<()> {
    let dir = DataDir::existing(&data.path()?)?;
    match (running(data)?, new_root) {
        (Some(_), Some(_)) => anyhow::bail!("the server that runs on this directory knows the old root key; stop it first"),
        (Some(api), None) => api.post::<Option<()>>("/api/keyring/rotate", &serde_json::json!({})).map(drop)?,
        (None, new_root) => {
            let keyring = Keyring::open(&dir.keys(), data.root()?.read(&dir)?)?;
            match new_root {
                None => keyring.rotate_tenant()?,
                Some(new_root) => {
                    let (new_root, is_new) = RootKeyFile::new(Some(new_root))?.read_or_create(&dir)?;
                    keyring.replace_root(new_root)?;
                    let made = if is_new { "made it, and " } else { "" };
                    say(&format!(
                        "{made}wrapped the tenant key by the new root key: name it with --root-key from now on, keep a copy of it elsewhere, destroy the old one"
                    ))?;
                }
            }
        }
    }
    say("the keyring is encrypted under a fresh tenant key; take a new backup of keys/ and remove the old ones")?;
    Ok(())
}

fn running(data: &Data) -> anyhow::Result<Option<LocalApi>> {
    LocalApi::find(&DataDir::existing(&data.path()?)?)
}

fn open(data: &Data) -> anyhow::Result<ApiKeys> {
    Ok(ApiKeys::open(&DataDir::existing(&data.path()?)?.key("api-keys.json"))?)
}

fn text(value: &serde_json::Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}
