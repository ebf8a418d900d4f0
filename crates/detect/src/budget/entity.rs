//! Who a detection is about, as budgets go.

use event::{Client, Identity};

use crate::detection::Detection;
use crate::session::hash;

/// Who a budget is for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entity {
    pub(super) key: u64,
    pub(super) name: String,
    /// Of the detection's identity, what it goes by.
    pub(super) identity: Identity<String>,
    pub(super) session: Option<String>,
}

/// Who a detection is about: the user, else the session, else agent, credential and address together, each of its application; else the
/// application.
#[must_use]
pub fn entity_of(detection: &Detection) -> String {
    Entity::of(detection).name
}

impl Entity {
    pub(super) fn of(detection: &Detection) -> Self {
        let Identity { user, application, agent, credential, client, .. } = &detection.identity;
        let mut identity = Identity { application: application.clone(), ..Identity::default() };
        let mut session = None;
        let who = match (user, &detection.session) {
            (Some(one), _) => {
                identity.user = Some(one.clone());
                vec![("user", one.id.as_str())]
            }
            (None, Some(one)) => {
                session = Some(one.clone());
                vec![("session", one.as_str())]
            }
            (None, None) => {
                // Callers who say neither are told apart by all else that is known of them, so that they do not share one budget.
                let address = client.as_ref().and_then(|client| client.address.clone());
                identity.client = address.map(|address| Client { address: Some(address), user_agent: None });
                (identity.agent, identity.credential) = (agent.clone(), credential.clone());
                let address = client.as_ref().and_then(|client| client.address.as_deref());
                [("agent", agent.as_ref()), ("credential", credential.as_ref())]
                    .into_iter()
                    .filter_map(|(what, one)| Some((what, one?.id.as_str())))
                    .chain(address.map(|address| ("address", address)))
                    .collect()
            }
        };
        // Who is proved has a budget that nobody spends who merely says to be the same.
        let proofs = [application, &identity.user].map(|one| one.as_ref().map_or(0, |one| one.proof as u8));
        let application = application.as_ref().map(|one| one.id.as_str());
        // People and sessions of different applications may have one name.
        let parts = application.map(|id| ("application", id)).into_iter().chain(who.iter().copied());
        let parts = parts.flat_map(|(what, id)| [what.as_bytes(), id.as_bytes()]);
        let key = hash(&parts.chain([&proofs[..]]).collect::<Vec<_>>());
        let named: Vec<String> = who.iter().map(|(what, id)| format!("{what} {id}")).collect();
        let name = match (named.join(", "), application) {
            (who, None) if who.is_empty() => "nobody named".to_owned(),
            (who, Some(application)) if who.is_empty() => format!("application {application}"),
            (who, None) => who,
            (who, Some(application)) => format!("{who} of {application}"),
        };
        Self { key, name, identity, session }
    }
}
