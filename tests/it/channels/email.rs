//! Pages by mail, against as much of an SMTP server as a mail needs.

use super::{SOON, channels, delivered, message, now, rejected, retry, unused};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use watchkeeper::domain::page::{ATTEMPT_TIMEOUT, Outcome};
use watchkeeper::domain::secret::Secret;
use watchkeeper::pager::{ChannelSpec, Channels, Pager, Tls};

/// As much of an SMTP server as a mail needs. It remembers each line it was sent, and answers a verb as scripted or with yes.
struct Smtp {
    at: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
    _server: JoinSet<()>,
}

/// Verb (or `GREETING`, `MAIL-DATA` for the end of the mail) and the reply; an empty reply is none at all.
type Replies = &'static [(&'static str, &'static str)];

impl Smtp {
    async fn start(replies: Replies) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let at = listener.local_addr().expect("an address");
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let lines = Arc::clone(&seen);
        let mut server = JoinSet::new();
        server.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A client that hangs up is none of our business.
                drop(converse(stream, replies, &lines).await);
            }
        });
        Self {
            at,
            seen,
            _server: server,
        }
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("a lock").clone()
    }

    /// The mail itself, from the first header to the last line.
    fn mail(&self) -> Vec<String> {
        let seen = self.seen();
        let lines = seen.into_iter().skip_while(|line| line != "DATA").skip(1);
        lines.take_while(|line| line != ".").collect()
    }
}

async fn converse(
    stream: TcpStream,
    replies: Replies,
    seen: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let (input, mut output) = stream.into_split();
    let mut lines = BufReader::new(input).lines();
    let mut says = "GREETING".to_owned();
    let mut in_mail = false;
    loop {
        let scripted = replies.iter().find(|(verb, _)| *verb == says);
        let reply = match (scripted, says.as_str()) {
            (Some((_, reply)), _) => *reply,
            (None, "GREETING") => "220 mail.example ready",
            (None, "EHLO") => "250-mail.example\r\n250 8BITMIME",
            (None, "AUTH") => "235 welcome",
            (None, "DATA") => "354 go ahead",
            (None, "MAIL-DATA") => "250 queued as 4711",
            (None, "QUIT") => "221 bye",
            (None, _) => "250 fine",
        };
        if !reply.is_empty() {
            output.write_all(format!("{reply}\r\n").as_bytes()).await?;
        }
        in_mail = in_mail || reply.starts_with("354");
        loop {
            let Some(line) = lines.next_line().await? else {
                return Ok(());
            };
            seen.lock().expect("a lock").push(line.clone());
            if !in_mail {
                says = line.split(' ').next().unwrap_or_default().to_owned();
                break;
            }
            if line == "." {
                in_mail = false;
                says = "MAIL-DATA".to_owned();
                break;
            }
        }
    }
}

fn mail(at: SocketAddr, tls: Tls, login: Option<(&str, &str)>) -> Channels {
    mail_within(ATTEMPT_TIMEOUT, at, tls, login)
}

fn mail_within(
    timeout: Duration,
    at: SocketAddr,
    tls: Tls,
    login: Option<(&str, &str)>,
) -> Channels {
    channels(ChannelSpec::Email {
        host: at.ip().to_string(),
        port: at.port(),
        user: login.map(|(user, _)| user.to_owned()),
        password: login.map(|(_, password)| Secret::new(password)),
        from: "Watchkeeper <watch@example.net>".to_owned(),
        tls,
        implicit_tls: false,
        timeout,
    })
}

