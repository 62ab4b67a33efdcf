//! Watchkeeper takes an incident from the first alert to a *verified* close.
//!
//! # What comes in, what goes out
//!
//! Senders post reports (`POST /hooks/{source}`); people work on incidents through the API and acknowledge through signed
//! links; operators edit TOML. Out go pages to the people who are on call, and answers. In between stands one record, the
//! journal of the store, and the state that is made from it.
//!
//! # The idea
//!
//! 1. An **incident is the sum of its events**. [`domain::incident::Incident::command`] decides what a command adds,
//!    [`domain::incident::Incident::settle`] what that makes due; both are pure, and replaying a log gives the incident again.
//! 2. Everything the program does to the world is first **written down**, in the same transaction as the event that caused
//!    it: a page stands in the outbox, a check in the due index.
//! 3. One **engine** does what is due: [`engine::Engine::step`] takes the time and says when to be called next. It is told
//!    nothing of what changed; a wake only says "look now", and it looks again periodically anyway.
//! 4. **2xx means flushed to disk.** A page is sent, then recorded as sent, under an id that stays: a crash repeats, never
//!    loses.
//!
//! # The life of one alert
//!
//! 1. [`http::hooks`] reads the body, bounded, and checks the sender's credentials; [`ingest`] makes sightings of it, and
//!    sets aside what it cannot read.
//! 2. [`store::report`] runs as one transaction on the store's writer: each sighting is counted; one that fires anew is
//!    judged by [`domain::rule::RuleSet::judge`] and joins the incident of its dedup key, or opens it.
//! 3. Before the transaction ends, the incident settles: the first step of its escalation policy runs, and its pages are in
//!    the outbox. One journal frame holds all of it; after its sync the sender gets its 200.
//! 4. The delivery ([`engine::deliver`]) is woken, claims the pages with a lease, sends them by a [`pager`], and records
//!    each outcome; a failure moves on to the next contact, or to the next step.
//! 5. The engine runs the later steps, clears what is quiet, runs the recurrence checks, and audits every minute that each
//!    incident that should page does.
//! 6. People acknowledge and lead it through the phases; each advance is refused with the list of what is missing. It closes
//!    when every output is there and the checks have passed.
//!
//! # Invariants
//!
//! - `domain` never fails for reasons outside it: no I/O, no clock, no async.
//! - No module but `clock` reads the time; `now` is an argument.
//! - No event is ever changed. Events leave only with their whole incident at the end of its retention.
//! - Nothing is sent that is not first in the outbox.
//! - No HTTP handler waits for a page.
//! - The engine takes no input but the time.
//! - Tasks are spawned in `app` and nowhere else; the engines of the store have threads of their own, which block on the disk or on
//!   the database and must outlive every task that waits for them.
//! - Groups of all replicas follow each other in one order; what a claim was worth is told by its number.
//! - Order is that of sequence numbers, never that of timestamps.
//! - At most one open incident has a dedup key.
//! - A page's id names one page to one contact, through retries and crashes.
//!
//! Who may name whom is a table in `tests/it/house.rs`, which also keeps this map complete.
//!
//! # Code map
//!
//! - `app.rs`: Wiring and life cycle
//!   - `app/files.rs`: What is on disk, read as one
//!   - `app/open.rs`: Opening the store that the configuration names, embedded or on a database
//!   - `app/watch.rs`: Whether the files have changed
//! - `cli.rs`: The command line
//!   - `cli/check.rs`: `check`
//!   - `cli/client.rs`: Talking to a running daemon
//!   - `cli/dead_letters.rs`: `dead-letters`
//!   - `cli/demo.rs`: `serve --demo`
//!   - `cli/incident.rs`: `incident`
//!   - `cli/oncall.rs`: `oncall`
//!   - `cli/rules.rs`: `rules`
//!     - `cli/rules/backtest.rs`: `rules backtest`
//!     - `cli/rules/test.rs`: `rules test`
//!   - `cli/serve.rs`: `serve`
//!   - `cli/silence.rs`: `silence`
//!   - `cli/store.rs`: `store`
//! - `clock.rs`: The only reader of the clocks
//! - `config.rs`: Configuration
//!   - `config/analysis.rs`: `[analysis]`
//!   - `config/auth.rs`: `[auth]`
//!   - `config/channels.rs`: `[channels]`
//!   - `config/environment.rs`: Variables
//!   - `config/heartbeats.rs`: `[heartbeats]`
//!   - `config/log.rs`: `[log]`
//!   - `config/mappings.rs`: `[mappings]`, and the mappings that ship with the program
//!   - `config/names.rs`: The names that other places refer to, gathered before anything is read, so that order does not matter
//!   - `config/people.rs`: `[people]` and `[teams]`
//!   - `config/policies.rs`: `[policies]`
//!   - `config/process.rs`: `[process.SEVn]`
//!   - `config/readiness.rs`: Readiness
//!   - `config/retention.rs`: `[retention]`
//!   - `config/schedules.rs`: `[schedules]`
//!   - `config/secrets.rs`: Secrets as they are written
//!   - `config/server.rs`: `[server]`
//!   - `config/severity.rs`: `[severity]`
//!   - `config/sources.rs`: `[sources]`
//!   - `config/store.rs`: `[store]`
//!   - `config/storm.rs`: `[storm]`
//! - `domain.rs`: The vocabulary
//!   - `domain/action_item.rs`: Action items
//!   - `domain/alert.rs`: Alerts
//!   - `domain/analysis.rs`: Root cause analysis as data
//!   - `domain/change.rs`: Changes: deployments and changes of configuration
//!     - `domain/change/related.rs`: Which changes are worth a look when an incident has begun
//!   - `domain/confirmation.rs`: Addresses that a sender wants fetched before it sends anything
//!   - `domain/cron_spec.rs`: What people write as cron, and the instants it means
//!   - `domain/escalation.rs`: Escalation policies
//!   - `domain/finding.rs`: Findings
//!   - `domain/go_regex.rs`: Regular expressions as Go writes them (RE2), compiled by the `regex` crate with Go's meaning and Go's refusals
//!     - `domain/go_regex/class.rs`: Character classes (`[a-z]`, `\d`, `[[:word:]]`), written so that the `regex` crate reads the same characters in them
//!     - `domain/go_regex/escape.rs`: Escapes of one character (`\n`, `\101`, `\x{1F525}`, `\.`), and how a character is written for the `regex` crate
//!     - `domain/go_regex/parser.rs`: Reads Go's grammar of expressions (its Perl flags) and writes an equal expression for the `regex` crate
//!     - `domain/go_regex/piece.rs`: Translated parts of an expression, and how they become sequences and alternatives
//!     - `domain/go_regex/property.rs`: Unicode categories and scripts (`\pL`, `\p{Greek}`)
//!   - `domain/heartbeat.rs`: Heartbeats
//!   - `domain/incident.rs`: An incident
//!     - `domain/incident/apply.rs`: What an event makes of an incident
//!     - `domain/incident/ask.rs`: What people ask of an incident
//!     - `domain/incident/command.rs`: What is asked of an incident, and why it may be refused
//!     - `domain/incident/decide.rs`: Which events a command adds at an instant
//!     - `domain/incident/entry.rs`: One line of an incident's log, and how it is written
//!     - `domain/incident/event.rs`: What happened to an incident
//!     - `domain/incident/flapping.rs`: Flapping
//!     - `domain/incident/members.rs`: The alerts of an incident
//!     - `domain/incident/muting.rs`: Muting of one incident
//!     - `domain/incident/outputs.rs`: Which outputs an incident has, and the exact list of what is missing before it goes on or closes
//!     - `domain/incident/paging.rs`: Paging of one incident
//!       - `domain/incident/paging/due.rs`: What is due of paging
//!     - `domain/incident/storm.rs`: A storm
//!     - `domain/incident/timeline.rs`: An incident's log in words
//!     - `domain/incident/verify.rs`: Verification of one incident
//!   - `domain/interval.rs`: Intervals
//!   - `domain/inhibition.rs`: Inhibition
//!   - `domain/mapping.rs`: How any JSON becomes alerts, as an operator wrote it down
//!     - `domain/mapping/nested.rs`: Where texts lie in a body that are JSON themselves
//!     - `domain/mapping/path.rs`: Paths into what was posted
//!   - `domain/matcher.rs`: Label matchers (`severity=~"critical|page"`), read as Alertmanager reads them since 0.27
//!     - `domain/matcher/classic.rs`: Alertmanager's classic grammar of matchers
//!     - `domain/matcher/utf8.rs`: Alertmanager's UTF-8 grammar of matchers
//!   - `domain/oncall.rs`: The book
//!   - `domain/page.rs`: Pages
//!   - `domain/phase.rs`: The seven phases of an incident and the outputs each requires before the next
//!   - `domain/rule.rs`: Severity rules
//!     - `domain/rule/index.rs`: Which rules an alert can match at all
//!   - `domain/schedule.rs`: Who is on call at an instant, over a span, and until when
//!     - `domain/schedule/layer.rs`: A layer
//!     - `domain/schedule/overrides.rs`: Overrides
//!     - `domain/schedule/wall_clock.rs`: The wall clock of a zone
//!   - `domain/secret.rs`: Secrets
//!   - `domain/severity.rs`: Severity, from SEV1 (worst) to SEV5, and the process that each severity asks for
//!   - `domain/signature.rs`: Signatures of what senders post
//!   - `domain/silence.rs`: Silences
//!   - `domain/source.rs`: Sources
//!   - `domain/template.rs`: Templates of rules and mappings
//!   - `domain/time.rs`: Instants and spans
//!   - `domain/verification.rs`: Verification
//! - `engine.rs`: Does what is due
//!   - `engine/audit.rs`: The audit
//!   - `engine/deliver.rs`: Delivery
//!   - `engine/link.rs`: Acknowledge links
//!   - `engine/replicas.rs`: Beside other processes on a shared store
//!   - `engine/set_clock.rs`: Following the clock
//! - `http.rs`: The HTTP face
//!   - `http/acknowledge.rs`: The page behind an acknowledge link
//!   - `http/api_v2.rs`: What Prometheus and amtool ask of an Alertmanager
//!     - `http/api_v2/alerts.rs`: Alerts as an Alertmanager lists them
//!     - `http/api_v2/answer.rs`: What an Alertmanager answers where nothing else is to be said
//!     - `http/api_v2/silences.rs`: Silences as an Alertmanager takes and lists them
//!   - `http/asks.rs`: What is asked of an incident, as routes
//!   - `http/auth.rs`: Who may do what
//!   - `http/backtest.rs`: Backtest
//!   - `http/body.rs`: Bodies
//!   - `http/changes.rs`: Changes, as a list
//!   - `http/commands.rs`: What people ask of an incident, each with its body
//!   - `http/confirm.rs`: Confirming a subscription
//!   - `http/connection.rs`: Connections
//!   - `http/dead_letters.rs`: Dead letters
//!   - `http/entrance.rs`: What every request goes through, whatever its path
//!   - `http/explain.rs`: Why the rules decide as they do
//!   - `http/gate.rs`: The gate before sources
//!   - `http/health.rs`: How the process is doing
//!   - `http/hooks.rs`: What senders post
//!   - `http/incidents.rs`: Incidents
//!   - `http/lists.rs`: Lists beside incidents
//!   - `http/oncall.rs`: Who is on call
//!   - `http/openapi.rs`: The description of the API, made from the code
//!     - `http/openapi/asked.rs`: What is asked, as far as the type that is read does not say it
//!     - `http/openapi/page.rs`: The description as a page to read
//!     - `http/openapi/problems.rs`: Problems as the description has them
//!     - `http/openapi/words.rs`: The words of the vocabulary as the description has them
//!   - `http/opsgenie.rs`: What Opsgenie's API answers besides taking alerts
//!   - `http/params.rs`: What stands in a path or a query
//!   - `http/ping.rs`: Pings of heartbeats
//!   - `http/problem.rs`: Errors as answers
//!   - `http/reload.rs`: Reading the files again
//!   - `http/signature.rs`: Whether what was posted is signed as its source signs
//!   - `http/silences.rs`: Silences
//!   - `http/vendors.rs`: The addresses of `PagerDuty` and Opsgenie
//!   - `http/view.rs`: What is answered
//!     - `http/view/incidents.rs`: An incident as it is answered, with all its parts
//!     - `http/view/letters.rs`: Dead letters as they are answered
//!     - `http/view/pages.rs`: Pages as they are answered, and lines of the timeline
//! - `ingest.rs`: What senders say, read into sightings
//!   - `ingest/alertmanager.rs`: Alertmanager's webhook, version 4: the status of each alert is the truth, whatever the head of the message says
//!   - `ingest/change.rs`: Changes, in our own form and in those of others
//!     - `ingest/change/cdevents.rs`: CDEvents of services
//!     - `ingest/change/github.rs`: GitHub's webhooks of deployments
//!     - `ingest/change/gitlab.rs`: GitLab's deployment hook
//!     - `ingest/change/pagerduty.rs`: Change events as PagerDuty takes them
//!   - `ingest/check.rs`: Our own report of check results
//!   - `ingest/checks.rs`: What the formats of checks have in common
//!   - `ingest/cloudevents.rs`: CloudEvents 1.0: an envelope around a check result or an alert
//!     - `ingest/cloudevents/batch.rs`: The events of a batch
//!   - `ingest/dbt.rs`: What dbt leaves behind a run: results of tests and models, and freshness of sources
//!     - `ingest/dbt/freshness.rs`: How old the data of a source are, and how old they may be
//!     - `ingest/dbt/manifest.rs`: What only dbt's manifest knows of a test or a model
//!   - `ingest/dbt_cloud.rs`: The run webhook of dbt Cloud
//!   - `ingest/evidently.rs`: The tests of an Evidently report
//!   - `ingest/grafana.rs`: Grafana's webhook of unified alerting
//!   - `ingest/great_expectations.rs`: A checkpoint of Great Expectations, as our action posts it
//!   - `ingest/json.rs`: JSON from strangers
//!     - `ingest/json/body.rs`: The syntax of a body
//!   - `ingest/mapped.rs`: Any JSON, read as a mapping says
//!     - `ingest/mapped/form.rs`: Forms, and addresses that say it all
//!     - `ingest/mapped/node.rs`: Parts of a body, read as far as they are asked for
//!   - `ingest/mlflow.rs`: The registry webhook of MLflow
//!   - `ingest/opsgenie.rs`: Alerts as Opsgenie's API takes them
//!   - `ingest/pagerduty.rs`: Events as PagerDuty's Events API v2 takes them
//!   - `ingest/plain.rs`: Alertmanager's message in its ordinary form, read in one pass over the body
//!   - `ingest/postable.rs`: Alerts as Prometheus and its relatives post them to an Alertmanager (API v2)
//!   - `ingest/soda.rs`: A scan of Soda Core 3
//! - `lib.rs`: this page
//! - `main.rs`: The program `watchkeeper`
//! - `outbound.rs`: Requests that are no pages
//! - `pager.rs`: Pagers
//!   - `pager/email.rs`: The `email` channel
//!   - `pager/log.rs`: The `log` channel
//!   - `pager/webhook.rs`: The `webhook` channel
//! - `rules.rs`: Rules
//!   - `rules/cases.rs`: Rule tests as they are written
//!   - `rules/explain.rs`: Why the rules decide as they do of one alert
//!   - `rules/interval.rs`: One `[[interval]]`
//!   - `rules/lint.rs`: What is odd about rules that can be read
//!   - `rules/inhibit.rs`: One `[[inhibit]]`
//!   - `rules/rule.rs`: One `[[rule]]`
//!   - `rules/severity.rs`: The three forms of a rule's `severity`
//! - `simulate.rs`: The program without its edges
//!   - `simulate/backtest.rs`: Backtest
//!     - `simulate/backtest/ahead.rs`: Reading ahead
//!     - `simulate/backtest/lives.rs`: The incidents that happened
//!     - `simulate/backtest/past.rs`: What happened
//!     - `simulate/backtest/replay.rs`: The replay
//!       - `simulate/backtest/replay/carried.rs`: Incidents that were open when the span began, and their alerts, as they were
//!       - `simulate/backtest/replay/lasting.rs`: What lasted when the span began, beside the incidents that were open
//!       - `simulate/backtest/replay/people.rs`: What people did with incidents is done with those that stand for them
//!       - `simulate/backtest/replay/storms.rs`: What teams had of late when the span began
//!     - `simulate/backtest/report.rs`: What a backtest found
//!     - `simulate/backtest/sums.rs`: What is said of incidents once they are gone
//!   - `simulate/cases.rs`: Rule tests, run
//! - `store.rs`: The transactions the program needs, by name, over an engine that makes them durable
//!   - `store/backup.rs`: Snapshot and backup are one format
//!   - `store/changes.rs`: Changes as they are remembered
//!   - `store/commands.rs`: What people do
//!   - `store/delivery.rs`: Delivery from the outbox
//!   - `store/copy.rs`: Moving a whole store from one engine to another
//!   - `store/disk.rs`: What the store asks of the disk
//!   - `store/engine.rs`: What a store engine does
//!   - `store/error.rs`: Why the store refused or failed
//!   - `store/gather.rs`: A group of jobs
//!   - `store/group.rs`: How the changes of a group are written as the payload of a journal frame
//!   - `store/heartbeats.rs`: Heartbeats as they stand
//!   - `store/history.rs`: What was
//!   - `store/installation.rs`: What makes this installation this one
//!   - `store/intake.rs`: Recording a report so that one incident that is stuck costs the other alerts of the report nothing
//!   - `store/joining.rs`: How an alert comes to its incident, and how it ends
//!   - `store/journal.rs`: The record
//!     - `store/journal/walk.rs`: Reading the journal
//!   - `store/kept.rs`: Records that are kept as they are
//!   - `store/keys.rs`: Where each record lies
//!   - `store/letters.rs`: Dead letters that are read again after a fix
//!   - `store/lists.rs`: Pages of lists, newest first, with a cursor
//!   - `store/memory.rs`: The engine of tests and simulations
//!   - `store/muting.rs`: Which alerts are muted, and which incidents
//!     - `store/muting/again.rs`: What of muting is to be looked at again
//!   - `store/outbox.rs`: The outbox follows the log
//!   - `store/overlay.rs`: Sorted changes laid over a state
//!   - `store/pending.rs`: Keys whose alerts fire and have not met their rule's `open.after`, and the incident of a key
//!   - `store/postgres.rs`: The engine of several equal replicas
//!     - `store/postgres/ahead.rs`: New records of a large group that are sent while the rest of it is still being decided
//!     - `store/postgres/connect.rs`: The way to the database
//!     - `store/postgres/doubt.rs`: A group whose answer was lost
//!     - `store/postgres/error.rs`: What the database or the way to it said
//!     - `store/postgres/listen.rs`: What comes from the database by itself
//!     - `store/postgres/load.rs`: Filling an empty database
//!     - `store/postgres/migrate.rs`: The tables, brought to the version that this program knows
//!     - `store/postgres/read.rs`: Reads over the network
//!     - `store/postgres/recent.rs`: What other replicas added to the logs of incidents since this one last did
//!     - `store/postgres/send.rs`: Sending a group to the database
//!     - `store/postgres/tables.rs`: Where the records of each key lie in the database
//!     - `store/postgres/turn.rs`: Taking the turn
//!     - `store/postgres/write.rs`: The writer of one replica
//!   - `store/quarantine.rs`: Incidents that could not be stepped
//!   - `store/queue.rs`: Jobs that wait for an engine's writer
//!   - `store/read.rs`: Typed reads of the state, for transactions and for answers
//!   - `store/records.rs`: What is stored beside events and alerts
//!   - `store/replay.rs`: What judging history again asks of a store beside what live reports ask of it
//!   - `store/replicas.rs`: The processes that work on a shared store
//!   - `store/report.rs`: Recording a sender's report
//!     - `store/report/checks.rs`: Results of checks
//!   - `store/rows.rs`: Records that a writer asks for again and again
//!   - `store/seen_clock.rs`: What the wall clock showed when the program was last seen running
//!   - `store/served.rs`: The time in which reports could come in
//!   - `store/silences.rs`: Silences as they are kept
//!   - `store/sled.rs`: The embedded engine
//!     - `store/sled/apply.rs`: The applier
//!     - `store/sled/keep.rs`: The keeper
//!     - `store/sled/merge.rs`: Runs read as one
//!     - `store/sled/recover.rs`: Opening the store
//!     - `store/sled/run.rs`: A run
//!       - `store/sled/run/cache.rs`: Blocks that were read last, unpacked
//!       - `store/sled/run/filter.rs`: A filter of keys
//!       - `store/sled/run/write.rs`: Writing a run
//!     - `store/sled/snapshot.rs`: Snapshots
//!     - `store/sled/state.rs`: The current state
//!       - `store/sled/state/catalogue.rs`: The catalogue of the state, in sled
//!     - `store/sled/verify.rs`: Verifies a closed store
//!     - `store/sled/write.rs`: The writer
//!   - `store/storms.rs`: Storms
//!   - `store/sweep.rs`: Retention
//!   - `store/tx.rs`: One transaction
//!   - `store/watch.rs`: Watches
//!   - `store/wish.rs`: What a sender wishes for the incident of an alert of its own
//! - `telemetry.rs`: Logs and metrics
//! - `toml_file.rs`: TOML with positions
//!   - `toml_file/hide.rs`: Keeps secrets out of the lines that findings show, also where the line could not be read
//!   - `toml_file/nearest.rs`: What somebody meant who wrote a name that is not known
//!   - `toml_file/section.rs`: A table that is being read
//!   - `toml_file/value.rs`: A value that is being read as what is wanted

pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod engine;
pub mod http;
pub mod ingest;
pub mod outbound;
pub mod pager;
pub mod rules;
pub mod simulate;
pub mod store;
pub mod telemetry;
pub mod toml_file;
