//! The way to the database: its hosts, TLS, and how each session is set up.

use crate::store::error::Error;
use crate::store::postgres::error::chain;
use deadpool_postgres::ClientWrapper;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::future::poll_fn;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres::{AsyncMessage, Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

/// A connection that the server no longer answers on is given up after this.
const DEAD_AFTER: Duration = Duration::from_secs(10);

/// A turn may stand still between two statements for so long before the server ends it: whoever had it may have been stopped.
pub(super) const TURN_STANDS_STILL: Duration = Duration::from_secs(5);

/// Where the database is and how to get there; nothing is connected yet.
#[derive(Clone)]
pub struct Address {
    config: Config,
    tls: Tls,
    shown: String,
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Address").field(&self.shown).finish()
    }
}

/// How far the server is trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Tls {
    Off,
    /// TLS where the server has it; nobody looks whose server it is.
    Unverified,
    /// A certificate for its name, signed by who this machine trusts or by one of these.
    Verified(Option<PathBuf>),
}

/// A URL that says nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadAddress(String);

impl Address {
    /// Reads `postgres://user@host1,host2/database?…`, and adds a password that was given apart.
    pub fn parse(url: &str, password: Option<&str>) -> Result<Self, BadAddress> {
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut rest, mut mode, mut root) = (Vec::new(), None, None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sslmode", value)) => mode = Some(value),
                Some(("sslrootcert", value)) => root = Some(unescaped(value)?),
                Some(_) | None => rest.push(pair),
            }
        }
        let url = match rest.is_empty() {
            true => base.to_owned(),
            false => format!("{base}?{}", rest.join("&")),
        };
        let mut config: Config = url
            .parse()
            .map_err(|error: tokio_postgres::Error| BadAddress(chain(&error)))?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(BadAddress("it names no host".to_owned()));
        }
        if config.get_user().is_none() {
            return Err(BadAddress("it names no user".to_owned()));
        }
        if let Some(password) = password {
            if config.get_password().is_some() {
                let both = "a password stands in the url and beside it, one of them is wanted";
                return Err(BadAddress(both.to_owned()));
            }
            config.password(password);
        }
        let tls = tls(mode, root)?;
        config.ssl_mode(match &tls {
            Tls::Off => SslMode::Disable,
            Tls::Unverified => SslMode::Prefer,
            Tls::Verified(_) => SslMode::Require,
        });
        if config.get_target_session_attrs() == TargetSessionAttrs::Any {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        if config.get_application_name().is_none() {
            config.application_name("watchkeeper");
        }
        config.tcp_user_timeout(DEAD_AFTER);
        config.keepalives_idle(DEAD_AFTER);
        config.keepalives_interval(DEAD_AFTER / 4);
        config.keepalives_retries(3);
        let shown = shown(&config);
        Ok(Self { config, tls, shown })
    }

    /// Whether what goes to the database may be read on its way, or go to somebody else.
    pub fn is_exposed(&self) -> bool {
        let is_near = |host: &Host| match host {
            Host::Unix(_) => true,
            Host::Tcp(name) => {
                let address: Result<IpAddr, _> = name.parse();
                name == "localhost" || address.is_ok_and(|address| address.is_loopback())
            }
        };
        let are_near = self.config.get_hosts().iter().all(is_near)
            && self.config.get_hostaddrs().iter().all(IpAddr::is_loopback);
        !matches!(self.tls, Tls::Verified(_)) && !are_near
    }

    /// Hosts and database, without user and password.
    pub fn shown(&self) -> &str {
        &self.shown
    }
}

fn tls(mode: Option<&str>, root: Option<String>) -> Result<Tls, BadAddress> {
    let tls = match mode {
        Some("disable") => Tls::Off,
        None if root.is_some() => Tls::Verified(None),
        None | Some("prefer" | "allow") => Tls::Unverified,
        Some("require" | "verify-ca" | "verify-full") => Tls::Verified(None),
        Some(other) => {
            return Err(BadAddress(format!(
                "sslmode \"{other}\" is not one of disable, prefer, require, verify-full"
            )));
        }
    };
    match (tls, root) {
        (Tls::Verified(_), root) => Ok(Tls::Verified(root.map(PathBuf::from))),
        (tls, None) => Ok(tls),
        (Tls::Off | Tls::Unverified, Some(_)) => Err(BadAddress(
            "sslrootcert is given and sslmode does not ask for it, verify-full is wanted"
                .to_owned(),
        )),
    }
}

fn unescaped(text: &str) -> Result<String, BadAddress> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits: Vec<u8> = rest.by_ref().take(2).collect();
        let decoded = hex::decode(&digits)
            .map_err(|_no_digits| BadAddress(format!("\"{text}\" has a % without two digits")))?;
        bytes.extend(decoded);
    }
    String::from_utf8(bytes)
        .map_err(|_not_text| BadAddress(format!("\"{text}\" is no text in UTF-8")))
}

fn shown(config: &Config) -> String {
    let ports = config.get_ports();
    let hosts: Vec<String> = config
        .get_hosts()
        .iter()
        .enumerate()
        .map(|(at, host)| {
            let name = match host {
                Host::Tcp(name) => name.clone(),
                Host::Unix(path) => path.display().to_string(),
            };
            match ports.get(at).or_else(|| ports.first()) {
                Some(port) if *port != 5432 => format!("{name}:{port}"),
                Some(_) | None => name,
            }
        })
        .collect();
    let database = config.get_dbname().or(config.get_user()).unwrap_or("");
    format!("{}/{database}", hosts.join(","))
}

