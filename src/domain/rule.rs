//! Severity rules: which alerts open which incident, how severe, and what else the incident gets from them.

mod index;

use crate::domain::alert::{Fingerprint, Labels};
use crate::domain::incident::Flapping;
use crate::domain::inhibition::Inhibition;
use crate::domain::interval::Interval;
use crate::domain::matcher::Matcher;
use crate::domain::severity::{Matrix, Severity, SeverityInputs};
use crate::domain::template::{Facts, Template};
use crate::domain::time::{Timestamp, show_span};
use crate::domain::verification::Plan;
use index::Index;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The severity where no rule sets one.
pub const DEFAULT_SEVERITY: Severity = Severity::Sev3;

/// How long after its close an incident of the same key is the same incident, where no rule says otherwise.
pub const DEFAULT_REOPEN_WITHIN: Duration = Duration::from_secs(24 * 3600);

/// The labels that, with `alertname`, make the dedup key where no rule sets one.
const KEY_LABELS: [&str; 4] = ["service", "dataset", "model", "tool"];

/// What becomes of an alert that matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    #[default]
    Open,
    /// Kept, never opens.
    Record,
    /// Counted only.
    Drop,
}

/// Starts that a rule may ask for: each of them is remembered.
pub const STARTS_MAX: u32 = 1000;

/// What a key must have had before its incident opens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OpenWhen {
    #[default]
    AtOnce,
    /// A firing alert at every moment for so long.
    After(Duration),
    /// So many alerts that began within this span. One that began anew counts anew.
    Count { count: u32, within: Duration },
}

/// `at once`, `after 2m`, `at 3 starts within 10m`.
impl fmt::Display for OpenWhen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtOnce => f.write_str("at once"),
            Self::After(span) => write!(f, "after {}", show_span(*span)),
            Self::Count { count, within } => {
                write!(f, "at {count} starts within {}", show_span(*within))
            }
        }
    }
}

/// Where a rule's severity comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum SeverityRule {
    Fixed(Severity),
    /// The value of a label, or of an attribute where the name begins with `@`.
    Map {
        label: String,
        map: BTreeMap<String, Severity>,
        default: Option<Severity>,
    },
    /// Through the `[severity]` matrix.
    Matrix {
        impact: Option<Template>,
        scope: Option<Template>,
        urgency: Option<Template>,
    },
}

/// What a rule sets; what is missing is left to later rules, then to the defaults.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    pub action: Option<Action>,
    pub severity: Option<SeverityRule>,
    pub dedup_key: Option<Template>,
    pub title: Option<Template>,
    pub description: Option<Template>,
    pub team: Option<String>,
    pub escalation_policy: Option<String>,
    pub runbook: Option<Template>,
    pub open: Option<OpenWhen>,
    pub stale_after: Option<Duration>,
    pub flapping: Option<Flapping>,
    pub resolve_after: Option<Duration>,
    pub reopen_within: Option<Duration>,
    pub verification: Option<Plan>,
}

/// One `[[rule]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Unique.
    pub name: String,
    /// All of them must match.
    pub matchers: Vec<Matcher>,
    /// It matches only in one of these; always, where there is none.
    pub active: Vec<Arc<Interval>>,
    /// Adds its settings and lets later rules go on.
    pub continues: bool,
    pub settings: Settings,
}

/// All rules, in order. Of one revision, which names its text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuleSet {
    rules: Vec<Rule>,
    pub matrix: Matrix,
    pub inhibitions: Vec<Inhibition>,
    /// A hash of what the rules were read from.
    pub revision: String,
    index: Index,
    /// Those that rules name, each once.
    intervals: Vec<Arc<Interval>>,
}

/// What the rules say of one alert.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict<'r> {
    Open(Opening<'r>),
    Record {
        rule: &'r str,
    },
    Drop {
        rule: &'r str,
    },
    /// No rule matches.
    Unrouted,
}

/// The settings under which an alert joins or opens an incident.
#[derive(Clone, Debug, PartialEq)]
pub struct Opening<'r> {
    /// The rules that set them, the deciding one last.
    rules: Vec<&'r Rule>,
    matrix: &'r Matrix,
}

impl RuleSet {
    pub fn new(rules: Vec<Rule>, matrix: Matrix, revision: String) -> Self {
        let mut intervals: Vec<Arc<Interval>> = Vec::new();
        for interval in rules.iter().flat_map(|rule| &rule.active) {
            if !intervals.contains(interval) {
                intervals.push(Arc::clone(interval));
            }
        }
        Self {
            index: Index::of(&rules),
            rules,
            matrix,
            inhibitions: Vec::new(),
            revision,
            intervals,
        }
    }