#[tokio::test]
async fn a_page_arrives_as_plain_text_mail() {
    let smtp = Smtp::start(&[]).await;
    let outcome = mail(smtp.at, Tls::None, None).send(&message(), now()).await;
    assert_eq!(outcome, delivered("250 queued as 4711"));

    let seen = smtp.seen();
    assert_eq!(
        seen[1..4],
        [
            "MAIL FROM:<watch@example.net>",
            "RCPT TO:<ana@example.org>",
            "DATA"
        ]
    );
    assert_eq!(
        smtp.mail(),
        [
            "From: Watchkeeper <watch@example.net>",
            "To: \"Ana Ruiz\" <ana@example.org>",
            "Subject: [SEV1] #42 Checkout is \"down\"",
            "Date: Mon, 02 Mar 2026 09:00:00 +0000",
            "Message-ID: <inc-42=2fstep-1=2fana@example.net>",
            "X-Watchkeeper-Page-Id: inc-42=2fstep-1=2fana",
            "Auto-Submitted: auto-generated",
            "Content-Type: text/plain; charset=utf-8",
            "Content-Transfer-Encoding: 7bit",
            "",
            "SEV1 incident #42: Checkout is \"down\"",
            "",
            "Do first: Roll back the last deploy",
            "Runbook: https://runbooks.example/checkout",
            "Acknowledge: https://wk.example/ack/42?sig=t0k3n-of-ana",
            "Incident: https://wk.example/incidents/42",
            "Phase: triage",
            "",
            "What is known:",
            "  5xx > 20 %",
            "  since 08:58",
            "",
        ]
    );
}

#[tokio::test]
async fn a_repeat_has_the_same_message_id() {
    let smtp = Smtp::start(&[]).await;
    let channels = mail(smtp.at, Tls::Opportunistic, None);
    let mut again = message();
    again.attempt = 3;
    for message in [message(), again] {
        let outcome = channels.send(&message, now()).await;
        assert_eq!(outcome, delivered("250 queued as 4711"));
    }
    let seen = smtp.seen();
    let ids: Vec<&String> = seen
        .iter()
        .filter(|line| line.starts_with("Message-ID:"))
        .collect();
    assert_eq!(ids, ["Message-ID: <inc-42=2fstep-1=2fana@example.net>"; 2]);
}

#[tokio::test]
async fn a_title_cannot_add_a_header() {
    let smtp = Smtp::start(&[]).await;
    let mut message = message();
    message.incident.title = "down\r\nBcc: eve@example.org\r\n\r\n<b>hi</b>\u{0}\u{7f}".to_owned();
    message.incident.severity = "SEV1\nX-Evil: 1".to_owned();
    message.page_id = "p\r\nX-Evil: 2".to_owned();
    message.incident.description = Some(".\r\n.\r\nMAIL FROM:<eve@example.org>".to_owned());
    let outcome = mail(smtp.at, Tls::None, None).send(&message, now()).await;
    assert_eq!(outcome, delivered("250 queued as 4711"));

    let mail = smtp.mail();
    let end = mail.iter().position(String::is_empty).expect("a body");
    let names: Vec<&str> = mail[..end]
        .iter()
        .filter(|line| !line.starts_with(' '))
        .map(|line| line.split(':').next().expect("a name"))
        .collect();
    assert_eq!(
        names,
        [
            "From",
            "To",
            "Subject",
            "Date",
            "Message-ID",
            "X-Watchkeeper-Page-Id",
            "Auto-Submitted",
            "Content-Type",
            "Content-Transfer-Encoding"
        ]
    );
    let verbs = smtp.seen().iter().filter(|line| *line == "DATA").count();
    assert_eq!(verbs, 1);
}

#[tokio::test]
async fn each_reply_has_its_outcome() {
    let rows: [(Replies, Outcome); 8] = [
        (
            &[("MAIL", "451 4.3.0 try later")],
            retry(None, "transient error (451): 4.3.0 try later"),
        ),
        (
            &[("RCPT", "450 greylisted")],
            retry(None, "transient error (450): greylisted"),
        ),
        (
            &[("MAIL-DATA", "452 disk full")],
            retry(None, "transient error (452): disk full"),
        ),
        (
            &[("GREETING", "421 too busy")],
            retry(None, "transient error (421): too busy"),
        ),
        (
            &[("RCPT", "550 no such\tmailbox")],
            rejected("permanent error (550): no such mailbox"),
        ),
        (
            &[("MAIL-DATA", "554 refused as spam")],
            rejected("permanent error (554): refused as spam"),
        ),
        (
            &[("GREETING", "what?")],
            retry(None, "response error: error Tag at: what?"),
        ),
        // Taken is taken, whatever comes of the goodbye.
        (&[("QUIT", "500 what?")], delivered("250 queued as 4711")),
    ];
    for (replies, expected) in rows {
        let smtp = Smtp::start(replies).await;
        let outcome = mail(smtp.at, Tls::None, None).send(&message(), now()).await;
        assert_eq!(outcome, expected, "{replies:?}");
    }
}

