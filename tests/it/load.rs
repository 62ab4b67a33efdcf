//! Load on a daemon that will be cut off at any moment, a ledger of what was sent and of what was acknowledged, and the
//! look, after the restart, whether all of it is there: once.

use crate::chance::Chance;
use crate::daemon::{Daemon, Receiver, answer, eventually, lock};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinSet;

/// Connections that post at the same time.
pub(crate) const SENDERS: u64 = 6;

/// Alerts and keys that all senders have in common.
const SHARED: u64 = 4;

/// A sender that was refused waits a little.
const AFTER_REFUSAL: Duration = Duration::from_millis(20);

/// One alert of a report.
#[derive(Clone, Debug)]
struct Item {
    key: String,
    /// Identifies it, beside its key.
    instance: String,
    status: &'static str,
}

/// What is known of one alert from what its senders were told.
#[derive(Clone, Debug, Default)]
struct Known {
    key: String,
    /// Sightings that fire: those are counted.
    n_sent: u64,
    n_acknowledged: u64,
    /// What it may be now. More than one where nobody was told.
    statuses: BTreeSet<&'static str>,
}

/// What was sent to one store, and what it acknowledged.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    known: Mutex<BTreeMap<String, Known>>,
    /// Numbers of incidents that were told, with the keys of the reports that they were told for.
    told: Mutex<BTreeMap<u64, BTreeSet<String>>>,
    closed: AtomicBool,
    /// Keys of alerts that are none of the load's.
    ignored: Mutex<BTreeSet<String>>,
}

impl Ledger {
    /// What is acknowledged from now on does not count.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    pub(crate) fn reopen(&self) {
        self.closed.store(false, Ordering::SeqCst);
    }

    /// Alerts of these keys come from somebody else.
    pub(crate) fn ignore(&self, keys: &[&str]) {
        lock(&self.ignored).extend(keys.iter().map(|key| (*key).to_owned()));
    }

    fn sent(&self, report: &[Item]) {
        let mut known = lock(&self.known);
        for item in report {
            let alert = known.entry(item.instance.clone()).or_default();
            alert.key.clone_from(&item.key);
            alert.n_sent += u64::from(item.status == "firing");
            alert.statuses.insert(item.status);
        }
    }

    fn acknowledged(&self, report: &[Item], answer: &Value) {
        assert_eq!(answer["accepted"], report.len(), "{answer}");
        if self.closed.load(Ordering::SeqCst) {
            return;
        }
        let mut known = lock(&self.known);
        for item in report {
            let alert = known.get_mut(&item.instance).expect("it was sent");
            alert.n_acknowledged += u64::from(item.status == "firing");
            alert.statuses = BTreeSet::from([item.status]);
        }
        let keys: BTreeSet<String> = report.iter().map(|item| item.key.clone()).collect();
        let mut told = lock(&self.told);
        for list in ["opened", "joined"] {
            for number in answer[list].as_array().expect("a list of numbers") {
                let number = number.as_u64().expect("a number");
                // It is of one of these keys, each time that it is told.
                let before = told.entry(number).or_insert_with(|| keys.clone());
                before.retain(|key| keys.contains(key));
                assert!(!before.is_empty(), "incident {number} has two keys");
            }
        }
    }

    pub(crate) fn n_acknowledged(&self) -> u64 {
        let known = lock(&self.known);
        known.values().map(|alert| alert.n_acknowledged).sum()
    }

    /// Everything that was acknowledged is there, nothing is there twice, and nothing that was never sent.
    pub(crate) async fn check(&self, daemon: &Daemon) {
        let keys = self.check_incidents(&daemon.list("incidents").await);
        let known = lock(&self.known).clone();
        let mut missing: BTreeMap<&str, &Known> =
            known.iter().map(|(name, alert)| (&**name, alert)).collect();
        for found in daemon.list("alerts").await {
            let key = found["labels"]["alertname"].as_str().unwrap_or_default();
            if lock(&self.ignored).contains(key) {
                continue;
            }
            let name = found["labels"]["instance"].as_str().expect("ours have one");
            let Some(alert) = missing.remove(name) else {
                panic!("it was never sent, or is there twice: {found}");
            };
            let received = found["received"].as_u64().expect("a number");
            assert!(
                (alert.n_acknowledged..=alert.n_sent).contains(&received),
                "{alert:?} was counted as {found}"
            );
            let status = found["status"].as_str().expect("a status");
            assert!(alert.statuses.contains(status), "{alert:?} is {found}");
            // One that was resolved before it was heard of belongs to none.
            if let Some(number) = found["incident"].as_u64() {
                assert_eq!(keys.get(&number), Some(&alert.key), "{alert:?} is {found}");
            }
        }
        missing.retain(|_, alert| alert.n_acknowledged > 0);
        assert!(missing.is_empty(), "acknowledged and lost: {missing:?}");
    }

    /// The key of each incident: no key has two.
    fn check_incidents(&self, incidents: &[Value]) -> BTreeMap<u64, String> {
        let mut keys = BTreeMap::new();
        for incident in incidents {
            let key = incident["dedup_key"].as_str().expect("ours have one");
            keys.insert(
                incident["number"].as_u64().expect("a number"),
                key.to_owned(),
            );
        }
        let distinct: BTreeSet<&String> = keys.values().collect();
        assert_eq!(
            distinct.len(),
            incidents.len(),
            "a key has two incidents: {keys:?}"
        );
        for (number, told) in &*lock(&self.told) {
            let key = keys
                .get(number)
                .expect("an incident that was told is there");
            assert!(
                told.contains(key),
                "incident {number} is of {told:?}, found {key}"
            );
        }
        keys
    }
}

