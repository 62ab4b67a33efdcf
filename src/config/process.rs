//! `[process.SEVn]`: what each severity asks of people, and the recurrence checks that end it.

use crate::config::names::Names;
use crate::domain::cron_spec::CronSpec;
use crate::domain::escalation::Target;
use crate::domain::severity::{Process, Processes, Profile, Severity, Urgency};
use crate::domain::verification::Plan;
use crate::toml_file::{Section, Value};
use chrono_tz::Tz;
use std::time::Duration;

const OUTPUTS: [(&str, Profile); 2] = [("full", Profile::Full), ("light", Profile::Light)];
const URGENCIES: [(&str, Urgency); 3] = [
    ("high", Urgency::High),
    ("low", Urgency::Low),
    ("none", Urgency::None),
];

const DAILY: &str = "0 9 * * *";
const HOURLY: &str = "0 * * * *";
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

pub(super) fn read(section: Section<'_>, zone: Tz, names: &Names) -> Processes {
    let process = |severity: Severity, key| read_one(severity, section.section(key), zone, names);
    let processes = Processes::new([
        process(Severity::Sev1, "SEV1"),
        process(Severity::Sev2, "SEV2"),
        process(Severity::Sev3, "SEV3"),
        process(Severity::Sev4, "SEV4"),
        process(Severity::Sev5, "SEV5"),
    ]);
    section.done();
    processes
}

/// The process of a severity where nothing is written.
pub(super) fn default_process(severity: Severity, zone: Tz) -> Process {
    let (outputs, urgency, check, window) = match severity {
        Severity::Sev1 | Severity::Sev2 => (Profile::Full, Urgency::High, DAILY, 14 * DAY),
        Severity::Sev3 => (Profile::Light, Urgency::High, DAILY, 7 * DAY),
        Severity::Sev4 => (Profile::Light, Urgency::Low, HOURLY, DAY),
        Severity::Sev5 => (Profile::Light, Urgency::None, HOURLY, HOUR),
    };
    Process {
        outputs,
        urgency,
        leadership: None,
        verification: Plan {
            check: CronSpec::parse(check).expect("a constant that a test reads"),
            zone,
            window,
        },
    }
}

fn read_one(severity: Severity, section: Section<'_>, zone: Tz, names: &Names) -> Process {
    let default = default_process(severity, zone);
    let process = Process {
        outputs: section
            .get("outputs")
            .and_then(|value| value.one_of("outputs", &OUTPUTS))
            .unwrap_or(default.outputs),
        urgency: section
            .get("urgency")
            .and_then(|value| value.one_of("urgency", &URGENCIES))
            .unwrap_or(default.urgency),
        leadership: section
            .get("leadership")
            .and_then(|value| leadership(value, names)),
        verification: plan(section.section("verification"), &default.verification),
    };
    section.not_yet("triage_within");
    section.not_yet("update_every");
    section.not_yet("analysis_within");
    section.done();
    process
}

fn leadership(value: Value<'_>, names: &Names) -> Option<String> {
    match value.parsed::<Target>()? {
        Target::Policy(policy) => names.policy(value, &policy),
        Target::Person(_) | Target::Schedule(_) => {
            value.error("a policy such as \"policy:leadership\" is wanted");
            None
        }
    }
}

fn plan(section: Section<'_>, default: &Plan) -> Plan {
    let plan = Plan {
        check: section
            .get("check")
            .and_then(cron)
            .unwrap_or_else(|| default.check.clone()),
        zone: section
            .get("timezone")
            .and_then(Value::zone)
            .unwrap_or(default.zone),
        window: section
            .get("for")
            .and_then(Value::lasting)
            .unwrap_or(default.window),
    };
    section.done();
    plan
}

fn cron(value: Value<'_>) -> Option<CronSpec> {
    match CronSpec::parse(value.string()?) {
        Ok(spec) => Some(spec),
        Err(error) => {
            value.error(error.to_string());
            None
        }
    }
}
