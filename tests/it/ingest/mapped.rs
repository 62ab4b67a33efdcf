//! Any JSON, read by mappings: those that are ready with what their senders send, and the language itself.

use super::{any_pieces, fixture, folder, headers, line, now, pairs};
use proptest::prelude::*;
use std::sync::Arc;
use tempfile::TempDir;
use watchkeeper::config::mappings::{READY, ready};
use watchkeeper::config::{Environment, load};
use watchkeeper::domain::alert::Labels;
use watchkeeper::domain::mapping::Mapping;
use watchkeeper::domain::source::Kind;
use watchkeeper::ingest::{Confirm, Parsed, Post, parse};

/// What was sent, and how.
#[derive(Default)]
struct Sent<'a> {
    headers: &'a [(&'a str, &'a str)],
    query: &'a [(&'a str, &'a str)],
}

fn posted(mapping: &Mapping, body: &[u8], sent: &Sent<'_>) -> Result<Parsed, String> {
    let (headers, query) = (pairs(sent.headers), pairs(sent.query));
    let post = Post {
        headers: &headers,
        query: &query,
        mapping: Some(mapping),
        ..Post::of(body, now())
    };
    parse(Kind::Mapped, &post).map_err(|unusable| unusable.to_string())
}

fn by(mapping: &Mapping, body: &str) -> Parsed {
    posted(mapping, body.as_bytes(), &Sent::default()).expect("a usable body")
}

/// Every line that shows of what was read: an alert, its words, what was rejected, what was noted.
fn shown(parsed: &Parsed) -> Vec<String> {
    let set = |what: &str, labels: &Labels| {
        labels
            .iter()
            .map(|(name, value)| format!("  {what}{name}={value:?}"))
            .collect::<Vec<_>>()
    };
    let mut lines = Vec::new();
    for sighting in &parsed.sightings {
        let severity = sighting.severity.as_deref().unwrap_or("-");
        lines.push(format!("{} severity={severity}", line(sighting)));
        lines.extend(set("", &sighting.annotations));
        lines.extend(set("@", &sighting.attributes));
    }
    let acknowledged = parsed.acknowledged.iter();
    lines.extend(acknowledged.map(|labels| format!("acknowledged {labels}")));
    let rejected = parsed.rejected.iter();
    lines.extend(rejected.map(|item| format!("rejected {}: {}", item.path, item.reason)));
    lines.extend(parsed.notes.iter().map(|note| format!("note {note}")));
    if let Some(Confirm { path, url }) = &parsed.confirm {
        lines.push(format!("confirm {path}: {url}"));
    }
    lines
}

fn ready_shows(mapping: &str, name: &str) -> Vec<String> {
    let mapping = ready(mapping).expect("it is ready");
    let read = posted(&mapping, &fixture(name), &Sent::default());
    shown(&read.expect("a usable body"))
}

/// The mapping `own` of these lines.
fn own(text: &str) -> Arc<Mapping> {
    let directory = TempDir::new().expect("a temporary directory");
    let source = "[sources.own]\nkind = \"mapped\"\nmapping = \"own\"\n[mappings.own]\n";
    let file = directory.path().join("watchkeeper.toml");
    std::fs::write(file, format!("{source}{text}")).expect("a file");
    let loaded = load(Some(directory.path()), &Environment::default());
    let found: Vec<String> = loaded.findings.iter().map(ToString::to_string).collect();
    assert_eq!(found.join("\n"), "");
    let mut config = loaded.config.expect("no findings");
    let source = config.sources.remove("own").expect("it is configured");
    source.mapping.expect("it has a mapping")
}

fn firsts(mapping: &str, table: &[(&str, &str)]) {
    for (name, expected) in table {
        let found = ready_shows(mapping, &format!("{name}.json"));
        assert_eq!(found.first().map(String::as_str), Some(*expected), "{name}");
    }
}

const DATADOG: &str = "{alertname=\"monitor-1234\", scope=\"host:web-1\", tool=\"datadog\"}";

#[test]
fn a_monitor_of_datadog_fires_and_recovers_as_one_alert() {
    let firing = format!("firing {DATADOG} starts=2026-11-23T08:20:00.000Z ends=- severity=P2");
    assert_eq!(
        ready_shows("datadog", "datadog/triggered.json"),
        [
            firing.as_str(),
            "  description=\"CPU over 90%\"",
            "  query=\"avg(last_5m):avg:system.cpu.user{*} by {host} > 90\"",
            "  summary=\"[Triggered on {host:web-1}] CPU high\"",
            "  @alert_type=\"error\"",
            "  @env=\"prod\"",
            "  @host=\"web-1\"",
            "  @link=\"https://app.datadoghq.com/event/event?id=765\"",
            "  @metric=\"system.cpu.user\"",
            "  @org=\"Acme\"",
            "  @priority=\"P2\"",
            "  @tags=\"env:prod,host:web-1,monitor\"",
            "  @title=\"CPU high\"",
            "  @transition=\"Triggered\"",
        ]
    );
    let resolved = format!("resolved {DATADOG} starts=- ends=2026-11-23T08:20:00.000Z severity=P2");
    firsts(
        "datadog",
        &[
            ("datadog/warn", &firing),
            ("datadog/no_data", &firing),
            ("datadog/renotify", &firing),
            ("datadog/recovered", &resolved),
        ],
    );
}

