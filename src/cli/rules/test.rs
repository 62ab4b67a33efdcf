//! `rules test`: rule tests run against the rules on disk; for people, as JSON, and as `JUnit` has it.

use crate::app::BadFiles;
use crate::app::files::{Files, read, show};
use crate::cli::{Exit, Output, WrongCall, print, print_json};
use crate::clock;
use crate::config::{Config, Environment, RulesFrom};
use crate::domain::finding::Finding;
use crate::domain::heartbeat;
use crate::domain::time::show_span;
use crate::rules::cases::{Case, LoadedCases, Sources, Wanted, files_of, load_files};
use crate::simulate::cases::{Difference, Failed, Found, Instead, run};
use crate::toml_file::why_unreadable;
use anyhow::Context;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Test {
    /// Files of tests [default: tests/*.toml in the rules directory]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Also write what came of it to this file, in the form of `JUnit`
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// One test and what came of it.
struct Done<'c> {
    file: &'c str,
    case: &'c Case,
    failed: Vec<Failed>,
}

impl Test {
    pub(super) fn run(
        self,
        directory: Option<&Path>,
        environment: &Environment,
    ) -> anyhow::Result<Exit> {
        let Files {
            config, current, ..
        } = read(directory, environment, clock::wall()).map_err(BadFiles)?;
        let files = match self.files.is_empty() {
            true => found_files(&config)?,
            false => self.files,
        };
        let LoadedCases { suites, findings } = load_files(&files, &sources(&config));
        if findings.iter().any(Finding::is_error) {
            return Err(BadFiles(show(&findings)).into());
        }
        if self.output == Output::Text {
            for warning in &findings {
                print(&format!("{warning}\n"))?;
            }
        }
        let mut done = Vec::new();
        for suite in &suites {
            if self.output == Output::Text {
                print(&format!("{}\n", suite.file))?;
            }
            for case in &suite.cases {
                let failed = run(case, &current.in_force)
                    .with_context(|| format!("{}: the test could not be run", case.place))?;
                let this = Done {
                    file: &suite.file,
                    case,
                    failed,
                };
                // Each as it ends: a test of weeks takes its time.
                if self.output == Output::Text {
                    print(&this.text())?;
                }
                done.push(this);
            }
        }
        if let Some(file) = &self.junit {
            std::fs::write(file, junit(&done)).map_err(|error| {
                let why = why_unreadable(&error);
                WrongCall(format!("{} cannot be written: {why}", file.display()))
            })?;
        }
        let n_failed = done.iter().filter(|done| !done.failed.is_empty()).count();
        match self.output {
            Output::Text => print(&summary(done.len(), n_failed))?,
            Output::Json => print_json(&json!({
                "tests": done.iter().map(Done::json).collect::<Vec<_>>(),
                "passed": done.len() - n_failed,
                "failed": n_failed,
            }))?,
        }
        Ok(if n_failed == 0 { Exit::Done } else { Exit::No })
    }
}

/// The tests of the rules on disk; that there are none is no success.
fn found_files(config: &Config) -> anyhow::Result<Vec<PathBuf>> {
    let RulesFrom::Directory(rules) = &config.rules else {
        let why = "there is no rules directory, and so no tests; name a file";
        return Err(WrongCall(why.to_owned()).into());
    };
    let files = files_of(rules).map_err(|error| {
        let why = why_unreadable(&error);
        WrongCall(format!("{}/tests cannot be read: {why}", rules.display()))
    })?;
    if files.is_empty() {
        let why = format!("there are no tests at {}/tests/*.toml", rules.display());
        return Err(WrongCall(why).into());
    }
    Ok(files)
}

/// The sources of the configuration, and heartbeats, whose alerts are tested as if they were sent.
fn sources(config: &Config) -> Sources {
    let heartbeats = config.heartbeats.keys();
    let heartbeats = heartbeats.map(|name| (name.clone(), heartbeat::KIND));
    let sources = config.sources.iter();
    let sources = sources.map(|(name, source)| (name.clone(), source.kind.as_str()));
    heartbeats.chain(sources).collect()
}

