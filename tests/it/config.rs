//! Configuration: what is found wrong and in which words, variables over files, defaults, the shipped files, readiness.

use std::fs;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;
use watchkeeper::app::files::check;
use watchkeeper::config::channels::{Channel, Tls};
use watchkeeper::config::sources::SourceAuth;
use watchkeeper::config::store::Store;
use watchkeeper::config::{Config, Environment, Loaded, RulesFrom, load};
use watchkeeper::domain::finding::Finding;
use watchkeeper::domain::severity::{Profile, Severity, Urgency};
use watchkeeper::domain::signature::{Algorithm, Encoding, Freshness, Piece, WITHIN};
use watchkeeper::domain::source::{Kind, Rate};
use watchkeeper::domain::time::{Timestamp, show_span};

/// A directory with a configuration in it; what is said of it names it `config`.
struct Place {
    root: TempDir,
}

impl Place {
    fn new(files: &[(&str, &str)]) -> Self {
        let root = TempDir::new().expect("a temporary directory");
        for (name, text) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().expect("a file in a directory")).expect("a directory");
            fs::write(path, text).expect("a file");
        }
        Self { root }
    }

    fn load(&self, variables: &[(&str, &str)]) -> Loaded {
        load(
            Some(&self.root.path().join("config")),
            &variables.iter().copied().collect(),
        )
    }

    fn show(&self, findings: &[Finding]) -> String {
        let root = format!("{}/", self.root.path().display());
        let lines: Vec<String> = findings
            .iter()
            .map(|finding| finding.to_string().replace(&root, ""))
            .collect();
        lines.join("\n")
    }
}

const VARIABLES: [(&str, &str); 4] = [
    ("CI_TOKEN", "a-token"),
    ("AM_TOKEN", "another"),
    ("DEPLOY_SECRET", "a-third"),
    ("HOOK_SECRET", "a-fourth"),
];

fn usable(watchkeeper: &str, oncall: &str, variables: &[(&str, &str)]) -> Config {
    let place = Place::new(&[
        ("config/watchkeeper.toml", watchkeeper),
        ("config/oncall.toml", oncall),
    ]);
    let loaded = place.load(variables);
    assert!(loaded.config.is_some(), "{}", place.show(&loaded.findings));
    loaded.config.expect("asserted above")
}

fn now() -> Timestamp {
    "2026-03-02T09:00:00Z".parse().expect("a time")
}

#[test]
fn a_source_may_have_a_rate_and_a_listener_proxies_that_it_trusts() {
    let toml = "[server]\ntrusted_proxies = [\"10.0.0.0/8\", \"2001:db8::1\"]\n\
                [sources.a]\nkind = \"check\"\nrate = { requests = 600, within = \"1m\" }\n\
                [sources.b]\nkind = \"check\"\n";
    let config = usable(toml, "", &[]);
    let rate = Rate {
        requests: 600,
        within: Duration::from_secs(60),
    };
    assert_eq!(config.sources["a"].rate, Some(rate));
    assert_eq!(config.sources["b"].rate, None);
    let proxies = config.server.trusted_proxies.iter();
    let proxies: Vec<String> = proxies
        .map(|network| format!("{}/{}", network.address, network.bits))
        .collect();
    assert_eq!(proxies, ["10.0.0.0/8", "2001:db8::1/128"]);
    assert_eq!(usable("", "", &[]).server.trusted_proxies.len(), 2);
    for (bad, found) in [
        (
            "[sources.a]\nkind = \"check\"\nrate = { requests = 0, within = \"1m\" }\n",
            "an integer from 1 to 1000000 is wanted, found 0",
        ),
        (
            "[sources.a]\nkind = \"check\"\nrate = { requests = 1 }\n",
            "\"within\" is missing",
        ),
        (
            "[server]\ntrusted_proxies = [\"10.0.0.0/33\"]\n",
            "an address or a network such as \"10.0.0.0/8\" is wanted, found \"10.0.0.0/33\"",
        ),
    ] {
        let place = Place::new(&[("config/watchkeeper.toml", bad)]);
        let told = place.show(&place.load(&[]).findings);
        assert!(told.contains(found), "{told}");
    }
}

