//! The kinds of entities, and what is looked at of each.

use serde::{Deserialize, Serialize};

use super::insight::Name;

/// A kind of entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum EntityKind {
    User,
    Agent,
    Application,
    Key,
    Tool,
    /// A model, by whatever way it is reached.
    Model,
    /// A model at one provider and one endpoint.
    Route,
}

/// What is counted by the hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    Calls,
    Tokens,
    Errors,
    Refusals,
    Documents,
    Switches,
}

/// All of it.
pub(crate) const COUNTED: [Counted; 6] =
    [Counted::Calls, Counted::Tokens, Counted::Errors, Counted::Refusals, Counted::Documents, Counted::Switches];

/// What is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Used {
    Tools,
    Models,
    Places,
    Subjects,
    Applications,
    Routes,
    Versions,
    SystemPrompts,
}

/// All of it.
pub(crate) const USED: [Used; 8] = [
    Used::Tools,
    Used::Models,
    Used::Places,
    Used::Subjects,
    Used::Applications,
    Used::Routes,
    Used::Versions,
    Used::SystemPrompts,
];

impl Counted {
    /// The least count in an hour that is told, however unusual: what a person notices, and no detector has to.
    pub(crate) const fn least(self) -> f64 {
        match self {
            Self::Calls => 40.0,
            Self::Tokens => 200_000.0,
            Self::Errors => 15.0,
            Self::Refusals => 6.0,
            Self::Documents => 60.0,
            Self::Switches => 6.0,
        }
    }

    /// What is said of an entity of the kind whose count is beyond what is usual. `None`: it is not counted.
    pub(crate) const fn insight(self, kind: EntityKind) -> Option<Name> {
        use EntityKind::{Agent, Key, User};
        match (kind, self) {
            (User, Self::Calls) => Some(Name::UserVolumeSpike),
            (User, Self::Tokens) => Some(Name::UserTokenFlood),
            (User, Self::Errors) => Some(Name::UserErrors),
            (User, Self::Refusals) => Some(Name::UserRefusals),
            (User, Self::Documents) => Some(Name::UserBreadth),
            (User, Self::Switches) => Some(Name::UserShared),
            (Agent, Self::Calls) => Some(Name::AgentVolumeSpike),
            (Agent, Self::Tokens) => Some(Name::AgentTokenFlood),
            (Agent, Self::Errors) => Some(Name::AgentErrors),
            (Key, Self::Calls) => Some(Name::KeyVolumeSpike),
            (Key, Self::Tokens) => Some(Name::KeyTokenFlood),
            _ => None,
        }
    }
}

impl Used {
    /// Whether something new is told only of an entity that seldom has something new: system prompts are made anew for each call,
    /// user or day by many, of whom a new one says nothing.
    pub(crate) const fn is_fixed(self) -> bool {
        matches!(self, Self::SystemPrompts)
    }

    /// What is said of an entity of the kind that uses something new. `None`: it is not looked at.
    pub(crate) const fn insight(self, kind: EntityKind) -> Option<Name> {
        use EntityKind::{Agent, Application, Key, Model, User};
        match (kind, self) {
            (User, Self::Models) => Some(Name::UserNewModel),
            (User, Self::Places) => Some(Name::UserNewPlace),
            (User, Self::Subjects) => Some(Name::UserNewSubject),
            (Agent, Self::Tools) => Some(Name::AgentNewTool),
            (Agent, Self::Models) => Some(Name::AgentNewModel),
            (Agent, Self::Subjects) => Some(Name::AgentNewSubject),
            (Agent, Self::SystemPrompts) => Some(Name::AgentNewSystemPrompt),
            (Application, Self::Models) => Some(Name::ApplicationNewModel),
            (Application, Self::SystemPrompts) => Some(Name::ApplicationNewSystemPrompt),
            (Key, Self::Places) => Some(Name::KeyNewPlace),
            (Key, Self::Applications) => Some(Name::KeyNewApplication),
            (Key, Self::Models) => Some(Name::KeyNewModel),
            (Model, Self::Routes) => Some(Name::ModelNewRoute),
            (Model, Self::Versions) => Some(Name::ModelNewVersion),
            _ => None,
        }
    }
}

impl EntityKind {
    /// Whether it is there all the time, and is missed when it is not.
    pub(crate) const fn is_machine(self) -> bool {
        matches!(self, Self::Agent | Self::Application)
    }

    /// What is said of an entity whose daily calls or tokens creep up.
    pub(crate) const fn ramp(self) -> Option<Name> {
        match self {
            Self::User => Some(Name::UserVolumeRamp),
            Self::Agent => Some(Name::AgentVolumeRamp),
            Self::Key => Some(Name::KeyVolumeRamp),
            _ => None,
        }
    }

    /// What is said of one that is silent and never was.
    pub(crate) const fn silence(self) -> Option<Name> {
        match self {
            Self::Agent => Some(Name::AgentSilent),
            Self::Application => Some(Name::ApplicationSilent),
            _ => None,
        }
    }
}
