//! What only dbt's manifest knows of a test or a model: how severe, whose, of what. It is read whole or reduced, so far as it can be: what is
//! wrong in it is noted, and costs no result.

use super::super::json::{self, Bad, Field};
use super::super::{Notes, cut};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

const SECTIONS: [&str; 3] = ["nodes", "sources", "unit_tests"];
const MAX_NODES: usize = 100_000;
const MAX_TAGS: usize = 100;
/// Of each text: many results may name the same node.
const MAX_TEXT_BYTES: usize = 512;

/// Nodes by `unique_id`.
#[derive(Default)]
pub(super) struct Manifest(BTreeMap<String, Node>);

#[derive(Default)]
struct Node {
    severity: Option<String>,
    owner: Option<String>,
    tags: Option<String>,
    attached_to: Option<String>,
    part: Option<String>,
}

/// What is known of one node, if anything.
#[derive(Clone, Copy)]
pub(super) struct Known<'m> {
    node: Option<&'m Node>,
    attached_to: Option<&'m Node>,
}

impl Manifest {
    pub(super) fn node(&self, unique_id: &str) -> Known<'_> {
        let node = self.0.get(unique_id);
        let attached_to = node.and_then(|node| self.0.get(node.attached_to.as_ref()?));
        Known { node, attached_to }
    }

    pub(super) fn read(manifest: &RawValue, notes: &mut Notes) -> Self {
        let mut nodes = BTreeMap::new();
        let mut leniently = Leniently {
            place: "$.manifest".to_owned(),
            notes,
        };
        let sections = json::fields(manifest, SECTIONS).map(Some);
        let sections = leniently.read(sections).into_iter().flatten();
        for (name, section) in SECTIONS.into_iter().zip(sections) {
            leniently.place = "$.manifest".to_owned();
            let pairs = section.read(|value| json::pairs(value, MAX_NODES));
            let Some(pairs) = leniently.read(pairs) else {
                continue;
            };
            if pairs.n_found > MAX_NODES {
                let n = pairs.n_found - MAX_NODES;
                let note = || format!("$.manifest.{name}: the last {n} were left out");
                leniently.notes.add(note);
            }
            for (id, value) in pairs.kept {
                leniently.place = format!("$.manifest.{name}{}", json::segment(&id));
                let node = Node::read(value, &mut leniently);
                nodes.insert(id, leniently.read(node.map(Some)).unwrap_or_default());
            }
        }
        Self(nodes)
    }
}

impl<'m> Known<'m> {
    pub(super) fn severity(self) -> Option<&'m str> {
        self.node?.severity.as_deref()
    }

    /// Who answers for a model answers for its tests, where they say nothing else.
    pub(super) fn owner(self) -> Option<&'m str> {
        let mut nodes = [self.node, self.attached_to].into_iter().flatten();
        nodes.find_map(|node| node.owner.as_deref())
    }

    pub(super) fn tags(self) -> Option<&'m str> {
        self.node?.tags.as_deref()
    }

    /// The model that it tests.
    pub(super) fn attached_to(self) -> Option<&'m str> {
        self.node?.attached_to.as_deref()
    }

    /// The column that it tests.
    pub(super) fn part(self) -> Option<&'m str> {
        self.node?.part.as_deref()
    }
}

impl Node {
    fn read(node: &RawValue, leniently: &mut Leniently<'_>) -> Result<Self, Bad> {
        let [config, meta, tags, attached_to, column] = json::fields(
            node,
            ["config", "meta", "tags", "attached_node", "column_name"],
        )?;
        let configured = config.read(|value| json::fields(value, ["severity", "meta", "tags"]));
        let mut known = match leniently.read(configured) {
            Some(fields) => Self::configured(fields, leniently),
            None => Self::default(),
        };
        // These two moved under `config`; of old they stand beside it.
        known.owner = known.owner.or_else(|| leniently.get(meta, read_owner));
        known.tags = known.tags.or_else(|| leniently.get(tags, read_tags));
        known.attached_to = leniently.text(attached_to);
        known.part = leniently.text(column);
        Ok(known)
    }

    fn configured([severity, meta, tags]: [Field<'_>; 3], leniently: &mut Leniently<'_>) -> Self {
        let n_bytes = leniently.place.len();
        leniently.place.push_str(".config");
        let severity = leniently.text(severity);
        let known = Self {
            // In capitals where nobody has set it, else as somebody wrote it.
            severity: severity.map(|word| word.to_ascii_lowercase()),
            owner: leniently.get(meta, read_owner),
            tags: leniently.get(tags, read_tags),
            ..Self::default()
        };
        leniently.place.truncate(n_bytes);
        known
    }
}

fn read_owner(meta: &RawValue) -> Result<Option<String>, Bad> {
    let [owner] = json::fields(meta, ["owner"])?;
    Ok(owner.text()?.map(|owner| short(&owner)))
}

/// `a,b`: as one text, which a rule can match by a pattern.
fn read_tags(tags: &RawValue) -> Result<Option<String>, Bad> {
    let joined = json::texts(tags, MAX_TAGS)?.join(",");
    Ok((!joined.is_empty()).then(|| short(&joined)))
}

fn short(text: &str) -> String {
    cut(text, MAX_TEXT_BYTES).to_owned()
}

/// Notes what cannot be read at a place, and goes on without it.
struct Leniently<'n> {
    place: String,
    notes: &'n mut Notes,
}

impl Leniently<'_> {
    fn read<T>(&mut self, read: Result<Option<T>, Bad>) -> Option<T> {
        let place = &self.place;
        read.unwrap_or_else(|bad| {
            let note = || format!("{place}{}: left out, {}", bad.path, bad.reason);
            self.notes.add(note);
            None
        })
    }

    fn text(&mut self, field: Field<'_>) -> Option<String> {
        let text = self.read(field.text())?;
        Some(short(&text))
    }

    fn get(
        &mut self,
        field: Field<'_>,
        reader: impl Fn(&RawValue) -> Result<Option<String>, Bad>,
    ) -> Option<String> {
        self.read(field.read(reader)).flatten()
    }
}
