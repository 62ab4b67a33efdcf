//! Sorted changes laid over a state: what a group changed so far, and what recent groups changed that the state does not hold yet.

use crate::store::engine::Each;
use crate::store::engine::Key;
use crate::store::engine::Order;
use crate::store::engine::Reads;
use crate::store::error::Error;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::collections::btree_map::Range;
use std::fmt;
use std::ops::Bound;
use std::ops::ControlFlow;
use std::sync::Arc;

/// The last value of each key that changed; `None` is a removal.
pub type Changes = BTreeMap<Key, Option<Vec<u8>>>;

/// Bytes of keys and values.
pub fn size_of(changes: &Changes) -> usize {
    let sizes = changes
        .iter()
        .map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len));
    sizes.sum()
}

/// The records of `changes` with `from <= key < to`.
pub(crate) fn range<'a, V>(
    changes: &'a BTreeMap<Key, V>,
    from: &[u8],
    to: &[u8],
) -> Range<'a, Key, V> {
    // A range whose start is after its end panics.
    let to = to.max(from);
    changes.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)))
}

/// `below` with `changes` over it.
pub struct Layered<'a> {
    below: &'a dyn Reads,
    changes: &'a Changes,
}

impl<'a> Layered<'a> {
    pub fn new(below: &'a dyn Reads, changes: &'a Changes) -> Self {
        Self { below, changes }
    }

    /// As [`Reads::get`], for as long as what is layered.
    pub fn find(&self, key: &[u8]) -> Result<Option<Cow<'a, [u8]>>, Error> {
        match self.changes.get(key) {
            Some(changed) => Ok(changed.as_deref().map(Cow::Borrowed)),
            None => self.below.get(key),
        }
    }
}

impl fmt::Debug for Layered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layered")
            .field("changes", &self.changes.len())
            .finish_non_exhaustive()
    }
}

impl Reads for Layered<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Cow<'_, [u8]>>, Error> {
        self.find(key)
    }

    fn scan(&self, from: &[u8], to: &[u8], order: Order, each: &mut Each<'_>) -> Result<(), Error> {
        let changed = range(self.changes, from, to);
        match order {
            Order::Forward => merge(self.below, from, to, order, changed, each),
            Order::Reverse => merge(self.below, from, to, order, changed.rev(), each),
        }
    }
}

/// Calls `each` for the records below and those changed, in one order; a changed one hides the one below.
fn merge<'c>(
    below: &dyn Reads,
    from: &[u8],
    to: &[u8],
    order: Order,
    changed: impl Iterator<Item = (&'c Key, &'c Option<Vec<u8>>)>,
    each: &mut Each<'_>,
) -> Result<(), Error> {
    let mut changed = changed.peekable();
    let mut flow = ControlFlow::Continue(());
    let before = |a: &[u8], b: &[u8]| match order {
        Order::Forward => a < b,
        Order::Reverse => a > b,
    };
    below.scan(from, to, order, &mut |key, value| {
        while let Some((own, new)) = changed.next_if(|(own, _)| before(own, key)) {
            flow = emit(own, new.as_deref(), each)?;
            if flow.is_break() {
                return Ok(flow);
            }
        }
        flow = match changed.next_if(|(own, _)| own.as_slice() == key) {
            Some((own, new)) => emit(own, new.as_deref(), each)?,
            None => each(key, value)?,
        };
        Ok(flow)
    })?;
    for (own, new) in changed {
        if flow.is_break() {
            return Ok(());
        }
        flow = emit(own, new.as_deref(), each)?;
    }
    Ok(())
}

fn emit(key: &[u8], value: Option<&[u8]>, each: &mut Each<'_>) -> Result<ControlFlow<()>, Error> {
    match value {
        Some(value) => each(key, value),
        None => Ok(ControlFlow::Continue(())),
    }
}