    /// The same, with causes that mute others.
    pub fn inhibiting(self, inhibitions: Vec<Inhibition>) -> Self {
        Self {
            inhibitions,
            ..self
        }
    }

    /// All of them, in order.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// First match decides; what rules that continue set before it stays. Rules that cannot match cost nothing.
    pub fn judge(&self, facts: Facts<'_>, now: Timestamp) -> Verdict<'_> {
        self.judge_among(self.index.candidates(&self.rules, facts), facts, now)
    }

    /// The same by trying every rule.
    pub fn judge_by_all(&self, facts: Facts<'_>, now: Timestamp) -> Verdict<'_> {
        self.judge_among(self.rules.iter(), facts, now)
    }

    fn judge_among<'r>(
        &'r self,
        candidates: impl Iterator<Item = &'r Rule>,
        facts: Facts<'_>,
        now: Timestamp,
    ) -> Verdict<'r> {
        let mut matched: Vec<&Rule> = Vec::new();
        for rule in candidates.filter(|rule| rule.matches(facts) && rule.is_active(now)) {
            matched.push(rule);
            if !rule.continues {
                break;
            }
        }
        self.verdict(matched)
    }

    /// Whether what they say of an alert depends on when it is asked.
    pub fn has_intervals(&self) -> bool {
        !self.intervals.is_empty()
    }

    /// How long an alert counts for what a key waits for, at the most.
    pub fn longest_wait(&self) -> Duration {
        let all = self.rules.iter().map(|rule| match rule.settings.open {
            None | Some(OpenWhen::AtOnce) => Duration::ZERO,
            Some(OpenWhen::After(span)) => span,
            Some(OpenWhen::Count { within, .. }) => within,
        });
        all.max().unwrap_or_default()
    }

    /// What decides alike: the revision, and which of its intervals `now` lies in. An alert that none of the rules opened is judged
    /// again when that has changed.
    pub fn standing(&self, now: Timestamp) -> String {
        let mut standing = self.revision.clone();
        for interval in self.intervals.iter().filter(|it| it.contains(now)) {
            standing.push(' ');
            standing.push_str(&interval.name);
        }
        standing
    }

    /// What one rule says by itself, whatever else matches and whenever; none where there is no such rule.
    pub fn opening_of(&self, rule: &str) -> Option<Opening<'_>> {
        let rule = self.rules.get(self.index.named(rule)?)?;
        Some(Opening {
            rules: vec![rule],
            matrix: &self.matrix,
        })
    }

    fn verdict<'r>(&'r self, matched: Vec<&'r Rule>) -> Verdict<'r> {
        let Some(last) = matched.last() else {
            return Verdict::Unrouted;
        };
        let rule = last.name.as_str();
        let action = matched
            .iter()
            .find_map(|rule| rule.settings.action)
            .unwrap_or_default();
        match action {
            Action::Open => Verdict::Open(Opening {
                rules: matched,
                matrix: &self.matrix,
            }),
            Action::Record => Verdict::Record { rule },
            Action::Drop => Verdict::Drop { rule },
        }
    }
}

impl Rule {
    /// Whether one of its intervals has `now`.
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.active.is_empty() || self.active.iter().any(|interval| interval.contains(now))
    }

    /// Whether its matchers fit, whenever that is.
    pub fn matches(&self, facts: Facts<'_>) -> bool {
        self.matchers
            .iter()
            .all(|matcher| matcher.fits(facts.labels, facts.attributes))
    }
}

/// A key rendered for an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DedupKey {
    pub key: String,
    /// Why it is the fingerprint and not what the template says.
    pub warning: Option<String>,
}

