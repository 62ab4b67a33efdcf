//! Why the rules decide as they do of one alert: each rule in order with what it looked at, and the verdict.

use crate::domain::alert::Fingerprint;
use crate::domain::inhibition::Sides;
use crate::domain::matcher::Matcher;
use crate::domain::oncall::{Book, DEFAULT_POLICY};
use crate::domain::rule::{Opening, Rule, RuleSet, Settings, SeverityRule, Verdict};
use crate::domain::severity::SeverityInputs;
use crate::domain::template::Facts;
use crate::domain::time::{Timestamp, show_span};
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// How the rules came to their verdict of one alert.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Explanation {
    /// All rules, in order.
    pub rules: Vec<Tried>,
    pub verdict: Ruling,
    /// What an alert must fit that mutes this one while it fires; whether one does, only the daemon knows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inhibited_by: Vec<String>,
    /// What this one mutes while it fires.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inhibits: Vec<String>,
}

/// One rule, and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = TriedRule)]
pub struct Tried {
    pub rule: String,
    pub outcome: Match,
    /// What it looked at; nothing where it was not tried.
    pub matchers: Vec<Looked>,
    /// The intervals in which it may match; always, where there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub active: Vec<String>,
}

/// What became of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Match {
    /// Matches, and decides.
    Decides,
    /// Matches, adds its settings, and lets later rules go on.
    Continues,
    NoMatch,
    /// Its matchers fit, and it is not active at this time.
    NotActive,
    /// One before it decided.
    NotTried,
}

/// One matcher, and what it was compared with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Looked {
    pub matcher: String,
    /// None where the alert has no such label or attribute.
    #[schema(required = true)]
    pub found: Option<String>,
    pub matches: bool,
}

/// What becomes of the alert.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Ruling {
    Open(Box<Settled>),
    Record { rule: String },
    Drop { rule: String },
    Unrouted,
}

/// The settings of the incident that the alert opens or joins.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Settled {
    /// The rule that decided.
    pub rule: String,
    pub severity: String,
    /// What the severity was derived from, where it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub severity_of: Option<String>,
    pub dedup_key: String,
    /// Why the key is not what its rule says.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub warning: Option<String>,
    pub title: String,
    pub description: String,
    #[schema(required = true)]
    pub runbook: Option<String>,
    #[schema(required = true)]
    pub team: Option<String>,
    pub policy: String,
    /// `at once`, `after 2m`, `at 3 starts within 10m`.
    pub open: String,
    pub resolve_after: String,
    pub reopen_within: String,
    /// Which rule set each of these, or whose the policy is; what is not in here is the default.
    pub set_by: BTreeMap<&'static str, String>,
}

/// What `rules` say of an alert with these facts, and why.
pub fn explain(
    rules: &RuleSet,
    book: &Book,
    facts: Facts<'_>,
    fingerprint: Fingerprint,
    now: Timestamp,
) -> Explanation {
    let mut tried = Vec::with_capacity(rules.rules().len());
    let mut matched: Vec<&Rule> = Vec::new();
    for rule in rules.rules() {
        let is_decided = matched.last().is_some_and(|last| !last.continues);
        let outcome = match is_decided {
            true => Match::NotTried,
            false if !rule.matches(facts) => Match::NoMatch,
            false if !rule.is_active(now) => Match::NotActive,
            false if rule.continues => Match::Continues,
            false => Match::Decides,
        };
        if matches!(outcome, Match::Continues | Match::Decides) {
            matched.push(rule);
        }
        let looked = rule.matchers.iter().map(|matcher| looked(matcher, facts));
        tried.push(Tried {
            rule: rule.name.clone(),
            outcome,
            matchers: match outcome {
                Match::NotTried => Vec::new(),
                Match::Decides | Match::Continues | Match::NoMatch | Match::NotActive => {
                    looked.collect()
                }
            },
            active: rule.active.iter().map(ToString::to_string).collect(),
        });
    }
    let verdict = match rules.judge(facts, now) {
        Verdict::Open(opening) => Ruling::Open(Box::new(settled(
            &opening,
            &matched,
            book,
            facts,
            fingerprint,
        ))),
        Verdict::Record { rule } => Ruling::Record {
            rule: rule.to_owned(),
        },
        Verdict::Drop { rule } => Ruling::Drop {
            rule: rule.to_owned(),
        },
        Verdict::Unrouted => Ruling::Unrouted,
    };
    let sides = Sides {
        labels: facts.labels,
        attributes: facts.attributes,
    };
    let inhibitions = || rules.inhibitions.iter();
    Explanation {
        rules: tried,
        verdict,
        inhibited_by: inhibitions()
            .filter(|of| of.is_effect(sides))
            .map(|of| of.cause_in_words(sides))
            .collect(),
        inhibits: inhibitions()
            .filter(|of| of.is_cause(sides))
            .map(|of| of.effect_in_words(sides))
            .collect(),
    }
}