/// Every page that was written down arrives, always under its own id; each incident calls once, and once more each time that
/// it fires again.
pub(crate) async fn check_pages(daemon: &Daemon, receiver: &Receiver) {
    let mut listed = BTreeMap::new();
    for incident in daemon.list("incidents").await {
        let number = &incident["number"];
        let pages = eventually("its pages have ended", async || {
            let (_, pages) = daemon
                .get(&format!("/api/v1/incidents/{number}/pages"))
                .await;
            let pages = pages["pages"].as_array().expect("a list of pages").clone();
            let ended =
                |page: &Value| matches!(page["state"].as_str(), Some("delivered" | "dropped"));
            pages.iter().all(ended).then_some(pages)
        })
        .await;
        // When it becomes clear, what is under way is dropped and those who were called are told. Fires it again after
        // that, they are called again.
        let n_dropped = n_of(&pages, |page| !page["dropped_because"].is_null());
        let n_told = n_of(&pages, |page| page["kind"] == "update");
        let n_called = n_of(&pages, |page| page["kind"] == "page") - n_dropped;
        let at_least = usize::from(incident["clear_since"].is_null());
        let wanted = at_least..=1 + n_told + n_dropped;
        assert!(wanted.contains(&n_called), "incident {number}: {pages:?}");
        for page in pages {
            let id = page["page_id"].as_str().expect("an id").to_owned();
            let of = (page["kind"].clone(), page["incident"].clone());
            let again = listed.insert(id, (of, page["state"] == "delivered"));
            assert!(again.is_none(), "two pages have one id: {page}");
        }
    }
    let mut arrived = BTreeSet::new();
    for got in receiver.got() {
        let id = got.text("/page_id");
        let of = (
            got.body["kind"].clone(),
            got.body["incident"]["number"].clone(),
        );
        let key = got
            .headers
            .get("idempotency-key")
            .and_then(|key| key.to_str().ok());
        assert_eq!(key, Some(id.as_str()), "{got:?}");
        let found = listed.get(&id).map(|(of, _)| of);
        assert_eq!(
            found,
            Some(&of),
            "a page came under an id that is not its own: {got:?}"
        );
        arrived.insert(id);
    }
    for (id, (of, delivered)) in &listed {
        assert!(
            !delivered || arrived.contains(id),
            "{id} of {of:?} was never received"
        );
    }
}

fn n_of(pages: &[Value], is_one: impl Fn(&Value) -> bool) -> usize {
    pages.iter().filter(|page| is_one(page)).count()
}

/// Several senders that post until the daemon is gone.
pub(crate) struct Load(JoinSet<()>);

