//! What somebody meant who wrote a name that is not known.

/// `unknown key "severty", did you mean "severity"?`, or the names there are where none is near.
pub fn unknown<'a>(what: &str, found: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    if let Some(meant) = nearest(found, &known) {
        return format!("unknown {what} \"{found}\", did you mean \"{meant}\"?");
    }
    if known.is_empty() {
        return format!("unknown {what} \"{found}\", there is none");
    }
    format!("unknown {what} \"{found}\", known are {}", known.join(", "))
}

/// The known name with the fewest slips, where they are few for its length.
pub fn nearest<'a>(found: &str, known: &[&'a str]) -> Option<&'a str> {
    let allowed = (found.chars().count() / 3).max(1);
    known
        .iter()
        .map(|name| (distance(found, name), *name))
        .filter(|(slips, _)| *slips <= allowed)
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, name)| name)
}

/// Characters to add, drop, change, or swap with the next, until `from` is `to`.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.to_lowercase().chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    let mut last = None;
    for (n, c) in from.to_lowercase().chars().enumerate() {
        let mut next = vec![n + 1];
        for (m, wanted) in to.iter().enumerate() {
            let at = |row: &[usize], m: usize| row.get(m).copied().unwrap_or(usize::MAX / 2);
            let changed = at(&row, m) + usize::from(c != *wanted);
            let mut best = changed.min(at(&row, m + 1) + 1).min(at(&next, m) + 1);
            let previous = m.checked_sub(1);
            if let Some(previous) = previous
                && last == Some(*wanted)
                && to.get(previous) == Some(&c)
            {
                best = best.min(at(&before, previous) + 1);
            }
            next.push(best);
        }
        before = std::mem::replace(&mut row, next);
        last = Some(c);
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_understood() {
        let known = ["severity", "service", "name"];
        assert_eq!(nearest("severty", &known), Some("severity"));
        assert_eq!(nearest("nmae", &known), Some("name"));
        assert_eq!(nearest("Name", &known), Some("name"));
        assert_eq!(nearest("colour", &known), None);
        assert_eq!(distance("ab", "ba"), 1);
        assert_eq!(distance("", "abc"), 3);
    }
}