#[tokio::test]
async fn a_mail_server_that_falls_silent_is_tried_again() {
    let silent: [Replies; 2] = [&[("GREETING", "")], &[("MAIL-DATA", "")]];
    for replies in silent {
        let smtp = Smtp::start(replies).await;
        let channels = mail_within(SOON, smtp.at, Tls::None, None);
        assert_eq!(
            channels.send(&message(), now()).await,
            retry(
                None,
                &format!("{} did not take the mail within 0.3 s", smtp.at)
            )
        );
    }
}

#[tokio::test]
async fn a_title_in_any_language_goes_through_a_server_that_knows_only_ascii() {
    let smtp = Smtp::start(&[("EHLO", "250 mail.example")]).await;
    let mut message = message();
    message.incident.title = "Größe überschritten".to_owned();
    let outcome = mail(smtp.at, Tls::None, None).send(&message, now()).await;
    assert_eq!(outcome, delivered("250 queued as 4711"));
    let mail = smtp.mail();
    assert!(mail.iter().all(|line| line.is_ascii()), "{mail:?}");
    let body = "SEV1 incident #42: Gr=C3=B6=C3=9Fe =C3=BCberschritten";
    assert!(mail.iter().any(|line| line == body), "{mail:?}");
}

#[tokio::test]
async fn a_mail_server_that_is_not_there_is_tried_again() {
    let outcome = mail(unused().await, Tls::None, None)
        .send(&message(), now())
        .await;
    assert_eq!(
        outcome,
        retry(None, "Connection error: Connection refused (os error 111)")
    );
}

#[tokio::test]
async fn without_tls_nothing_is_sent_where_tls_is_required() {
    let smtp = Smtp::start(&[("EHLO", "250-mail.example\r\n250 AUTH PLAIN")]).await;
    let channels = mail(smtp.at, Tls::Required, Some(("watch", "correct-horse")));
    assert_eq!(
        channels.send(&message(), now()).await,
        rejected("internal client error: STARTTLS is not supported on this server")
    );
    assert!(
        smtp.seen().iter().all(|line| line.starts_with("EHLO")),
        "{:?}",
        smtp.seen()
    );
}

#[tokio::test]
async fn a_login_is_used_and_its_password_stays_out_of_the_timeline() {
    let smtp = Smtp::start(&[("EHLO", "250-mail.example\r\n250 AUTH PLAIN")]).await;
    let channels = mail(smtp.at, Tls::None, Some(("watch", "correct-horse")));
    assert_eq!(
        channels.send(&message(), now()).await,
        delivered("250 queued as 4711")
    );
    // "\0watch\0correct-horse"
    assert_eq!(smtp.seen()[1], "AUTH PLAIN AHdhdGNoAGNvcnJlY3QtaG9yc2U=");

    let smtp = Smtp::start(&[
        ("EHLO", "250-mail.example\r\n250 AUTH PLAIN"),
        ("AUTH", "535 watch/correct-horse is wrong"),
    ])
    .await;
    let channels = mail(smtp.at, Tls::None, Some(("watch", "correct-horse")));
    assert_eq!(
        channels.send(&message(), now()).await,
        rejected("permanent error (535): watch/[hidden] is wrong")
    );
}

#[tokio::test]
async fn an_address_that_is_none_is_rejected_before_anybody_is_asked() {
    let smtp = Smtp::start(&[]).await;
    let channels = mail(smtp.at, Tls::None, None);
    for address in [
        "ana",
        "",
        "ana@example.org, ben@example.org",
        "ana@example.org\r\nBcc: eve@example.org",
        "ana@example.org>\r\nRCPT TO:<eve@example.org",
    ] {
        let mut message = message();
        message.address = address.to_owned();
        let Outcome::Rejected { why } = channels.send(&message, now()).await else {
            panic!("{address:?} was not rejected");
        };
        assert_eq!(why, format!("{address:?} is no address for mail"));
    }
    assert_eq!(smtp.seen(), [""; 0]);
}