#[test]
fn every_problem_is_told_with_its_place() {
    crate::blocks::check("config/broken.txt", |block| {
        let files: Vec<(String, &str)> = block
            .parts
            .iter()
            .filter(|(name, _)| name.ends_with(".toml"))
            .map(|(name, text)| (format!("config/{name}"), text.as_str()))
            .collect();
        let files: Vec<(&str, &str)> = files
            .iter()
            .map(|(name, text)| (name.as_str(), *text))
            .collect();
        let variables = block
            .part("environment")
            .lines()
            .filter_map(|line| line.split_once('='));
        let variables: Vec<(&str, &str)> = variables.chain([("CI_TOKEN", "a-token")]).collect();
        let place = Place::new(&files);
        let loaded = place.load(&variables);
        let is_refused = loaded.findings.iter().any(Finding::is_error);
        assert_eq!(loaded.config.is_none(), is_refused, "{}", block.name);
        place.show(&loaded.findings)
    });
}

#[test]
fn no_finding_shows_a_secret() {
    let broken = crate::blocks::read("config/broken.txt");
    for block in broken {
        assert!(
            !block.part("expect").contains("topsecret"),
            "{}",
            block.name
        );
    }
}

#[test]
fn the_contract_s_examples_are_read() {
    let credentials = Place::new(&[("smtp", "mail-password\n")]);
    let password = credentials.root.path().join("smtp").display().to_string();
    let watchkeeper = include_str!("fixtures/config/contract_watchkeeper.toml")
        .replace("/run/credentials/smtp", &password);
    let oncall = include_str!("fixtures/config/contract_oncall.toml");
    let leadership = "\n[policies.leadership]\nsteps = [{ targets = [\"person:cem\"] }]\n";
    let place = Place::new(&[
        ("config/watchkeeper.toml", &watchkeeper),
        ("config/oncall.toml", &format!("{oncall}{leadership}")),
    ]);
    let loaded = place.load(&VARIABLES);
    let found: Vec<String> = loaded
        .findings
        .iter()
        .map(|finding| format!("{} {}: {}", finding.line, finding.level, finding.message))
        .collect();
    assert_eq!(
        found,
        [
            "63 warning: \"triage_within\" is not yet in effect",
            "64 warning: \"update_every\" is not yet in effect",
            "65 warning: \"analysis_within\" is not yet in effect",
            "68 warning: \"prometheus\" is not yet in effect",
            "75 warning: \"limits\" is not yet in effect",
            "81 warning: \"heartbeat\" is not yet in effect",
            "85 warning: \"reviews\" is not yet in effect",
        ]
    );
    let config = loaded.config.expect("only warnings");
    assert_eq!(config.tokens["ci"].secret.expose(), "a-token");
    assert!(
        matches!(&config.sources["prod-alertmanager"].auth[..], [SourceAuth::Bearer(token)] if token.expose() == "another")
    );
    let Channel::Email(mail) = &config.channels["mail"] else {
        panic!("a channel of kind email");
    };
    assert_eq!(
        (
            mail.host.as_str(),
            mail.port,
            mail.implicit_tls,
            mail.user.as_deref(),
            mail.tls
        ),
        ("mail.example", 465, true, Some("user"), Tls::Required)
    );
    assert_eq!(
        mail.password.as_ref().map(|password| password.expose()),
        Some("mail-password")
    );
    assert_eq!(config.matrix.0.len(), 3);
    let sev1 = config.book.processes.of(Severity::Sev1);
    assert_eq!(sev1.leadership.as_deref(), Some("leadership"));
    let ana = &config.book.people["ana"];
    let after: Vec<String> = ana
        .notify
        .iter()
        .map(|contact| show_span(contact.after))
        .collect();
    assert_eq!(
        (after, ana.manager.as_deref()),
        (vec!["0s".to_owned(), "2m".to_owned()], Some("cem"))
    );
    let payments = &config.book.policies["payments"];
    assert_eq!(
        (payments.repeat, payments.acknowledge_timeout_ms),
        (2, Some(1_800_000))
    );
    assert_eq!(
        payments.steps[0].targets[0].to_string(),
        "schedule:payments"
    );
    let layers: Vec<&str> = config.book.schedules["payments"]
        .layers
        .iter()
        .map(|layer| layer.name.as_str())
        .collect();
    assert_eq!(layers, ["weekly", "nights"]);
    assert!(config.book.policies.contains_key("default") && config.book.people.contains_key("log"));
}

