//! Saved searches, and what SQL can be asked of.

use serde::Serialize;
use utoipa::ToSchema;

use crate::triage::SearchView;

/// A search that is kept.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = SavedSearch)]
pub(crate) struct SearchRow {
    /// Its id.
    pub(crate) id: String,
    /// What it is called.
    pub(crate) name: String,
    /// The view of the console that it is of.
    pub(crate) view: SearchView,
    /// Its parameters, as the view has them.
    #[schema(value_type = Object)]
    pub(crate) query: serde_json::Value,
    /// Whether others see it.
    pub(crate) shared: bool,
    /// Who made it: the key's id.
    pub(crate) owner: String,
    /// The key's name.
    pub(crate) owner_name: Option<String>,
    /// When it was made (RFC 3339).
    pub(crate) created: String,
    /// Whether the caller may remove it.
    pub(crate) is_own: bool,
}

/// Saved searches.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct SavedSearches {
    /// The caller's own, and those of others that are shared.
    pub(crate) rows: Vec<SearchRow>,
}

/// What SQL can be asked of.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct QuerySchema {
    /// The views.
    pub(crate) views: Vec<ViewInfo>,
}

/// A view.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct ViewInfo {
    /// Its name.
    pub(crate) name: &'static str,
    /// The requirement that it fills.
    pub(crate) requirement: Option<&'static str>,
    /// What a row is.
    pub(crate) about: &'static str,
    /// Its columns.
    pub(crate) columns: Vec<ColumnInfo>,
}

/// A column.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct ColumnInfo {
    /// Its name.
    pub(crate) name: &'static str,
    /// What it means.
    pub(crate) meaning: &'static str,
}
