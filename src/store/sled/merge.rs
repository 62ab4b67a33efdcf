//! Runs read as one: their records in one order, a newer run hiding what an older one says of the same key.

use crate::store::engine::Order;
use crate::store::error::Error;
use crate::store::sled::run::Again;
use crate::store::sled::run::Cursor;
use crate::store::sled::run::Run;
use std::cmp::Ordering;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Called with a key, and its value or that it was removed.
pub(super) type EachChange<'a> =
    dyn FnMut(&[u8], Option<&[u8]>) -> Result<ControlFlow<()>, Error> + 'a;

/// Calls `each` for the records with `from <= key < to`, removals too, until it says `Break`. The newest run comes first in `runs`.
pub(super) fn merge(
    runs: &[Arc<Run>],
    from: &[u8],
    to: &[u8],
    order: Order,
    again: Again,
    each: &mut EachChange<'_>,
) -> Result<(), Error> {
    let cursors = runs
        .iter()
        .map(|run| Cursor::new(run, from, to, order, again));
    let mut cursors = cursors.collect::<Result<Vec<_>, _>>()?;
    let mut same = Vec::with_capacity(cursors.len());
    loop {
        cursors.retain(|cursor| cursor.record().is_some());
        gather_first(&cursors, order, &mut same);
        let newest = same.first().and_then(|at| cursors.get(*at));
        let Some((key, value)) = newest.and_then(Cursor::record) else {
            return Ok(());
        };
        if each(key, value)?.is_break() {
            return Ok(());
        }
        for at in &same {
            if let Some(cursor) = cursors.get_mut(*at) {
                cursor.step()?;
            }
        }
    }
}

/// Gathers in `same` the cursors that are at the key that comes first, the newest run's before older ones.
fn gather_first(cursors: &[Cursor], order: Order, same: &mut Vec<usize>) {
    let mut first: Option<&[u8]> = None;
    same.clear();
    for (at, cursor) in cursors.iter().enumerate() {
        let Some((key, _value)) = cursor.record() else {
            continue;
        };
        let comes = match first {
            None => Ordering::Less,
            Some(best) => match order {
                Order::Forward => key.cmp(best),
                Order::Reverse => best.cmp(key),
            },
        };
        match comes {
            Ordering::Less => {
                first = Some(key);
                same.clear();
                same.push(at);
            }
            Ordering::Equal => same.push(at),
            Ordering::Greater => {}
        }
    }
}