#[test]
fn without_any_file_the_defaults_hold() {
    let loaded = load(None, &Environment::default());
    assert_eq!(loaded.findings, []);
    let config = loaded.config.expect("no error");
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:9095");
    assert_eq!(config.server.public_url, "http://127.0.0.1:9095");
    assert_eq!(config.server.max_body_bytes, 8 * 1024 * 1024);
    assert!(matches!(&config.store, Store::Sled(path) if path == Path::new("data")));
    assert_eq!(config.sources.len(), Kind::ALL.len());
    assert!(matches!(
        config.sources["alertmanager"].auth[..],
        [SourceAuth::None]
    ));
    assert!(matches!(config.channels["log"], Channel::Log));
    assert_eq!(config.rules, RulesFrom::BuiltIn);
    let steps = &config.book.policies["default"].steps;
    assert_eq!(steps[0].targets[0].to_string(), "person:log");
    assert_eq!(config.book.people["log"].name, "Log");
    assert_eq!(show_span(config.retention.alerts_for), "90d");
    assert_eq!(show_span(config.retention.changes_for), "90d");
    assert_eq!(config.retention.n_dead_letters, 10_000);
    let processes: Vec<(Profile, Urgency, String)> = Severity::ALL
        .map(|severity| config.book.processes.of(severity))
        .iter()
        .map(|process| {
            (
                process.outputs,
                process.urgency,
                show_span(process.verification.window),
            )
        })
        .collect();
    let expected = [
        (Profile::Full, Urgency::High, "14d"),
        (Profile::Full, Urgency::High, "14d"),
        (Profile::Light, Urgency::High, "7d"),
        (Profile::Light, Urgency::Low, "1d"),
        (Profile::Light, Urgency::None, "1h"),
    ];
    assert_eq!(
        processes,
        expected.map(|(outputs, urgency, window)| (outputs, urgency, window.to_owned()))
    );
}

#[test]
fn a_variable_lies_over_the_file() {
    let watchkeeper = "[server]\nlisten = \"127.0.0.1:1\"\ntimezone = \"UTC\"\n\
        [sources.prod-am]\nkind = \"alertmanager\"\nauth = \"none\"\n";
    let oncall = "[people.ana]\nnotify = [{ channel = \"log\" }]\n[policies.default]\nsteps = [{ targets = [\"person:ana\"] }]\n";
    let config = usable(
        watchkeeper,
        oncall,
        &[
            ("WATCHKEEPER__SERVER__LISTEN", "0.0.0.0:2"),
            ("watchkeeper__server__max_body", "1KiB"),
            ("WATCHKEEPER__BUILTIN_SOURCES", "false"),
            ("WATCHKEEPER__RETENTION__DEAD_LETTERS", "7"),
            (
                "WATCHKEEPER__AUTH__TOKENS__CI__SECRET",
                "{ env = \"CI_TOKEN\" }",
            ),
            ("WATCHKEEPER__AUTH__TOKENS__CI__ROLE", "admin"),
            (
                "WATCHKEEPER__AUTH__TOKENS__N",
                "{ secret = \"12345\", role = \"viewer\" }",
            ),
            ("WATCHKEEPER__SOURCES__PROD_AM__AUTH__BEARER", "98765"),
            ("WATCHKEEPER__POLICIES__DEFAULT__REPEAT", "3"),
            (
                "WATCHKEEPER__PEOPLE__BEN__NOTIFY",
                "[{ channel = \"log\", address = \"b\" }]",
            ),
            ("WATCHKEEPER_URL", "not one of these"),
            ("CI_TOKEN", "a-token"),
        ],
    );
    assert_eq!(config.server.listen.to_string(), "0.0.0.0:2");
    assert_eq!(config.server.max_body_bytes, 1024);
    assert!(!config.builtin_sources);
    assert_eq!(config.retention.n_dead_letters, 7);
    assert_eq!(config.tokens["ci"].secret.expose(), "a-token");
    assert_eq!(config.tokens["ci"].role.as_str(), "admin");
    assert_eq!(config.tokens["n"].secret.expose(), "12345");
    assert_eq!(config.sources.keys().collect::<Vec<_>>(), ["prod-am"]);
    assert!(
        matches!(&config.sources["prod-am"].auth[..], [SourceAuth::Bearer(token)] if token.expose() == "98765")
    );
    assert_eq!(config.book.policies["default"].repeat, 3);
    assert_eq!(config.book.people["ben"].notify[0].address, "b");
}

fn auth_of(name: &str, source: &str) -> Vec<SourceAuth> {
    let config = usable(&format!("[sources.{name}]\n{source}"), "", &[]);
    config.sources[name].auth.clone()
}

