//! Rules apart from what they are compiled to.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Problem, RuleError, RuleInfo, RuleSet, bound, load};
use crate::budget::AlertBudget;
use crate::sigma::Sigma;

/// The rules of a set as they were read: what a set is compiled of, and a part of what it takes. For whoever keeps rules, or changes them.
pub struct Uncompiled(RuleSet);

impl RuleSet {
    /// What it is compiled of.
    #[must_use]
    pub fn uncompiled(&self) -> Uncompiled {
        Uncompiled(Self {
            rules: self.rules.clone(),
            sigma: Sigma::empty(),
            problems: self.problems.clone(),
            notes: self.notes.clone(),
            canaries: self.canaries.clone(),
            signs: self.signs.clone(),
            budget: self.budget,
        })
    }

    /// What it was compiled of.
    #[must_use]
    pub fn into_uncompiled(self) -> Uncompiled {
        Uncompiled(Self { sigma: Sigma::empty(), ..self })
    }
}

impl Uncompiled {
    /// The rules, compiled, with empty state.
    ///
    /// # Errors
    /// [`RuleError::Compile`]; rules that were compiled before are again.
    pub fn compile(&self) -> Result<RuleSet, RuleError> {
        let sigma = Sigma::compile(self.0.rules.iter().map(|rule| &rule.parsed)).map_err(RuleError::Compile)?;
        Ok(RuleSet { sigma, ..self.0.uncompiled().0 })
    }

    /// These rules with those of the files of somebody's request, which go before them, and have a bound of their own: none of these is
    /// left out for want of room because of them. `stopping` is asked between rules.
    ///
    /// # Errors
    /// As [`RuleSet::of_request`].
    pub fn with_request(self, files: Vec<(PathBuf, String)>, stopping: &dyn Fn() -> bool) -> Result<RuleSet, RuleError> {
        bound(&files)?;
        let RuleSet { rules, problems, canaries, budget, .. } = self.0;
        let set = load::beside(Arc::unwrap_or_clone(rules), Arc::unwrap_or_clone(problems), files, stopping)?;
        Ok(RuleSet { canaries, budget, ..set })
    }

    /// As [`RuleSet::rules`].
    pub fn rules(&self) -> impl ExactSizeIterator<Item = &RuleInfo> {
        self.0.rules()
    }

    /// As [`RuleSet::problems`].
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        self.0.problems()
    }

    /// As [`RuleSet::notes`].
    #[must_use]
    pub fn notes(&self) -> &[String] {
        self.0.notes()
    }

    /// As [`RuleSet::budget`].
    #[must_use]
    pub fn budget(&self) -> AlertBudget {
        self.0.budget
    }

    /// As [`RuleSet::digest`].
    #[must_use]
    pub fn digest(&self) -> String {
        self.0.digest()
    }
}

impl Clone for Uncompiled {
    fn clone(&self) -> Self {
        self.0.uncompiled()
    }
}