impl<'r> Opening<'r> {
    /// The rule that decided.
    pub fn rule(&self) -> &'r str {
        self.rules
            .last()
            .map(|rule| rule.name.as_str())
            .unwrap_or_default()
    }

    pub fn dedup_key(&self, facts: Facts<'_>, fingerprint: Fingerprint) -> DedupKey {
        let rendered = match self.set(|settings| settings.dedup_key.as_ref()) {
            Some(template) => template.render(facts).map_err(|error| error.message),
            None => Ok(default_key(facts.labels)),
        };
        let fall_back = |why: String| DedupKey {
            key: fingerprint.to_string(),
            warning: Some(format!(
                "the dedup key of rule \"{}\" {why}; the fingerprint is taken",
                self.rule()
            )),
        };
        match rendered {
            Ok(key) if key.trim().is_empty() => fall_back("renders empty".to_owned()),
            Ok(key) => DedupKey { key, warning: None },
            Err(why) => fall_back(format!("does not render ({why})")),
        }
    }

    /// The severity and, where it came through the matrix, what it was derived from.
    pub fn severity(&self, facts: Facts<'_>) -> (Severity, SeverityInputs) {
        match self.set(|settings| settings.severity.as_ref()) {
            None => (DEFAULT_SEVERITY, SeverityInputs::default()),
            Some(SeverityRule::Fixed(severity)) => (*severity, SeverityInputs::default()),
            Some(SeverityRule::Map {
                label,
                map,
                default,
            }) => {
                let value = match label.strip_prefix('@') {
                    Some(attribute) => facts.attributes.get(attribute),
                    None => facts.labels.get(label),
                };
                let mapped = value.and_then(|value| map.get(value)).or(default.as_ref());
                (
                    mapped.copied().unwrap_or(DEFAULT_SEVERITY),
                    SeverityInputs::default(),
                )
            }
            Some(SeverityRule::Matrix {
                impact,
                scope,
                urgency,
            }) => {
                let value = |template: &Option<Template>| {
                    template
                        .as_ref()
                        .and_then(|template| template.render(facts).ok())
                        .filter(|text| !text.is_empty())
                };
                let inputs = SeverityInputs {
                    impact: value(impact),
                    scope: value(scope),
                    urgency: value(urgency),
                };
                (
                    self.matrix.severity(&inputs).unwrap_or(DEFAULT_SEVERITY),
                    inputs,
                )
            }
        }
    }

    /// The rule's title, else what its sender calls the alert where its name is no word for people, else that name and what tells
    /// it from others of that name.
    pub fn title(&self, facts: Facts<'_>) -> String {
        self.rendered(facts, |settings| settings.title.as_ref())
            .unwrap_or_else(|| default_title(facts))
    }

    /// The rule's description, else the alert's annotations, else its labels.
    pub fn description(&self, facts: Facts<'_>) -> String {
        let annotated = || {
            ["description", "summary", "message"]
                .into_iter()
                .find_map(|name| facts.annotations.get(name))
        };
        self.rendered(facts, |settings| settings.description.as_ref())
            .or_else(|| annotated().map(str::to_owned))
            .unwrap_or_else(|| facts.labels.to_string())
    }

    pub fn runbook(&self, facts: Facts<'_>) -> Option<String> {
        self.rendered(facts, |settings| settings.runbook.as_ref())
            .or_else(|| facts.annotations.get("runbook_url").map(str::to_owned))
    }

    pub fn team(&self) -> Option<&'r str> {
        self.set(|settings| settings.team.as_deref())
    }

    pub fn escalation_policy(&self) -> Option<&'r str> {
        self.set(|settings| settings.escalation_policy.as_deref())
    }

    pub fn open(&self) -> OpenWhen {
        self.set(|settings| settings.open).unwrap_or_default()
    }

    pub fn resolve_after(&self) -> Duration {
        self.set(|settings| settings.resolve_after)
            .unwrap_or_default()
    }

    pub fn reopen_within(&self) -> Duration {
        self.set(|settings| settings.reopen_within)
            .unwrap_or(DEFAULT_REOPEN_WITHIN)
    }

    /// How long an alert may fire without being heard of; none where no rule says.
    pub fn stale_after(&self) -> Option<Duration> {
        self.set(|settings| settings.stale_after)
    }

    /// How often its incidents may change between firing and silent; any number of times where no rule says.
    pub fn flapping(&self) -> Option<Flapping> {
        self.set(|settings| settings.flapping)
    }

    pub fn verification(&self) -> Option<&'r Plan> {
        self.set(|settings| settings.verification.as_ref())
    }

    /// The first of the matched rules that sets something decides it.
    fn set<T>(&self, setting: impl Fn(&'r Settings) -> Option<T>) -> Option<T> {
        self.rules.iter().find_map(|rule| setting(&rule.settings))
    }

    fn rendered(
        &self,
        facts: Facts<'_>,
        setting: impl Fn(&'r Settings) -> Option<&'r Template>,
    ) -> Option<String> {
        self.set(setting)?
            .render(facts)
            .ok()
            .filter(|text| !text.trim().is_empty())
    }
}

fn default_key(labels: &Labels) -> String {
    let name = labels.get("alertname").map(str::to_owned);
    let others = KEY_LABELS
        .into_iter()
        .filter_map(|label| Some(format!("{label}={}", labels.get(label)?)));
    name.into_iter().chain(others).collect::<Vec<_>>().join("/")
}

fn default_title(facts: Facts<'_>) -> String {
    if let Some(title) = facts.attributes.get("title") {
        return title.to_owned();
    }
    let labels = facts.labels;
    let name = labels.get("alertname").unwrap_or("unnamed alert");
    let others: Vec<&str> = KEY_LABELS
        .into_iter()
        .filter_map(|label| labels.get(label))
        .collect();
    if others.is_empty() {
        name.to_owned()
    } else {
        format!("{name}: {}", others.join(", "))
    }
}