#[test]
fn what_datadog_did_not_fill_in_is_nothing() {
    let refused = "rejected $.alert_transition: status: one of No Data, Null, Re-No Data, Re-Triggered, Re-Warn, Recovered, \
        Renotify, Triggered, Warn is wanted, found nothing";
    for name in ["default_payload_no_transition", "_template_to_paste"] {
        let found = ready_shows("datadog", &format!("datadog/{name}.json"));
        assert_eq!(found, [refused], "{name}");
    }
    let datadog = ready("datadog").expect("it is ready");
    let body = |rest: &str| format!(r#"{{"alert_transition":"Triggered",{rest}}}"#);
    assert_eq!(
        shown(&by(&datadog, &body(r#""alert_id":"7","alert_scope":"$ALERT_SCOPE","alert_priority":"","alert_type":"error","title":"no prefix"}"#.trim_end_matches('}')))),
        [
            "firing {alertname=\"monitor-7\", tool=\"datadog\"} starts=- ends=- severity=error",
            "  summary=\"no prefix\"",
            "  @alert_type=\"error\"",
            "  @title=\"no prefix\"",
            "  @transition=\"Triggered\"",
        ]
    );
    assert_eq!(
        shown(&by(&datadog, &body(r#""alert_id":"$ALERT_ID""#))),
        ["rejected $: the label \"alertname\" is empty"]
    );
    let none = by(&datadog, r#"{"alert_transition":"Null","alert_id":"7"}"#);
    assert_eq!(none, Parsed::default());
}

#[test]
fn an_issue_of_sentry_fires_by_its_rules_and_is_resolved_by_itself() {
    let issue = "{alertname=\"issue-1117540176\", tool=\"sentry\"}";
    assert_eq!(
        ready_shows("sentry", "sentry/issue_alert_triggered.json"),
        [
            &format!("firing {issue} starts=2019-08-19T21:06:17.677Z ends=- severity=error"),
            "  description=\"?(<anonymous>)\"",
            "  summary=\"ReferenceError: heck is not defined\"",
            "  url=\"https://sentry.io/organizations/test-org/issues/1117540176/events/e4874d664c3540c1a32eab185f12c5ab/\"",
            "  @platform=\"javascript\"",
            "  @project=\"1\"",
            "  @rule=\"Very Important Alert Rule!\"",
            "  @title=\"ReferenceError: heck is not defined\"",
        ]
    );
    let sentry = ready("sentry").expect("it is ready");
    let said = |action: &str, data: &str| {
        let body = format!(
            r#"{{"action":"{action}","data":{data},"installation":{{"uuid":"a8e5"}},"actor":{{}}}}"#
        );
        shown(&by(&sentry, &body))
    };
    let of = r#"{"issue":{"id":"1117540176","title":"t","status":"resolved"}}"#;
    assert_eq!(
        said("resolved", of),
        [format!("resolved {issue} starts=- ends=- severity=-")]
    );
    let nothing: [String; 0] = [];
    for action in ["created", "assigned", "ignored", "archived", "unresolved"] {
        assert_eq!(said(action, of), nothing, "{action}");
    }
    for (action, data) in [
        ("created", r#"{"error":{"event_id":"1"}}"#),
        ("created", r#"{"comment":"adding a comment","issue_id":1}"#),
        ("created", r#"{"installation":{"status":"pending"}}"#),
    ] {
        assert_eq!(said(action, data), nothing, "{data}");
    }
    assert_eq!(
        said("resolved", r#"{"issue":{}}"#),
        ["rejected $: the label \"alertname\" is empty"]
    );
    assert_eq!(
        shown(&by(&sentry, r#"{"action":"critical"}"#)),
        ["rejected $: no case of the mapping \"sentry\" fits"]
    );
}

#[test]
fn a_metric_alert_of_sentry_is_its_incident() {
    let incident = "{alertname=\"metric-alert-7\", incident=\"4\", tool=\"sentry\"}";
    let firing =
        format!("firing {incident} starts=2020-09-13T12:26:40.000Z ends=- severity=critical");
    assert_eq!(
        ready_shows("sentry", "sentry/metric_alert_critical_DERIVED.json"),
        [
            firing.as_str(),
            "  description=\"1000 events in the last 10 minutes\\\\nFilter: level:error\"",
            "  summary=\"Critical: Too many errors\"",
            "  url=\"https://sentry.io/organizations/baz/alerts/1/\"",
            "  @project=\"bar\"",
            "  @query=\"level:error\"",
            "  @rule=\"Too many errors\"",
            "  @title=\"Too many errors\"",
        ]
    );
    firsts(
        "sentry",
        &[(
            "sentry/metric_alert_resolved",
            &format!("resolved {incident} starts=- ends=- severity=resolved"),
        )],
    );
}

const KUMA: &str = "{alertname=\"monitor-7\", tool=\"uptime-kuma\"}";

#[test]
fn a_monitor_of_uptime_kuma_goes_down_and_up() {
    assert_eq!(
        ready_shows("uptime-kuma", "uptime-kuma/down_json.json"),
        [
            &format!("firing {KUMA} starts=2026-11-23T08:20:11.512Z ends=- severity=-"),
            "  description=\"Request failed with status code 503\"",
            "  summary=\"[checkout api] [🔴 Down] Request failed with status code 503\"",
            "  url=\"https://checkout.example/health\"",
            "  @env=\"prod\"",
            "  @monitor=\"checkout api\"",
            "  @tags=\"env=prod\"",
            "  @title=\"checkout api\"",
            "  @type=\"http\"",
        ]
    );
    firsts(
        "uptime-kuma",
        &[(
            "uptime-kuma/up_json",
            &format!("resolved {KUMA} starts=- ends=2026-11-23T08:25:11.498Z severity=-"),
        )],
    );
    let kuma = ready("uptime-kuma").expect("it is ready");
    for status in ["2", "3"] {
        let body = format!(r#"{{"heartbeat":{{"status":{status}}},"monitor":{{"id":7}}}}"#);
        assert_eq!(by(&kuma, &body), Parsed::default());
    }
    let odd = by(&kuma, r#"{"heartbeat":{"status":4},"monitor":{"id":7}}"#);
    assert_eq!(
        shown(&odd),
        ["rejected $.heartbeat.status: status: one of 0, 1, 2, 3 is wanted, found \"4\""]
    );
}

#[test]
fn what_uptime_kuma_says_without_a_monitor_is_a_test_or_an_expiry() {
    let test = ready_shows("uptime-kuma", "uptime-kuma/test_null_monitor.json");
    assert_eq!(
        test,
        ["note Uptime Kuma sent a test: My Webhook Alert (1) Testing"]
    );
    let text = "[checkout api][https://checkout.example/health] Certificate CN";
    assert_eq!(
        ready_shows("uptime-kuma", "uptime-kuma/certificate_null_monitor.json"),
        [
            format!(
                "firing {{alertname=\"expiry\", notice=\"{text}\", tool=\"uptime-kuma\"}} starts=- ends=- severity=warning"
            ),
            format!("  summary=\"{text} will expire in 7 days\""),
            format!("  @title=\"{text} will expire in 7 days\""),
        ]
    );
}

/// The body of a form as it was recorded beside how it was sent.
fn recorded(name: &str) -> serde_json::Value {
    serde_json::from_slice(&fixture(name)).expect("JSON")
}

#[test]
fn uptime_kuma_may_send_a_form_or_an_address() {
    let kuma = ready("uptime-kuma").expect("it is ready");
    let down = format!("firing {KUMA} starts=2026-11-23T08:20:11.512Z ends=- severity=-");
    let form = "uptime-kuma/down_multipart_form.http.json";
    let body = recorded(form)["body_text"]
        .as_str()
        .expect("a text")
        .to_owned();
    let headers = headers(form);
    let post = Post {
        headers: &headers,
        mapping: Some(&kuma),
        ..Post::of(body.as_bytes(), now())
    };
    let of_form = parse(Kind::Mapped, &post).expect("a usable form");
    assert_eq!(shown(&of_form)[0], down);
    let address = recorded("uptime-kuma/down_get_query.http.json")["path"].clone();
    let (_, query) = address
        .as_str()
        .and_then(|path| path.split_once('?'))
        .expect("a query");
    // As the server takes it apart.
    let query: Vec<(String, String)> = reqwest::Url::parse(&format!("http://x/?{query}"))
        .expect("an address")
        .query_pairs()
        .into_owned()
        .collect();
    let post = Post {
        query: &query,
        mapping: Some(&kuma),
        ..Post::of(b"", now())
    };
    let of_address = parse(Kind::Mapped, &post).expect("a usable address");
    assert_eq!(shown(&of_address), shown(&of_form));
}

#[test]
fn two_kumas_are_told_apart_by_their_address() {
    let kuma = ready("uptime-kuma").expect("it is ready");
    let sent = Sent {
        query: &[("instance", "eu")],
        ..Sent::default()
    };
    let read = posted(&kuma, &fixture("uptime-kuma/down_json.json"), &sent).expect("a usable body");
    assert_eq!(
        read.sightings[0].labels.to_string(),
        "{alertname=\"eu-monitor-7\", instance=\"eu\", tool=\"uptime-kuma\"}"
    );
}

#[test]
fn an_alarm_of_cloudwatch_is_the_same_in_an_envelope_and_raw() {
    let alarm = "{account=\"123456789012\", alertname=\"example-cloudwatch-alarm\", region=\"eu-west-2\", tool=\"cloudwatch\"}";
    let firing = format!("firing {alarm} starts=2026-11-23T08:20:51.730Z ends=- severity=-");
    let reason = "Threshold Crossed: 1 out of the last 1 datapoints [15.0 (23/11/26 08:15:00)] was greater than the threshold (10.0) \
        (minimum 1 datapoint for OK -> ALARM transition).";
    let words = [
        firing.clone(),
        format!("  description=\"{reason}\""),
        "  summary=\"5xx on checkout\"".to_owned(),
        "  @arn=\"arn:aws:cloudwatch:eu-west-2:123456789012:alarm:example-cloudwatch-alarm\""
            .to_owned(),
        "  @dimensions=\"TargetGroup=checkout\"".to_owned(),
        "  @metric=\"HTTPCode_Target_5XX_Count\"".to_owned(),
        "  @namespace=\"AWS/ApplicationELB\"".to_owned(),
        "  @previous_state=\"OK\"".to_owned(),
        "  @state=\"ALARM\"".to_owned(),
    ];
    assert_eq!(
        ready_shows("sns", "aws-sns-cloudwatch/raw_message_delivery_alarm.json"),
        words
    );
    let topic = "  @topic=\"arn:aws:sns:eu-west-2:123456789012:watchkeeper\"".to_owned();
    assert_eq!(
        ready_shows("sns", "aws-sns-cloudwatch/notification_alarm.json"),
        [words.as_slice(), &[topic]].concat()
    );
    let resolved = format!("resolved {alarm} starts=- ends=2026-11-23T08:20:51.730Z severity=-");
    firsts(
        "sns",
        &[
            ("aws-sns-cloudwatch/notification_insufficient_data", &firing),
            ("aws-sns-cloudwatch/notification_ok", &resolved),
        ],
    );
}

#[test]
fn what_sns_sends_beside_alarms_is_told() {
    assert_eq!(
        ready_shows("sns", "aws-sns-cloudwatch/subscription_confirmation.json"),
        [
            "confirm $.SubscribeURL: https://sns.eu-west-2.amazonaws.com/?Action=ConfirmSubscription\
            &TopicArn=arn:aws:sns:eu-west-2:123456789012:watchkeeper&Token=2336412f37f…"
        ]
    );
    let sns = ready("sns").expect("it is ready");
    let said = |body: &str| shown(&by(&sns, body));
    assert_eq!(
        said(
            r#"{"Type":"UnsubscribeConfirmation","TopicArn":"arn:t","Message":"You have chosen","SubscribeURL":"https://x"}"#
        ),
        ["note SNS says that the subscription to arn:t was ended"]
    );
    assert_eq!(
        said(r#"{"Type":"SubscriptionConfirmation","Message":"m"}"#),
        ["rejected $.Message.SubscribeURL: an address to confirm is wanted, found nothing"]
    );
    // Whatever else is published is no alarm, and is not lost in silence.
    for (message, path) in [
        ("\"the budget is spent\"", "$.Message"),
        ("\"{\\\"AlarmName\\\": 1\"", "$.Message"),
        ("\"[]\"", ""),
    ] {
        let found = said(&format!(r#"{{"Type":"Notification","Message":{message}}}"#));
        let expected: Vec<String> = match path {
            "" => Vec::new(),
            path => vec![format!(
                "rejected {path}: no case of the mapping \"sns\" fits"
            )],
        };
        assert_eq!(found, expected, "{message}");
    }
    let composite = r#"{"AlarmName":"all","AlarmRule":"ALARM(a)","AWSAccountId":"1","NewStateValue":"ALARM",
        "StateChangeTime":"soon","AlarmArn":"short"}"#;
    assert_eq!(
        said(composite),
        [
            "firing {account=\"1\", alertname=\"all\", tool=\"cloudwatch\"} starts=- ends=- severity=-",
            "  @arn=\"short\"",
            "  @state=\"ALARM\"",
            "note $: starts_at: an RFC 3339 or Unix time is wanted, found \"soon\"; the arrival is taken",
        ]
    );
}

#[test]
fn a_problem_of_zabbix_is_acknowledged_and_recovers() {
    let event = "{alertname=\"trigger-16199\", event=\"48211\", tool=\"zabbix\"}";
    let firing = format!("firing {event} starts=- ends=- severity=high");
    let words = |acknowledged: &str| {
        [
            firing.clone(),
            "  description=\"Current utilization: 97.2 %\"".to_owned(),
            "  summary=\"High CPU utilization (over 90% for 5m)\"".to_owned(),
            format!("  @acknowledged=\"{acknowledged}\""),
            "  @host=\"web-1\"".to_owned(),
            "  @host_ip=\"10.0.0.5\"".to_owned(),
            "  @service=\"checkout\"".to_owned(),
            "  @tags=\"scope=performance,service=checkout\"".to_owned(),
            "  @title=\"High CPU utilization (over 90% for 5m)\"".to_owned(),
            "  @trigger=\"High CPU\"".to_owned(),
            "  @zabbix=\"Zabbix server\"".to_owned(),
        ]
    };
    assert_eq!(ready_shows("zabbix", "zabbix/problem.json"), words("No"));
    let acknowledged = [words("Yes").as_slice(), &[format!("acknowledged {event}")]].concat();
    assert_eq!(
        ready_shows("zabbix", "zabbix/update_ack.json"),
        acknowledged
    );
    firsts(
        "zabbix",
        &[(
            "zabbix/recovery",
            &format!("resolved {event} starts=- ends=- severity=high"),
        )],
    );
    let zabbix = ready("zabbix").expect("it is ready");
    let update = posted(
        &zabbix,
        &fixture("zabbix/update_ack.json"),
        &Sent::default(),
    );
    assert_eq!(update.expect("a usable body").n_accepted(), 1);
    assert_eq!(
        shown(&by(
            &zabbix,
            r#"{"event_value":"1","event_id":"1","trigger_id":"{TRIGGER.ID}","event_name":"*UNKNOWN*"}"#
        )),
        ["rejected $: the label \"alertname\" is empty"]
    );
}

#[test]
fn ready_mappings_have_no_slips() {
    for (name, text) in READY {
        let directory = TempDir::new().expect("a temporary directory");
        let source = format!("[sources.x]\nkind = \"mapped\"\nmapping = \"{name}\"\n{text}");
        std::fs::write(directory.path().join("watchkeeper.toml"), source).expect("a file");
        let loaded = load(Some(directory.path()), &Environment::default());
        let found: Vec<String> = loaded.findings.iter().map(ToString::to_string).collect();
        assert_eq!(found.join("\n"), "", "{name}");
        assert!(ready(name).is_some(), "{name}");
    }
}

// ---- the language ----

const OUR_TOOL: &str = r#"
items = "$.events[*]"
status = { path = "$.state", firing = ["down"], resolved = ["up"] }
labels = { alertname = "{{ item.check }}", service = "{{ body.app }}" }
annotations = { summary = "{{ item.text }}" }
"#;

#[test]
fn the_contract_s_mapping_is_one_alert_per_item() {
    let mapping = own(OUR_TOOL);
    let body = r#"{"app":"shop","events":[{"check":"a","state":"down","text":"t"},{"check":"b","state":"up"},{"check":"c"},{"state":"down"},7]}"#;
    assert_eq!(
        shown(&by(&mapping, body)),
        [
            "firing {alertname=\"a\", service=\"shop\"} starts=- ends=- severity=-",
            "  summary=\"t\"",
            "resolved {alertname=\"b\", service=\"shop\"} starts=- ends=- severity=-",
            "rejected $.events[2].state: status: one of down, up is wanted, found nothing",
            "rejected $.events[3]: the label \"alertname\" is empty",
            "rejected $.events[4].state: status: one of down, up is wanted, found nothing",
        ]
    );
    // What an item lacks is looked for in the body.
    let body =
        r#"{"app":"shop","state":"down","events":[{"check":"a"},{"check":"b","state":"up"}]}"#;
    assert_eq!(
        shown(&by(&mapping, body)),
        [
            "firing {alertname=\"a\", service=\"shop\"} starts=- ends=- severity=-",
            "resolved {alertname=\"b\", service=\"shop\"} starts=- ends=- severity=-",
        ]
    );
    assert_eq!(by(&mapping, r#"{"events":[]}"#), Parsed::default());
    for (body, reason) in [
        ("{}", "$: items are wanted at $.events[*], found none"),
        (
            r#"{"events":null}"#,
            "$: items are wanted at $.events[*], found none",
        ),
        (
            r#"{"events":{"a":1}}"#,
            "$: items are wanted at $.events[*], found none",
        ),
        ("7", "$: items are wanted at $.events[*], found none"),
        ("", "$: the body is empty"),
        (
            "{",
            "$: not JSON: EOF while parsing an object at line 1 column 1",
        ),
    ] {
        let found = posted(&mapping, body.as_bytes(), &Sent::default());
        assert_eq!(found, Err(reason.to_owned()), "{body}");
    }
}

#[test]
fn without_a_mapping_nothing_is_read() {
    let unusable = parse(Kind::Mapped, &Post::of(b"{}", now())).expect_err("no mapping");
    assert_eq!(
        unusable.to_string(),
        "$: this source has no mapping: name one in its [sources.NAME], as mapping = \"…\""
    );
}

/// A mapping of one label by this text, over one body.
fn label(of: &str, body: &str) -> String {
    let mapping = own(&format!("status = \"firing\"\nlabels = {{ l = {of} }}\n"));
    let sent = Sent {
        headers: &[("x-env", "prod")],
        query: &[("team", "a"), ("team", "b")],
    };
    let read = posted(&mapping, body.as_bytes(), &sent).expect("a usable body");
    match (read.sightings.first(), read.rejected.first()) {
        (Some(sighting), None) => sighting.labels.get("l").unwrap_or("-").to_owned(),
        (None, Some(item)) => format!("rejected {}: {}", item.path, item.reason),
        (_, _) => "nothing".to_owned(),
    }
}

#[test]
fn texts_are_made_by_templates_paths_and_maps() {
    let body = r#"{"a":{"b":["x","y",{"c":1.50}],"odd name":true},"n":12345678901234567890,"f":0.1,"e":"","z":null,
        "t":"{\"in\":\"side\"}","u":"\u00e9\n","list":[{"k":"env","v":"prod"},{"k":"team","v":"q"}],"big":1e400}"#;
    let table = [
        ("'{{ item.a.b[0] }}-{{ body.a.b[-2] }}'", "x-y"),
        ("{ path = '$.a.b[2].c' }", "1.50"),
        ("'{{ item.a.b[2].c }}'", "1.5"),
        ("{ path = '$.a[\"odd name\"]' }", "true"),
        ("{ path = '$.a.b[*]' }", "x,y,{\"c\":1.50}"),
        ("{ path = '$.list[*].v' }", "prod,q"),
        (
            "{ path = '$.list' }",
            "[{\"k\":\"env\",\"v\":\"prod\"},{\"k\":\"team\",\"v\":\"q\"}]",
        ),
        (
            "'{{ item.list }}'",
            "[{\"k\":\"env\",\"v\":\"prod\"},{\"k\":\"team\",\"v\":\"q\"}]",
        ),
        (
            "'{% for one in item.list if one.k == \"team\" %}{{ one.v }}{% endfor %}'",
            "q",
        ),
        (
            "'{{ item.n }} {{ item.f }} {{ item.big }}'",
            "12345678901234567890 0.1 1e400",
        ),
        ("{ path = ['$.nothing', '$.z', '$.e', '$.f'] }", "0.1"),
        ("{ path = '$.f', map = { '0.1' = 'low' } }", "low"),
        (
            "{ path = '$.f', map = { 1 = 'low' }, default = 'odd' }",
            "odd",
        ),
        ("{ path = '$.f', map = { 1 = 'low' } }", "0.1"),
        ("{ path = '$.z', default = 7 }", "7"),
        (
            "'{{ headers[\"x-env\"] }}-{{ query.team }}-{{ query.none }}'",
            "prod-b-",
        ),
        ("{ path = 'headers.X-Env' }", "prod"),
        ("{ path = 'query.team' }", "b"),
        ("' {{ item.u }} '", "é"),
        ("'constant'", "constant"),
        ("'{{ item.t }}'", "{\"in\":\"side\"}"),
        ("'{{ item.a.b | length }} {{ item.a | length }}'", "3 2"),
        (
            "'{{ item.nothing.at.all }}{{ item.z }}'",
            "rejected $: every label is empty",
        ),
        ("{ path = '$.t.in' }", "rejected $: every label is empty"),
        ("{ path = '$.a.b[9]' }", "rejected $: every label is empty"),
        (
            "'{{ item.nothing | split(\",\") }}'",
            "rejected $: label \"l\": bad template: value is not a string",
        ),
        (
            "'{% if item.f %}{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}{% endif %}'",
            "rejected $: label \"l\": bad template: engine ran out of fuel",
        ),
    ];
    for (of, expected) in table {
        assert_eq!(label(of, body), expected, "{of}");
    }
}

#[test]
fn a_text_of_json_is_looked_into_where_it_is_said_to_be_one() {
    let mapping = own(r#"
items = "$.records[*].payload"
parse = ["$.records[*].payload", "$.records[*].payload.inner"]
status = { path = "$.s", firing = ["1"] }
labels = { alertname = "{{ item.name }}", deep = "{{ item.inner.x[0] }}" }
"#);
    let inner = serde_json::json!({ "x": ["deep"] }).to_string();
    let payload = serde_json::json!({ "s": 1, "name": "n", "inner": inner }).to_string();
    let body = serde_json::json!({ "records": [
        { "payload": payload },
        { "payload": { "s": "1", "name": "plain", "inner": { "x": [1] } } },
        { "payload": "{\"s\":" },
        { "other": 1 },
    ] });
    assert_eq!(
        shown(&by(&mapping, &body.to_string())),
        [
            "firing {alertname=\"n\", deep=\"deep\"} starts=- ends=- severity=-",
            "firing {alertname=\"plain\", deep=\"1\"} starts=- ends=- severity=-",
            "rejected $.records[2].payload.s: status: one of 1 is wanted, found nothing",
        ]
    );
}

#[test]
fn what_does_not_fit_is_ignored_and_a_case_says_what_the_rest_is() {
    let mapping = own(r#"
items = "$"
when = ['$.env!~"test|staging"', 'query.muted!="yes"']
labels = { tool = "t", alertname = "{{ item.name }}" }
attributes = { shared = "s" }
[[mappings.own.case]]
when = ['$.kind="alarm"']
status = { path = "$.state", firing = [1, true], resolved = ["0", false], otherwise = "ignore" }
attributes = { of = "alarm" }
[[mappings.own.case]]
when = ['$.kind="news"']
ignore = "{{ item.name }} is news"
[[mappings.own.case]]
when = ['$.kind="always"']
status = "resolved"
labels = { alertname = "other", tool = "" }
"#);
    let body = r#"[{"name":"a","kind":"alarm","state":1},{"name":"b","kind":"alarm","state":false},{"name":"c","kind":"alarm","state":2},
        {"name":"d","kind":"alarm","state":1,"env":"test"},{"name":"e","kind":"news"},{"name":"f","kind":"always"},{"name":"g","kind":"x"}]"#;
    assert_eq!(
        shown(&by(&mapping, body)),
        [
            "firing {alertname=\"a\", tool=\"t\"} starts=- ends=- severity=-",
            "  @of=\"alarm\"",
            "  @shared=\"s\"",
            "resolved {alertname=\"b\", tool=\"t\"} starts=- ends=- severity=-",
            "  @of=\"alarm\"",
            "  @shared=\"s\"",
            "resolved {alertname=\"other\"} starts=- ends=- severity=-",
            "  @shared=\"s\"",
            "rejected $[6]: no case of the mapping \"own\" fits",
            "note e is news",
        ]
    );
    let muted = Sent {
        query: &[("muted", "yes")],
        ..Sent::default()
    };
    assert_eq!(
        posted(&mapping, body.as_bytes(), &muted),
        Ok(Parsed::default())
    );
}

#[test]
fn times_are_read_in_any_form_of_which_the_start_is_of_what_fires() {
    let mapping = own(r#"
status = { path = "$.s", firing = [1], resolved = [0] }
labels = { alertname = "a" }
starts_at = "$.at"
ends_at = "{{ item.day }}T{{ item.time }}+01:00"
"#);
    let start = |at: &str| shown(&by(&mapping, &format!(r#"{{"s":1,"at":{at}}}"#)))[0].clone();
    for at in [
        "1795422051.73",
        "\"1795422051730\"",
        "\"2026-11-23T08:20:51.730+0000\"",
        "\"2026-11-23 08:20:51.73\"",
    ] {
        assert_eq!(
            start(at),
            "firing {alertname=\"a\"} starts=2026-11-23T08:20:51.730Z ends=- severity=-"
        );
    }
    for at in ["null", "\"\"", "\"0001-01-01T00:00:00Z\"", "\"soon\"", "[]"] {
        assert_eq!(
            start(at),
            "firing {alertname=\"a\"} starts=- ends=- severity=-"
        );
    }
    assert_eq!(
        shown(&by(
            &mapping,
            r#"{"s":0,"day":"2026-11-23","time":"08:00:00"}"#
        )),
        ["resolved {alertname=\"a\"} starts=- ends=2026-11-23T07:00:00.000Z severity=-"]
    );
}

#[test]
fn what_is_too_long_is_no_identity_and_is_cut_elsewhere() {
    let mapping = own(r#"
status = "firing"
labels = { alertname = "{{ item.name }}", other = { path = "$.other" } }
annotations = { summary = "{{ item.text }}" }
"#);
    let long = "x".repeat(9000);
    let found = by(
        &mapping,
        &format!(
            r#"[{{"name":"{long}"}},{{"name":"a","other":"{long}"}},{{"name":"b","text":"{long}"}}]"#
        ),
    );
    assert_eq!(found.rejected[0].path, "$[0]");
    assert_eq!(
        found.rejected[0].reason,
        "label \"alertname\": at most 8192 bytes are wanted, found 8196"
    );
    assert_eq!(
        found.rejected[1].reason,
        "label \"other\": at most 8192 bytes are wanted, found 9000"
    );
    assert!(found.rejected[0].item.len() < 17_000);
    assert_eq!(
        found.sightings[0].annotations.get("summary").map(str::len),
        Some(8192)
    );
    assert_eq!(
        found.notes,
        ["$[2]: annotations.summary is cut from 8196 bytes to 8192"]
    );
}

// ---- what nobody should send ----

#[test]
fn a_hostile_body_costs_no_more_than_its_size_allows() {
    let mapping = own(r#"
items = "$.items[*]"
status = "firing"
labels = { alertname = "{{ body.name }}{{ item }}" }
[mappings.own.annotations]
every = "{% for one in body.items %}{{ one.a }}{% endfor %}"
looked_for = "{{ body.absent }}{{ body.also_absent }}"
deep = "{{ item.a.a.a.a.a.a.a.a.a.a.a.a }}"
"#);
    let deep = format!(
        "{{\"items\":{}{}}}",
        "[".repeat(1_000_000),
        "]".repeat(1_000_000)
    );
    assert_eq!(
        posted(&mapping, deep.as_bytes(), &Sent::default()),
        Err("$: nested deeper than 128 at line 1 column 137".to_owned())
    );
    let many = format!("{{\"items\":[0{}]}}", ",0".repeat(10_000));
    assert_eq!(
        posted(&mapping, many.as_bytes(), &Sent::default()),
        Err("$: at most 10000 items are wanted, found more".to_owned())
    );
    // An object of a hundred thousand members is looked through for each item, until that is too much.
    let members: String = (0..100_000).map(|n| format!("\"m{n}\":{n},")).collect();
    let wide = format!(
        "{{{members}\"name\":\"n\",\"items\":[{}0]}}",
        "{\"a\":1},".repeat(9_000)
    );
    let read = by(&mapping, &wide);
    assert_eq!(read.sightings.len() + read.rejected.len(), 9_001);
    assert!(
        read.rejected.iter().any(|item| item
            .reason
            .ends_with("reading this takes more work than a body of this size may")),
        "{:?}",
        read.rejected.first()
    );
    assert!(read.notes.len() <= 101);
}

#[test]
fn a_small_body_cannot_say_a_lot_for_each_of_many_items() {
    let mapping = own(r#"
items = "$.items[*]"
status = "firing"
labels = { alertname = "{{ item }}" }
annotations = { a = "{{ body.text }}", b = "{{ body.text }}" }
"#);
    let text = "x".repeat(8000);
    let body = format!(
        "{{\"text\":\"{text}\",\"items\":[{}0]}}",
        "1,".repeat(4_000)
    );
    let read = by(&mapping, &body);
    let n = read.sightings.len();
    assert!(2_000 < n && n < 2_200, "{n}");
    assert_eq!(n + read.rejected.len(), 4_001);
    assert_eq!(
        read.rejected[0].reason,
        "the texts of all items are more than 33554432 bytes; send fewer items at a time"
    );
}

#[test]
fn texts_in_texts_in_texts_end_somewhere() {
    let mapping = own(r#"
parse = ["$", "$.a", "$.a.a", "$.a.a.a", "$.a.a.a.a", "$.a.a.a.a.a", "$.a.a.a.a.a.a"]
status = "firing"
labels = { alertname = "n", found = { path = "$.a.a.a.a.a.a" } }
"#);
    let mut body = "\"end\"".to_owned();
    for _ in 0..6 {
        body = serde_json::json!({ "a": body }).to_string();
    }
    let read = by(&mapping, &body);
    assert_eq!(read.sightings[0].labels.to_string(), "{alertname=\"n\"}");
}

#[test]
fn odd_json_is_read_as_far_as_it_goes() {
    let mapping = own(
        "status = { path = '$.s', firing = ['x'] }\nlabels = { alertname = '{{ item.n }}', v = { path = '$.v' } }\n",
    );
    let one = |body: &str| shown(&by(&mapping, body));
    assert_eq!(
        one(r#"{"s":"no","n":"a","s":"x","v":NaN}"#),
        [
            "firing {alertname=\"a\", v=\"NaN\"} starts=- ends=- severity=-",
            "note NaN or Infinity without quotes, read as text (1 times)",
        ]
    );
    assert_eq!(
        one(r#"{"s":"\ud800","n":"a"}"#),
        ["rejected $.s: status: one of x is wanted, found nothing"]
    );
    assert_eq!(
        one("\u{feff} {\"s\":\"x\",\"n\":\"\\u0000\"}"),
        ["firing {alertname=\"\\0\"} starts=- ends=- severity=-"]
    );
}

proptest! {
    #[test]
    fn spoilt_bodies_get_an_answer_of_every_mapping(
        mut body in any_body(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        pieces in any_pieces(),
        end in any::<prop::sample::Index>(),
    ) {
        for (at, byte) in changes {
            let at = at.index(body.len());
            body[at] = byte;
        }
        let rest = body.split_off(end.index(body.len()));
        let spoilt = [body.as_slice(), &pieces, &rest].concat();
        for (name, _) in READY {
            let mapping = ready(name).expect("it is ready");
            for body in [&body, &rest, &spoilt] {
                drop(posted(&mapping, body, &Sent::default()));
            }
        }
    }
}

/// Bodies that were really sent.
fn any_body() -> impl Strategy<Value = Vec<u8>> {
    let folders = [
        "datadog",
        "sentry",
        "uptime-kuma",
        "aws-sns-cloudwatch",
        "zabbix",
    ];
    let files = folders
        .into_iter()
        .flat_map(|name| std::fs::read_dir(folder(name)).expect("a folder"));
    let bodies: Vec<Vec<u8>> = files
        .map(|file| std::fs::read(file.expect("an entry").path()).expect("a file"))
        .collect();
    prop::sample::select(bodies)
}