#[test]
fn a_source_that_signs_signs_as_its_kind_does_unless_it_says_otherwise() {
    let hmac = |kind: &str, more: &str| {
        let source = format!("kind = \"{kind}\"\nauth = {{ hmac = {{ secret = \"s\"{more} }} }}\n");
        match &auth_of("a", &source)[..] {
            [SourceAuth::Hmac { scheme, .. }] => scheme.clone(),
            other => panic!("{other:?}"),
        }
    };
    let mlflow = hmac("mlflow", "");
    assert_eq!(
        (&*mlflow.header, &*mlflow.prefix),
        ("x-mlflow-signature", "v1,")
    );
    assert_eq!(mlflow.encoding, Encoding::Base64);
    assert_eq!(mlflow.signed.len(), 5);
    let fresh = mlflow.timestamp.expect("a time");
    assert_eq!(
        (&*fresh.header, fresh.within),
        ("x-mlflow-timestamp", WITHIN)
    );
    assert_eq!(hmac("dbt_cloud", "").header, "authorization");
    let github = hmac("change", "");
    assert_eq!(
        (github.header.as_str(), github.prefix.as_str()),
        ("x-hub-signature-256", "sha256=")
    );
    assert_eq!(hmac("grafana", "").signed, [Piece::Body]);
    let own = hmac(
        "grafana",
        ", header = \"X-Sig\", prefix = \"sha512=\", algorithm = \"sha512\", signed = \"{X-Time}:{body}\", \
         timestamp = \"X-Time\", within = \"30s\"",
    );
    assert_eq!((&*own.header, &*own.prefix), ("x-sig", "sha512="));
    assert_eq!(own.algorithm, Algorithm::Sha512);
    let time = || "x-time".to_owned();
    assert_eq!(
        own.signed,
        [
            Piece::Header(time()),
            Piece::Text(":".to_owned()),
            Piece::Body
        ]
    );
    let within = Duration::from_secs(30);
    assert_eq!(
        own.timestamp,
        Some(Freshness {
            header: time(),
            within
        })
    );
    let query = auth_of(
        "b",
        "kind = \"check\"\nauth = { query = { value = \"s\" } }\n",
    );
    assert!(matches!(&query[..], [SourceAuth::Query { name, .. }] if name == "token"));
}

#[test]
fn a_signature_that_cannot_be_checked_is_an_error() {
    for (hmac, message) in [
        (
            "secret = \"s\"",
            "\"header\" is missing: the header with the signature",
        ),
        ("header = \"X-Sig\"", "\"secret\" is missing"),
        (
            "secret = \"s\", header = \"X Sig\"",
            "the name of a header is wanted, found \"X Sig\"",
        ),
        (
            "secret = \"s\", header = \"X-Sig\", signed = \"{x-time}\"",
            "\"{body}\" is wanted once, found 0 times",
        ),
        (
            "secret = \"s\", header = \"X-Sig\", encoding = \"b64\"",
            "b64",
        ),
        (
            "secret = \"s\", header = \"X-Sig\", within = \"0s\"",
            "a duration of more than nothing is wanted, found \"0s\"",
        ),
        (
            "secret = \"s\", header = \"X-Sig\", haeder = \"y\"",
            "haeder",
        ),
    ] {
        let source = format!("[sources.a]\nkind = \"check\"\nauth = {{ hmac = {{ {hmac} }} }}\n");
        let place = Place::new(&[("config/watchkeeper.toml", &source)]);
        let found = place.load(&[]).findings;
        assert!(
            found
                .iter()
                .any(|finding| finding.message.contains(message)),
            "{hmac}: {found:?}"
        );
    }
}

#[test]
fn no_secret_is_printed_with_the_configuration() {
    let watchkeeper = "[store]\nurl = \"postgres://wk:topsecret@db/w\"\n[auth.tokens.a]\nsecret = \"topsecret\"\nrole = \"admin\"\n";
    let config = usable(watchkeeper, "", &[]);
    assert!(!format!("{config:?}").contains("topsecret"));
}

#[test]
fn rules_are_beside_a_directory_config_and_within_any_other() {
    let place = Place::new(&[
        ("config/watchkeeper.toml", ""),
        ("rules/a.toml", ""),
        ("wk/rules/a.toml", ""),
    ]);
    let rules = |directory: &str| {
        let loaded = load(
            Some(&place.root.path().join(directory)),
            &Environment::default(),
        );
        loaded.config.expect("no error").rules
    };
    assert_eq!(
        rules("config"),
        RulesFrom::Directory(place.root.path().join("rules"))
    );
    assert_eq!(
        rules("wk"),
        RulesFrom::Directory(place.root.path().join("wk/rules"))
    );
    assert_eq!(rules("rules"), RulesFrom::BuiltIn);
}

