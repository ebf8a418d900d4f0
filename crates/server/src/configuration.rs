//! What the configuration said at the start before: a change of it is an event with what was and what is, for each of its tables.

use event::{Event, Kind, attr};
use inspect::Canary;
use keys::{Keyring, KeysError};
use serde_json::{Map, Value};

use crate::asker::Asker;
use crate::config::{Config, Listen};
use crate::node::internal;

/// The keyring's name of the configuration.
const NAME: &str = "configuration";

/// The event that tells of a change.
const EVENT: &str = "configuration.change";

/// Longest text of what a table was or is, in bytes: far longer than people write one.
const TABLE_BYTES_MAX: usize = 32 * 1024;

/// Why the configuration before is not known.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// The keyring.
    #[error("configuration of the start before: {0}")]
    Keys(#[from] KeysError),
    /// It is not what this program wrote.
    #[error("configuration of the start before, in the keyring: {0}")]
    Form(#[from] serde_json::Error),
}

/// A configuration, table by table.
pub(crate) struct Configuration(Map<String, Value>);

impl Configuration {
    pub(crate) fn of(config: &Config) -> Result<Self, ConfigurationError> {
        let mut config = config.clone();
        // Ports of the system's choice are nothing that somebody configured.
        if config.listen == (Listen { trusted_proxies: config.listen.trusted_proxies.clone(), ..Listen::any_port() }) {
            config.listen = Listen { trusted_proxies: config.listen.trusted_proxies, ..Listen::default() };
        }
        match serde_json::to_value(&config)? {
            Value::Object(tables) => Ok(Self(tables)),
            _ => Ok(Self(Map::new())),
        }
    }

    /// The changes since the start before, or since the default where there was none. [`Configuration::keep`] must follow when they are
    /// recorded: an end between the two has them recorded again.
    pub(crate) fn changes(&self, keyring: &Keyring, asker: &Asker) -> Result<Vec<Event<String>>, ConfigurationError> {
        let (before, action): (Map<String, Value>, _) = match keyring.named(NAME)? {
            Some(json) => (serde_json::from_slice(&json)?, "update"),
            None => (Self::of(&Config::default())?.0, "create"),
        };
        let mut names: Vec<&String> = before.keys().chain(self.0.keys()).collect();
        names.sort_unstable();
        names.dedup();
        let changed = names.into_iter().filter(|name| before.get(*name) != self.0.get(*name));
        Ok(changed.map(|name| changed_event(action, name, before.get(name), self.0.get(name), asker)).collect())
    }

    /// Remembers it for the next start.
    pub(crate) fn keep(&self, keyring: &Keyring) -> Result<(), ConfigurationError> {
        Ok(keyring.put_named(NAME, &serde_json::to_vec(&self.0)?)?)
    }
}

/// Names of the evaluations that the server's last start was configured to run. None where no server has run.
pub(crate) fn evaluations(keyring: &Keyring) -> Result<Vec<String>, ConfigurationError> {
    let tables = tables(keyring)?;
    let evaluations = tables.get("evaluate").and_then(Value::as_array).into_iter().flatten();
    Ok(evaluations.filter_map(|one| Some(one.get("name")?.as_str()?.to_owned())).collect())
}

/// The canaries that the server's last start was configured with: whoever opens the record without its configuration looks for them, too.
pub(crate) fn canaries(keyring: &Keyring) -> Result<Vec<Canary>, ConfigurationError> {
    let canaries = tables(keyring)?.remove("canary");
    Ok(canaries.map(serde_json::from_value).transpose()?.unwrap_or_default())
}

fn tables(keyring: &Keyring) -> Result<Map<String, Value>, ConfigurationError> {
    Ok(keyring.named(NAME)?.map(|json| serde_json::from_slice(&json)).transpose()?.unwrap_or_default())
}

fn changed_event(action: &str, table: &str, before: Option<&Value>, after: Option<&Value>, asker: &Asker) -> Event<String> {
    let mut event = internal(Kind::Admin, EVENT);
    asker.sign(&mut event);
    event.set(attr::EVENT_ACTION, action);
    event.set(attr::ADMIN_OBJECT, format!("configuration: {table}").as_str());
    event.set(attr::EVENT_OUTCOME, "success");
    for (key, value) in [(attr::ADMIN_BEFORE, before), (attr::ADMIN_AFTER, after)] {
        if let Some(value) = value.filter(|value| !value.is_null()) {
            let text = value.to_string();
            event.set(key, &text[..text.floor_char_boundary(TABLE_BYTES_MAX)]);
        }
    }
    event
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn keyring(dir: &std::path::Path) -> Arc<Keyring> {
        let root = dir.join("root.key");
        keys::create_root_key(&root).unwrap();
        Arc::new(Keyring::open(&dir.join("keys"), keys::read_root_key(&root).unwrap()).unwrap())
    }

    /// Object, before and after of each change; and keeps the configuration.
    fn changes(keyring: &Keyring, toml: &str) -> Vec<[String; 3]> {
        let configuration = Configuration::of(&toml::from_str(toml).unwrap()).unwrap();
        let events = configuration.changes(keyring, &Asker::of_process()).unwrap();
        configuration.keep(keyring).unwrap();
        let text = |event: &Event<String>, key| match event.attributes.get(&key) {
            Some(event::Value::Text(text)) => text.clone(),
            _ => String::new(),
        };
        let keys = || [attr::ADMIN_OBJECT, attr::ADMIN_BEFORE, attr::ADMIN_AFTER];
        events.iter().map(|event| keys().map(|key| text(event, key))).collect()
    }

    #[test]
    fn each_table_that_changes_is_told_once_with_what_it_was_and_is() {
        let dir = tempfile::tempdir().unwrap();
        let keyring = keyring(dir.path());
        assert!(changes(&keyring, "").is_empty(), "the default is no change");
        let [first] = changes(&keyring, "[capture]\nrequire_key = true").try_into().unwrap();
        assert_eq!(first[0], "configuration: capture");
        assert!(first[1].contains("\"require_key\":false") && first[2].contains("\"require_key\":true"), "{first:?}");
        assert!(changes(&keyring, "[capture]\nrequire_key = true").is_empty());
        let [rules, capture] = changes(&keyring, "rules = \"/etc/rules\"")
            .try_into()
            .map(|mut both: [[String; 3]; 2]| {
                both.reverse();
                both
            })
            .unwrap();
        assert_eq!(rules[0], "configuration: rules");
        assert!(rules[1].contains("\"dirs\":[]") && rules[2].contains("\"dirs\":[\"/etc/rules\"]"), "{rules:?}");
        assert_eq!(capture[0], "configuration: capture");
    }

    #[test]
    fn the_evaluations_of_the_last_start_are_known() {
        let dir = tempfile::tempdir().unwrap();
        let keyring = keyring(dir.path());
        assert!(evaluations(&keyring).unwrap().is_empty());
        let one = |name: &str| {
            format!(
                "[[evaluate]]\nname = {name:?}\nset = \"s\"\nendpoint = \"https://m.example/\"\nmodel = \"m\"\nevery = \"6h\"\nbaseline = \"b\"\n"
            )
        };
        let configuration = Configuration::of(&toml::from_str(&(one("a") + &one("b"))).unwrap()).unwrap();
        configuration.keep(&keyring).unwrap();
        assert_eq!(evaluations(&keyring).unwrap(), ["a", "b"]);
    }

    #[test]
    fn ports_of_the_systems_choice_are_no_change() {
        let dir = tempfile::tempdir().unwrap();
        let keyring = keyring(dir.path());
        let config = Config { listen: Listen::any_port(), ..Config::default() };
        assert!(Configuration::of(&config).unwrap().changes(&keyring, &Asker::of_process()).unwrap().is_empty());
    }
}