impl Load {
    pub(crate) fn start(
        daemon: &Daemon,
        round: u64,
        ledger: &Arc<Ledger>,
        chance: &mut Chance,
        refusal: Refusal,
    ) -> Self {
        Self::of(SENDERS, daemon, round, ledger, chance, refusal)
    }

    /// The same with so many senders; what they send is told apart by the round.
    pub(crate) fn of(
        senders: u64,
        daemon: &Daemon,
        round: u64,
        ledger: &Arc<Ledger>,
        chance: &mut Chance,
        refusal: Refusal,
    ) -> Self {
        let mut posting = JoinSet::new();
        for number in 0..senders {
            let sender = Sender {
                name: format!("{round}-{number}"),
                chance: chance.fork(),
                mine: Vec::new(),
                n_made: 0,
            };
            let url = format!("{}/hooks/alertmanager", daemon.url);
            posting.spawn(sender.post(daemon.client().clone(), url, Arc::clone(ledger), refusal));
        }
        Self(posting)
    }

    /// Cuts the senders off: what they wait for they will not hear.
    pub(crate) async fn stop(mut self) {
        self.0.shutdown().await;
    }

    /// Waits until the last sender has noticed.
    pub(crate) async fn ended(self) {
        self.0.join_all().await;
    }
}

/// Whether a 503 may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Never,
    /// It is as if the connection had broken: nothing is known, and the next report is sent.
    Expected,
}

struct Sender {
    name: String,
    chance: Chance,
    /// Alerts of its own that it has sent, by instance and key.
    mine: Vec<(String, String)>,
    n_made: u64,
}

impl Sender {
    async fn post(
        mut self,
        client: reqwest::Client,
        url: String,
        ledger: Arc<Ledger>,
        refusal: Refusal,
    ) {
        loop {
            let report = self.report();
            ledger.sent(&report);
            match answer(client.post(&url).json(&body(&report))).await {
                Some((200, answer)) => ledger.acknowledged(&report, &answer),
                Some((503, _)) if refusal == Refusal::Expected => {
                    tokio::time::sleep(AFTER_REFUSAL).await;
                }
                Some((status, answer)) => panic!("{status} {answer}"),
                None => return,
            }
        }
    }

    /// One alert, or several; none of them twice.
    fn report(&mut self) -> Vec<Item> {
        let n_items = if self.chance.one_in(3) {
            2 + self.chance.below(4)
        } else {
            1
        };
        let items = (0..n_items).map(|_| self.item());
        let items: BTreeMap<String, Item> =
            items.map(|item| (item.instance.clone(), item)).collect();
        items.into_values().collect()
    }

    fn item(&mut self) -> Item {
        let (key, instance, status) = match self.chance.below(10) {
            0..=2 => self.new_one(),
            3..=5 => {
                let n = self.chance.below(SHARED);
                (format!("Shared{n}"), format!("shared{n}"), "firing")
            }
            6 | 7 => self.known("firing"),
            _ => self.known("resolved"),
        };
        Item {
            key,
            instance,
            status,
        }
    }

    fn new_one(&mut self) -> (String, String, &'static str) {
        let instance = format!("{}-{}", self.name, self.n_made);
        self.n_made += 1;
        // A key of its own, one that it had before, or one that all post to.
        let key = match self.chance.below(8) {
            0 => format!("Own{instance}"),
            1 | 2 => format!("Own{}-0", self.name),
            _ => format!("Shared{}", self.chance.below(SHARED)),
        };
        self.mine.push((key.clone(), instance.clone()));
        (key, instance, "firing")
    }

    fn known(&mut self, status: &'static str) -> (String, String, &'static str) {
        match self.chance.pick(&self.mine).cloned() {
            Some((key, instance)) => (key, instance, status),
            None => self.new_one(),
        }
    }
}

fn body(report: &[Item]) -> Value {
    let alerts: Vec<Value> = report
        .iter()
        .map(
            |Item {
                 key,
                 instance,
                 status,
             }| {
                json!({ "status": status, "labels": { "alertname": key, "instance": instance } })
            },
        )
        .collect();
    json!({ "version": "4", "alerts": alerts })
}