#[test]
fn a_directory_or_file_that_cannot_be_read_is_an_error() {
    let place = Place::new(&[("other/watchkeeper.toml/x", "")]);
    let found = |directory: &str| {
        let loaded = load(
            Some(&place.root.path().join(directory)),
            &Environment::default(),
        );
        assert!(loaded.config.is_none());
        place.show(&loaded.findings)
    };
    assert_eq!(found("config"), "config:1:1: error: no such directory");
    assert_eq!(
        found("other"),
        "other/watchkeeper.toml:1:1: error: cannot be read: it is a directory"
    );
}

#[test]
fn the_shipped_configuration_has_no_error() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let findings = check(Some(&root.join("config")), &Environment::default(), now());
    let found: Vec<String> = findings
        .iter()
        .map(|finding| format!("{}: {}", finding.level, finding.message))
        .collect();
    assert_eq!(
        found,
        ["warning: policy \"default\" reaches people by the log only: nobody is woken"]
    );
}

#[test]
fn readiness_names_what_would_reach_nobody() {
    let watchkeeper = "[channels.hook]\nkind = \"webhook\"\nurl = \"http://127.0.0.1/\"\n[channels.chat]\nkind = \"slack\"\n";
    let oncall = r#"[people.ana]
notify = [{ channel = "hook", address = "ana" }]
[people.ben]
[people.cem]
notify = [{ channel = "chat", address = "cem" }]
[schedules.days]
timezone = "Europe/Berlin"
layers = [{ people = ["ana"], rotation = "weekly", start = "2026-01-05T09:00", days = ["mon", "tue", "wed", "thu", "fri"], from = "08:30", to = "18:15" }]
[schedules.always]
layers = [{ people = ["ana"], rotation = "weekly", start = "2026-01-05T09:00" }]
[policies.default]
steps = [
  { targets = ["schedule:days"] },
  { targets = ["person:ben", "person:cem"] },
  { targets = ["schedule:days", "schedule:always"] },
  { targets = ["schedule:days", "person:ana"] },
]
"#;
    let place = Place::new(&[
        ("config/watchkeeper.toml", watchkeeper),
        ("config/oncall.toml", oncall),
    ]);
    let findings = check(
        Some(&place.root.path().join("config")),
        &Environment::default(),
        now(),
    );
    assert_eq!(
        place.show(&findings),
        r#"config/oncall.toml:3:9: warning: "ben" has no contact: no page can reach them
    [people.ben]
            ^^^
config/oncall.toml:4:9: warning: every contact of "cem" is by a channel that is not yet in effect
    [people.cem]
            ^^^
config/oncall.toml:13:3: warning: step 1 of policy "default" pages nobody from 2026-03-02 18:15 Europe/Berlin on: then nobody is on call by "days"
      { targets = ["schedule:days"] },
      ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
config/oncall.toml:14:3: warning: step 2 of policy "default" reaches nobody: none of its people has a contact that works
      { targets = ["person:ben", "person:cem"] },
      ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
config/watchkeeper.toml:5:8: warning: kind "slack" is not yet in effect
    kind = "slack"
           ^^^^^^^"#
    );
}

const SECRETIVE: &str = r#"[store]
url = "postgres://wk:topsecret@db/w"
[auth.tokens.a]
secret = "topsecret"
role = "admin"
[sources.x]
kind = "check"
auth = [{ bearer = "topsecret" }, { header = { name = "X", value = 'topsecret' } }, { basic = { user = "u", password = "topsecret" } }]
[channels.w]
kind = "webhook"
url = "http://127.0.0.1/"
secret = "topsecret"
[channels.m]
kind = "email"
smtp = "smtps://user@mail.example"
password = "topsecret"
from = "a@example.org"
"#;

#[test]
fn wherever_a_file_is_cut_no_secret_is_shown() {
    for at in 0..SECRETIVE.len() {
        for rest in ["", "\ncolour = 1\n", " = \n"] {
            let text: String = SECRETIVE.chars().take(at).chain(rest.chars()).collect();
            let place = Place::new(&[("config/watchkeeper.toml", &text)]);
            let found = place.show(&place.load(&[]).findings);
            assert!(!found.contains("tops"), "{found}");
        }
    }
}

proptest::proptest! {
    #[test]
    fn no_text_stops_the_reader(at in 0usize..5000, removed in 0usize..40, added in ".{0,6}") {
        let mut text = include_str!("fixtures/config/contract_watchkeeper.toml").to_owned();
        let start = text.floor_char_boundary(at);
        let end = text.floor_char_boundary(start + removed).max(start);
        text.replace_range(start..end, &added);
        let place = Place::new(&[("config/watchkeeper.toml", &text), ("config/oncall.toml", &text)]);
        let loaded = place.load(&VARIABLES);
        proptest::prop_assert!(!place.show(&loaded.findings).is_empty());
    }
}