fn looked(matcher: &Matcher, facts: Facts<'_>) -> Looked {
    let found = match matcher.attribute() {
        Some(attribute) => facts.attributes.get(attribute),
        None => facts.labels.get(matcher.name()),
    };
    Looked {
        matcher: matcher.to_string(),
        found: found.map(str::to_owned),
        matches: matcher.matches(found),
    }
}

fn settled(
    opening: &Opening<'_>,
    matched: &[&Rule],
    book: &Book,
    facts: Facts<'_>,
    fingerprint: Fingerprint,
) -> Settled {
    let (severity, inputs) = opening.severity(facts);
    let key = opening.dedup_key(facts, fingerprint);
    let (named, team) = (opening.escalation_policy(), opening.team());
    let policy = book.policy_for(named, team);
    let mut set_by = set_by(matched);
    if let (None, Some(team)) = (named, team)
        && book
            .teams
            .get(team)
            .is_some_and(|known| known.policy.is_some())
    {
        set_by.insert("policy", format!("team {team}"));
    }
    Settled {
        rule: opening.rule().to_owned(),
        severity: severity.to_string(),
        severity_of: severity_of(matched, facts, &inputs),
        dedup_key: key.key,
        warning: key.warning,
        title: opening.title(facts),
        description: opening.description(facts),
        runbook: opening.runbook(facts),
        team: team.map(str::to_owned),
        policy: policy
            .map_or(DEFAULT_POLICY, |policy| &policy.name)
            .to_owned(),
        open: opening.open().to_string(),
        resolve_after: show_span(opening.resolve_after()),
        reopen_within: show_span(opening.reopen_within()),
        set_by,
    }
}

/// A setting by its key, and whether a rule has it.
type Setting = (&'static str, fn(&Settings) -> bool);

const SETTINGS: [Setting; 11] = [
    ("severity", |settings| settings.severity.is_some()),
    ("dedup_key", |settings| settings.dedup_key.is_some()),
    ("title", |settings| settings.title.is_some()),
    ("description", |settings| settings.description.is_some()),
    ("runbook", |settings| settings.runbook.is_some()),
    ("team", |settings| settings.team.is_some()),
    ("policy", |settings| settings.escalation_policy.is_some()),
    ("open", |settings| settings.open.is_some()),
    ("resolve_after", |settings| settings.resolve_after.is_some()),
    ("reopen_within", |settings| settings.reopen_within.is_some()),
    ("verification", |settings| settings.verification.is_some()),
];

/// Of the rules that matched the first that has a setting decides it.
fn set_by(matched: &[&Rule]) -> BTreeMap<&'static str, String> {
    let decider = |(key, has): &Setting| {
        let rule = matched.iter().find(|rule| has(&rule.settings))?;
        Some((*key, rule.name.clone()))
    };
    SETTINGS.iter().filter_map(decider).collect()
}

/// What the severity was looked up by: `@severity="critical"`, or impact, scope and urgency.
fn severity_of(matched: &[&Rule], facts: Facts<'_>, inputs: &SeverityInputs) -> Option<String> {
    let rule = matched
        .iter()
        .find_map(|rule| rule.settings.severity.as_ref())?;
    match rule {
        SeverityRule::Fixed(_) => None,
        SeverityRule::Map { label, map, .. } => {
            let found = match label.strip_prefix('@') {
                Some(attribute) => facts.attributes.get(attribute),
                None => facts.labels.get(label),
            };
            Some(match found {
                Some(word) if map.contains_key(word) => format!("{label}={word:?}"),
                Some(word) => format!("{label}={word:?}, which is not in its map"),
                None => format!("{label}, which the alert lacks"),
            })
        }
        SeverityRule::Matrix { .. } => {
            let input = |name: &str, text: &Option<String>| {
                text.as_ref().map(|text| format!("{name}={text:?}"))
            };
            let inputs = [
                input("impact", &inputs.impact),
                input("scope", &inputs.scope),
                input("urgency", &inputs.urgency),
            ];
            let inputs: Vec<String> = inputs.into_iter().flatten().collect();
            Some(format!("the matrix by {}", inputs.join(", ")))
        }
    }
}
