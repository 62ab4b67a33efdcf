//! Where texts lie in a body that are JSON themselves, as the `Message` of Amazon's SNS.

use crate::domain::mapping::path::{Path, Step};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is known of one place and of those below it.
#[derive(Clone, Debug, Default)]
pub struct Nested {
    /// A text here is JSON.
    pub is_json: bool,
    names: BTreeMap<String, Arc<Self>>,
    elements: Option<Arc<Self>>,
}

impl Nested {
    pub fn of(paths: &[Path]) -> Self {
        let mut nested = Self::default();
        for path in paths {
            nested.add(&path.steps);
        }
        nested
    }

    /// What is known of what lies under a name.
    pub fn under(&self, name: &str) -> Option<&Arc<Self>> {
        self.names.get(name)
    }

    /// The same of every element of a list.
    pub fn element(&self) -> Option<&Arc<Self>> {
        self.elements.as_ref()
    }

    fn add(&mut self, steps: &[Step]) {
        let Some((first, rest)) = steps.split_first() else {
            self.is_json = true;
            return;
        };
        let below = match first {
            Step::Name(name) => self.names.entry(name.clone()).or_default(),
            Step::Index(_) | Step::Each => self.elements.get_or_insert_default(),
        };
        Arc::make_mut(below).add(rest);
    }
}
