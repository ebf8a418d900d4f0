//! `watchkeeper keys`.

use std::process::ExitCode;

use server::{ApiKeys, DataDir, Role};
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
    }
    Ok(ExitCode::SUCCESS)
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