/// What the groups up to `last` changed, with later ones over earlier ones.
#[derive(Clone, Debug)]
pub struct Layer {
    pub last: u64,
    pub bytes: usize,
    pub changes: Arc<Changes>,
}

/// Changes of recent groups, oldest first; newer layers hide older ones.
#[derive(Clone, Debug, Default)]
pub struct Overlay {
    layers: Vec<Layer>,
}

impl Overlay {
    /// Lays a group over the others: into the newest layer where nobody looks at that, else over it. Layers of like size become one, so
    /// that a read asks few of them; the first `frozen` are left alone.
    pub fn push(&mut self, last: u64, changes: Changes, frozen: usize) {
        if self.layers.len() > frozen
            && let Some(newest) = self.layers.last_mut()
            && let Some(own) = Arc::get_mut(&mut newest.changes)
        {
            newest.bytes = add_to(own, newest.bytes, changes);
            newest.last = last;
            return;
        }
        let bytes = size_of(&changes);
        let mut top = Layer {
            last,
            bytes,
            changes: Arc::new(changes),
        };
        while self.layers.len() > frozen {
            match self.layers.pop_if(|under| under.bytes <= top.bytes) {
                Some(under) => top = over(under, top),
                None => break,
            }
        }
        self.layers.push(top);
    }

    /// Drops the layers up to `last`: the state holds them.
    pub fn applied(&mut self, last: u64) {
        self.layers.retain(|layer| layer.last > last);
    }

    /// The layers, oldest first.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The bytes of keys and values of all layers.
    pub fn bytes(&self) -> usize {
        self.layers.iter().map(|layer| layer.bytes).sum()
    }

    /// `below` with all layers over it.
    pub fn over<'a>(&'a self, below: &'a dyn Reads) -> Stack<'a> {
        Stack {
            below,
            layers: &self.layers,
        }
    }
}

/// `under` with `top` over it.
fn over(under: Layer, top: Layer) -> Layer {
    let mut changes = under.changes;
    let newer = Arc::unwrap_or_clone(top.changes);
    let bytes = add_to(Arc::make_mut(&mut changes), under.bytes, newer);
    Layer {
        last: top.last,
        bytes,
        changes,
    }
}

/// Puts `newer` over changes of so many bytes, and returns how many they are then.
fn add_to(changes: &mut Changes, mut bytes: usize, newer: Changes) -> usize {
    let size = |value: &Option<Vec<u8>>| value.as_ref().map_or(0, Vec::len);
    for (key, value) in newer {
        bytes += key.len() + size(&value);
        match changes.entry(key) {
            Entry::Occupied(mut before) => {
                bytes -= before.key().len() + size(before.get());
                before.insert(value);
            }
            Entry::Vacant(new) => {
                new.insert(value);
            }
        }
    }
    bytes
}

/// A state under layers.
pub struct Stack<'a> {
    below: &'a dyn Reads,
    layers: &'a [Layer],
}

impl fmt::Debug for Stack<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stack")
            .field("layers", &self.layers.len())
            .finish_non_exhaustive()
    }
}

impl<'a> Stack<'a> {
    /// As [`Reads::get`], for as long as what is stacked.
    pub fn find(&self, key: &[u8]) -> Result<Option<Cow<'a, [u8]>>, Error> {
        let changed = self
            .layers
            .iter()
            .rev()
            .find_map(|layer| layer.changes.get(key));
        match changed {
            Some(changed) => Ok(changed.as_deref().map(Cow::Borrowed)),
            None => self.below.get(key),
        }
    }
}

impl Reads for Stack<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Cow<'_, [u8]>>, Error> {
        self.find(key)
    }

    fn scan(&self, from: &[u8], to: &[u8], order: Order, each: &mut Each<'_>) -> Result<(), Error> {
        let Some((newest, layers)) = self.layers.split_last() else {
            return self.below.scan(from, to, order, each);
        };
        let below = self.below;
        Layered::new(&Stack { below, layers }, &newest.changes).scan(from, to, order, each)
    }
}
