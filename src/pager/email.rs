//! The `email` channel: a page is a plain-text mail, handed to an SMTP server; its reply is the outcome.

use crate::domain::page::{Message, Outcome, TITLE_MAX, body_text, shortened, subject_line};
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;
use crate::pager::{Pager, Sending, Tls, quoted};
use lettre::address::AddressError;
use lettre::message::Mailbox;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::Response;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// After the mail was taken we say goodbye for no longer than this.
const QUIT_TIMEOUT: Duration = Duration::from_secs(1);

/// Names the page in a header that rules of mail programs can match.
pub const PAGE_ID_HEADER: &str = "X-Watchkeeper-Page-Id";

/// One SMTP server, and the sender whose mails it takes.
#[derive(Debug)]
pub struct Email {
    server: Server,
    login: Option<Login>,
    from: Mailbox,
    timeout: Duration,
}

/// Where the server is and how to speak to it.
pub struct Server {
    host: String,
    port: u16,
    encryption: Encryption,
}

enum Encryption {
    Implicit(TlsParameters),
    StartTls(TlsParameters),
    StartTlsIfOffered(TlsParameters),
    None,
}

/// Who we are to the server.
#[derive(Debug)]
pub struct Login {
    credentials: Credentials,
    /// What must not stand in a timeline, should the server repeat it.
    password: Secret,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Server {
    /// Reads the certificates this machine trusts, where they are needed.
    pub fn new(host: String, port: u16, tls: Tls, implicit_tls: bool) -> Result<Self, String> {
        let parameters = || {
            TlsParameters::new(host.clone()).map_err(|error| format!("no TLS to {host}: {error}"))
        };
        let encryption = match (tls, implicit_tls) {
            (Tls::None, true) => {
                return Err(
                    "smtps is TLS from the first byte, and tls = \"none\" forbids it".to_owned(),
                );
            }
            (Tls::None, false) => Encryption::None,
            (Tls::Required | Tls::Opportunistic, true) => Encryption::Implicit(parameters()?),
            (Tls::Required, false) => Encryption::StartTls(parameters()?),
            (Tls::Opportunistic, false) => Encryption::StartTlsIfOffered(parameters()?),
        };
        Ok(Self {
            host,
            port,
            encryption,
        })
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, Error> {
        let us = ClientId::default();
        let at_once = match &self.encryption {
            Encryption::Implicit(parameters) => Some(parameters.clone()),
            _ => None,
        };
        let server = (self.host.as_str(), self.port);
        let mut connection =
            AsyncSmtpConnection::connect_tokio1(server, None, &us, at_once, None).await?;
        match &self.encryption {
            Encryption::StartTls(parameters) => {
                connection.starttls(parameters.clone(), &us).await?;
            }
            Encryption::StartTlsIfOffered(parameters) if connection.can_starttls() => {
                connection.starttls(parameters.clone(), &us).await?;
            }
            _ => {}
        }
        Ok(connection)
    }
}

impl Login {
    /// None where neither is given; one without the other is a mistake.
    pub fn new(user: Option<String>, password: Option<Secret>) -> Result<Option<Self>, String> {
        match (user, password) {
            (None, None) => Ok(None),
            (Some(user), Some(password)) => Ok(Some(Self {
                credentials: Credentials::new(user, password.expose().to_owned()),
                password,
            })),
            (Some(user), None) => Err(format!("a password is wanted for the user {user:?}")),
            (None, Some(_)) => Err("a user is wanted for the password".to_owned()),
        }
    }
}

impl Email {
    pub fn new(
        server: Server,
        login: Option<Login>,
        from: &str,
        timeout: Duration,
    ) -> Result<Self, String> {
        let from = from.parse().map_err(|_no_address: AddressError| {
            format!("from: an address such as \"Watchkeeper <watch@example.org>\" is wanted, found {from:?}")
        })?;
        Ok(Self {
            server,
            login,
            from,
            timeout,
        })
    }

    async fn deliver(&self, message: &Message, now: Timestamp) -> Outcome {
        let mail = match self.mail(message, now) {
            Ok(mail) => mail,
            Err(why) => return Outcome::Rejected { why },
        };
        // One connection per mail: a page is rare, and an attempt that was cut off leaves nothing behind for the next.
        let Ok(tried) = tokio::time::timeout(self.timeout, self.hand_over(&mail)).await else {
            let seconds = self.timeout.as_secs_f32();
            return Outcome::Retry {
                after: None,
                why: format!("{:?} did not take the mail within {seconds} s", self.server),
            };
        };
        match tried {
            Ok((connection, reply)) => {
                say_goodbye(connection).await;
                Outcome::Delivered {
                    detail: self.quoted(&reply),
                }
            }
            Err(error) => self.judge(&error),
        }
    }

    fn mail(&self, message: &Message, now: Timestamp) -> Result<lettre::Message, String> {
        let to: Mailbox = message
            .address
            .parse()
            .map_err(|_no_address: AddressError| {
                let address = shortened(&message.address, TITLE_MAX);
                format!("{address:?} is no address for mail")
            })?;
        lettre::Message::builder()
            .from(self.from.clone())
            .to(to)
            .subject(subject_line(message))
            .date(system_time(now))
            .message_id(Some(self.message_id(&message.page_id)))
            .raw_header(header(PAGE_ID_HEADER, escaped(&message.page_id)))
            .raw_header(header("Auto-Submitted", "auto-generated".to_owned()))
            .header(ContentType::TEXT_PLAIN)
            .body(body_text(message))
            .map_err(|why| format!("no mail can be made of the page: {why}"))
    }

    /// The same for each attempt: a mail that arrives twice is shown once by many programs.
    fn message_id(&self, page_id: &str) -> String {
        format!("<{}@{}>", escaped(page_id), self.from.email.domain())
    }

    /// Once this returns a reply, the server has the mail.
    async fn hand_over(
        &self,
        mail: &lettre::Message,
    ) -> Result<(AsyncSmtpConnection, String), Error> {
        let mut connection = self.server.connect().await?;
        if let Some(login) = &self.login {
            connection
                .auth(DEFAULT_MECHANISMS, &login.credentials)
                .await?;
        }
        let reply = connection.send(mail.envelope(), &mail.formatted()).await?;
        Ok((connection, shown(&reply)))
    }

    /// What the server or we ourselves refuse for good is rejected; everything else may go well later.
    fn judge(&self, error: &Error) -> Outcome {
        let why = self.quoted(&error.to_string());
        if error.is_permanent() || error.is_client() {
            Outcome::Rejected { why }
        } else {
            Outcome::Retry { after: None, why }
        }
    }

    fn quoted(&self, words: &str) -> String {
        let hidden: Vec<String> = self
            .login
            .iter()
            .map(|login| login.password.expose().to_owned())
            .collect();
        quoted(words, &hidden)
    }
}

impl Pager for Email {
    fn send<'a>(&'a self, message: &'a Message, now: Timestamp) -> Sending<'a> {
        Box::pin(self.deliver(message, now))
    }
}

/// `250 queued as 4711`
fn shown(reply: &Response) -> String {
    let words: Vec<&str> = reply.message().collect();
    format!("{} {}", reply.code(), words.join(" "))
}

/// The mail is delivered whatever comes of this.
async fn say_goodbye(mut connection: AsyncSmtpConnection) {
    match tokio::time::timeout(QUIT_TIMEOUT, connection.quit()).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::debug!("the SMTP server ended without a goodbye: {error}"),
        Err(_elapsed) => tracing::debug!("the SMTP server did not say goodbye in time"),
    }
}

fn header(name: &'static str, value: String) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value)
}

/// A page id in the letters that a Message-ID may hold; different ones stay different.
fn escaped(page_id: &str) -> String {
    let mut text = String::new();
    for byte in page_id.bytes() {
        match byte {
            b'-' | b'_' => text.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => text.push(char::from(byte)),
            _ => text.push_str(&format!("={byte:02x}")),
        }
    }
    text
}

fn system_time(now: Timestamp) -> SystemTime {
    UNIX_EPOCH + now.since(Timestamp::from_millis(0))
}