fn summary(n: usize, n_failed: usize) -> String {
    let tests = if n == 1 { "test" } else { "tests" };
    format!(
        "\n{n} {tests}: {} passed, {n_failed} failed\n",
        n - n_failed
    )
}

impl Done<'_> {
    fn text(&self) -> String {
        let name = self.case.name.replace(char::is_control, "\u{fffd}");
        if self.failed.is_empty() {
            return format!("  ok    {name}\n");
        }
        let mut text = format!("  FAIL  {name}\n");
        for line in self.detail().lines() {
            text.push_str(&format!("        {line}\n"));
        }
        text
    }

    fn detail(&self) -> String {
        let failed: Vec<String> = self.failed.iter().map(Failed::to_string).collect();
        failed.join("\n")
    }

    fn json(&self) -> Value {
        json!({
            "file": self.file,
            "name": self.case.name,
            "place": self.case.place,
            "passed": self.failed.is_empty(),
            "failures": self.failed.iter().map(failure).collect::<Vec<_>>(),
        })
    }
}

fn failure(failed: &Failed) -> Value {
    let mut value = json!({ "place": failed.place, "after": show_span(failed.after) });
    if let Some(value) = value.as_object_mut() {
        for difference in &failed.differences {
            value.insert(difference.what.to_owned(), difference_json(difference));
        }
    }
    value
}

fn difference_json(difference: &Difference) -> Value {
    let found = |found: &Found| -> Value {
        let pairs = found.0.iter();
        let pairs = pairs.map(|(key, text)| ((*key).to_owned(), json!(text)));
        Value::Object(pairs.collect::<Map<_, _>>())
    };
    let instead = |instead: &Instead| json!({ "key": instead.key, "expected": instead.expected, "found": instead.found });
    let pair = |(key, text): &(&'static str, String)| ((*key).to_owned(), json!(text));
    let missing = |(wanted, differs): &(Wanted, Vec<Instead>)| {
        json!({
            "expected": Value::Object(wanted.0.iter().map(pair).collect()),
            "differs": differs.iter().map(instead).collect::<Vec<_>>(),
        })
    };
    json!({
        "missing": difference.missing.iter().map(missing).collect::<Vec<_>>(),
        "unexpected": difference.unexpected.iter().map(found).collect::<Vec<_>>(),
        "as_expected": difference.both.iter().map(found).collect::<Vec<_>>(),
    })
}

/// A `testsuite` for each file, as what reads the results of CI wants it.
fn junit(done: &[Done<'_>]) -> String {
    let counts = |done: &[Done<'_>]| {
        let failures = done.iter().filter(|done| !done.failed.is_empty()).count();
        format!(
            "tests=\"{}\" failures=\"{failures}\" errors=\"0\"",
            done.len()
        )
    };
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"watchkeeper rules\" {}>\n",
        counts(done)
    );
    for suite in done.chunk_by(|one, next| one.file == next.file) {
        let file = suite.first().map(|done| xml(done.file)).unwrap_or_default();
        line(
            &mut text,
            &format!("  <testsuite name=\"{file}\" {}>", counts(suite)),
        );
        for done in suite {
            let name = xml(&done.case.name);
            let head = format!("    <testcase classname=\"{file}\" name=\"{name}\"");
            match done.failed.first() {
                None => line(&mut text, &format!("{head}/>")),
                Some(first) => {
                    let message = xml(&message(first));
                    line(&mut text, &format!("{head}>"));
                    line(
                        &mut text,
                        &format!(
                            "      <failure message=\"{message}\">{}</failure>",
                            xml(&done.detail())
                        ),
                    );
                    line(&mut text, "    </testcase>");
                }
            }
        }
        line(&mut text, "  </testsuite>");
    }
    text + "</testsuites>\n"
}

fn message(failed: &Failed) -> String {
    let whats: Vec<&str> = failed.differences.iter().map(|it| it.what).collect();
    let after = show_span(failed.after);
    format!(
        "{}: {} differ {after} after the start",
        failed.place,
        whats.join(" and ")
    )
}

fn line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

/// The text as it may stand in an attribute or between tags; what XML cannot hold is replaced.
fn xml(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push_str("&#10;"),
            '\t' => escaped.push_str("&#9;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}