/// Makes sessions.
pub(super) struct Connector {
    config: Config,
    tls: MakeRustlsConnect,
    within: Duration,
    /// What is set in each session.
    session: String,
}

impl Connector {
    pub(super) fn new(
        address: &Address,
        connect_timeout: Duration,
        statement_timeout: Duration,
    ) -> Result<Self, Error> {
        let mut config = address.config.clone();
        config.connect_timeout(connect_timeout);
        let n_hosts = config.get_hosts().len().max(config.get_hostaddrs().len());
        let n_hosts = u32::try_from(n_hosts).unwrap_or(1);
        let session = format!(
            "SET statement_timeout = {statement}; SET lock_timeout = {statement}; \
             SET idle_in_transaction_session_timeout = {idle}",
            statement = statement_timeout.as_millis(),
            idle = TURN_STANDS_STILL.as_millis(),
        );
        Ok(Self {
            config,
            tls: MakeRustlsConnect::new(client_config(&address.tls)?),
            // A server that takes the connection and says nothing must not hold it up for ever.
            within: connect_timeout * (n_hosts + 1),
            session,
        })
    }

    /// How long it may take to get a session.
    pub(super) fn within(&self) -> Duration {
        self.within
    }

    /// A new session; `hear` is told of notices and notifications. It is driven by a task of the runtime this is called on.
    pub(super) async fn connect(
        &self,
        hear: impl FnMut(AsyncMessage) + Send + 'static,
    ) -> Result<ClientWrapper, Error> {
        match tokio::time::timeout(self.within, self.begin(hear)).await {
            Ok(Ok((client, driven))) => Ok(ClientWrapper::new(client, driven)),
            // A wrong password or database is said as it is, and is no less in the way.
            Ok(Err(found)) => Err(Error::Unreachable { why: chain(&found) }),
            Err(_elapsed) => Err(Error::Unreachable {
                why: "it did not answer in time".to_owned(),
            }),
        }
    }

    /// The same for as long as it takes.
    pub(super) async fn begin(
        &self,
        mut hear: impl FnMut(AsyncMessage) + Send + 'static,
    ) -> Result<(Client, JoinHandle<()>), tokio_postgres::Error> {
        let (client, mut connection) = self.config.connect(self.tls.clone()).await?;
        let driven = tokio::runtime::Handle::current().spawn(async move {
            while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await
            {
                hear(message);
            }
        });
        client.batch_execute(&self.session).await?;
        keep_durable(&client).await?;
        // Every question here is by key. A plan that is made while a table is empty would read all of it, and stay when it has
        // grown. Other products have no such setting, and need none.
        for setting in ["enable_seqscan", "enable_bitmapscan", "jit"] {
            drop(client.batch_execute(&format!("SET {setting} = off")).await);
        }
        Ok((client, driven))
    }
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector")
            .field("within", &self.within)
            .finish_non_exhaustive()
    }
}

/// What is acknowledged is on disk, and on the synchronous standby where there is one, whatever role or database say.
async fn keep_durable(client: &Client) -> Result<(), tokio_postgres::Error> {
    let setting = shows(client, "synchronous_commit").await;
    if setting.is_some_and(|setting| setting == "off" || setting == "local") {
        client.batch_execute("SET synchronous_commit = on").await?;
    }
    Ok(())
}

/// Whether what the server says is on disk may be not.
pub(super) async fn forgets(client: &Client) -> bool {
    shows(client, "fsync").await.as_deref() == Some("off")
}

/// A setting of the server; none where it knows no such one.
async fn shows(client: &Client, setting: &str) -> Option<String> {
    let row = client.query_one(&format!("SHOW {setting}"), &[]).await;
    row.ok()?.try_get(0).ok()
}

fn client_config(tls: &Tls) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| bad_tls(&error.to_string()))?;
    let Tls::Verified(root) = tls else {
        let anybody = Arc::new(Anybody(provider));
        let dangerous = builder.dangerous();
        return Ok(dangerous
            .with_custom_certificate_verifier(anybody)
            .with_no_client_auth());
    };
    let mut trusted = RootCertStore::empty();
    match root {
        Some(path) => {
            let shown = path.display();
            let certificates = CertificateDer::pem_file_iter(path)
                .map_err(|error| bad_tls(&format!("{shown}: {error}")))?;
            for certificate in certificates {
                let added = certificate
                    .map_err(|error| error.to_string())
                    .and_then(|found| trusted.add(found).map_err(|error| error.to_string()));
                added.map_err(|error| bad_tls(&format!("{shown}: {error}")))?;
            }
        }
        None => {
            let of_this_machine = rustls_native_certs::load_native_certs().certs;
            // Some that this library does not take are in every such list.
            let _counts = trusted.add_parsable_certificates(of_this_machine);
        }
    }
    if trusted.is_empty() {
        return Err(bad_tls("there is no certificate to trust"));
    }
    Ok(builder
        .with_root_certificates(trusted)
        .with_no_client_auth())
}

fn bad_tls(why: &str) -> Error {
    Error::Database {
        what: "prepare TLS for the database".to_owned(),
        why: why.to_owned(),
    }
}

/// Takes every certificate: what goes over such a connection cannot be read on its way, but may go to anybody.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
