//! The outbound client against networks that misbehave below HTTP's meaning: redirects, endless and silent answers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use shared::{
    exchange::{Endpoints, Exchange},
    network::{Failure, Grant, Identity, Reach, Talk},
    profile::Network,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinHandle,
};

use crate::networks_talk::{app, grant, profile, redemption};

/// What a network does when it was asked something.
#[derive(Clone)]
enum Behaviour {
    /// Answers these bytes and closes.
    Says(Vec<u8>),
    /// Answers these bytes, keeps the connection, and closes it when it is asked something more there.
    SaysOnce(Vec<u8>),
    /// Answers these bytes and then spaces without end.
    NeverStops(Vec<u8>),
    /// Answers a byte ten times a second, without end.
    Drips,
    /// Answers nothing, and keeps the connection.
    Silent,
    /// Closes without an answer.
    HangsUp,
}

/// A network on loopback, and how often it was asked.
struct Stub {
    endpoints: Endpoints,
    base: String,
    asked: Arc<AtomicUsize>,
    serving: JoinHandle<()>,
}

impl Stub {
    async fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(behave(stream, behaviour.clone(), Arc::clone(&count)));
            }
        });
        Self { endpoints: Endpoints::loopback(&base).unwrap(), base, asked, serving }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn exchange(&self) -> Exchange {
        Exchange::new(self.endpoints.clone()).unwrap()
    }

    async fn run<T>(&self, network: Network, talk: Talk<T>) -> Result<T, Failure> {
        self.exchange().run(network, talk).await
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn behave(mut stream: TcpStream, behaviour: Behaviour, asked: Arc<AtomicUsize>) {
    let (mut request, mut chunk) = (Vec::new(), [0; 4096]);
    while !request.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return,
            Ok(length) => request.extend_from_slice(&chunk[..length]),
        }
    }
    asked.fetch_add(1, Ordering::SeqCst);
    match behaviour {
        Behaviour::Says(answer) => {
            // the other side may have heard enough
            let _heard = stream.write_all(&answer).await.is_ok() && stream.shutdown().await.is_ok();
        }
        Behaviour::SaysOnce(answer) => {
            let more = if stream.write_all(&answer).await.is_ok() { stream.read(&mut chunk).await } else { Ok(0) };
            asked.fetch_add(usize::from(more.is_ok_and(|length| length > 0)), Ordering::SeqCst);
        }
        Behaviour::NeverStops(beginning) => {
            let mut more = stream.write_all(&beginning).await;
            while more.is_ok() {
                more = stream.write_all(&[b' '; 4096]).await;
            }
        }
        Behaviour::Drips => {
            let mut more = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n").await;
            while more.is_ok() {
                tokio::time::sleep(Duration::from_millis(100)).await;
                more = stream.write_all(b" ").await;
            }
        }
        Behaviour::Silent => std::future::pending().await,
        Behaviour::HangsUp => {}
    }
}

fn http(head: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn redeem(network: Network) -> Talk<Grant> {
    network.provider().redeem(&app(network), redemption())
}

/// A refresh at X.
fn refresh() -> Talk<Grant> {
    let talk =
        Network::X.provider().refresh(&app(Network::X), &profile(Network::X), &"refresh".into(), Timestamp::UNIX_EPOCH);
    talk.expect("X has refresh tokens")
}

fn identify(network: Network) -> Talk<Identity> {
    network.provider().identify(&app(network), profile(network).kind(), &grant(), Timestamp::UNIX_EPOCH)
}

const TOKEN: &str = r#"{"access_token":"access","refresh_token":"refresh","expires_in":7200,"scope":"users.read"}"#;
const ME: &str = r#"{"data":{"id":"42","name":"News Desk","username":"newsdesk"}}"#;

// S17, S18
#[tokio::test]
async fn no_redirect_is_followed() {
    let trap = Stub::start(Behaviour::Says(http("200 OK", ME))).await;
    for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let head = format!("{status}\r\nlocation: {}/api.x.com/2/users/me", trap.base);
        let network = Stub::start(Behaviour::Says(http(&head, ""))).await;
        for of in Network::ALL {
            assert!(matches!(network.run(of, redeem(of)).await.err(), Some(Failure::Unreadable(_))), "{status}");
            assert!(matches!(network.run(of, identify(of)).await.err(), Some(Failure::Unreadable(_))), "{status}");
            if of.provider().revocation_reach() != Reach::Nothing {
                let revoked = network.run(of, of.provider().revoke(&app(of), &grant(), "42")).await;
                assert!(matches!(revoked, Err(Failure::Unreadable(_))), "{status}");
            }
        }
        assert_eq!(network.asked(), 11, "each was asked once");
    }
    assert_eq!(trap.asked(), 0);
}

// S17, S67
#[tokio::test]
async fn an_answer_is_read_up_to_256_kilobytes_and_no_further() {
    let padded = |size: usize| format!("{ME}{}", " ".repeat(size - ME.len()));
    for (answer, name) in [
        (http("200 OK", &padded(256 * 1024)), Some("News Desk")),
        (http("200 OK", &padded(256 * 1024 + 1)), None),
        (http("500 Broken", &padded(256 * 1024 + 1)), None),
    ] {
        let network = Stub::start(Behaviour::Says(answer)).await;
        let me = network.run(Network::X, identify(Network::X)).await;
        assert_eq!(me.ok().map(|identity| identity.account.name).as_deref(), name);
    }
    let endless = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{ME}").into_bytes();
    let network = Stub::start(Behaviour::NeverStops(endless)).await;
    assert!(matches!(network.run(Network::X, identify(Network::X)).await, Err(Failure::Unreadable(_))));
}

// S17, S66
#[tokio::test]
async fn a_network_that_is_silent_or_slow_is_given_up() {
    let (silent, dripping) = (Stub::start(Behaviour::Silent).await, Stub::start(Behaviour::Drips).await);
    // its queue of connections is full: another one does not come to stand
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let full = socket.listen(0).unwrap();
    let address = full.local_addr().unwrap();
    let _waiting = TcpStream::connect(address).await.unwrap();
    let unreachable = Exchange::new(Endpoints::loopback(&format!("http://{address}")).unwrap()).unwrap();

    let exchange = silent.exchange();
    let (unanswered, endless, unrefreshed, unconnected) = tokio::join!(
        exchange.run(Network::X, redeem(Network::X)),
        dripping.run(Network::X, redeem(Network::X)),
        exchange.refresh(Network::X, refresh()),
        unreachable.refresh(Network::X, refresh()),
    );
    for sent in [unanswered, endless, unrefreshed] {
        assert_eq!(sent.err(), Some(Failure::Unanswered));
    }
    assert_eq!(unconnected.err(), Some(Failure::Unavailable), "nothing was sent");
    assert_eq!((silent.asked(), dripping.asked()), (2, 1));
}

#[tokio::test]
async fn a_network_that_was_not_reached_is_told_from_one_that_did_not_answer() {
    let nobody = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap();
    let exchange = Exchange::new(Endpoints::loopback(&format!("http://{nobody}")).unwrap()).unwrap();
    assert_eq!(exchange.refresh(Network::X, refresh()).await.err(), Some(Failure::Unavailable), "refused");
    assert_eq!(exchange.run(Network::X, identify(Network::X)).await.err(), Some(Failure::Unavailable), "refused");

    let half = |head: &str, body: &str| format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}").into_bytes();
    for lost in [
        Behaviour::HangsUp,
        Behaviour::Says(b"no HTTP".to_vec()),
        Behaviour::Says(b"HTTP/1.1 200 OK\r\ncontent-le".to_vec()),
        Behaviour::Says(half("content-length: 100", "{\"access_token\":")),
        Behaviour::Says(half("transfer-encoding: chunked", "f\r\n{\"access_token\"")),
    ] {
        let network = Stub::start(lost).await;
        assert_eq!(network.exchange().refresh(Network::X, refresh()).await.err(), Some(Failure::Unanswered));
        assert_eq!(network.asked(), 1, "a refresh token is sent once");
    }
    for (said, meaning) in [("503 Busy", Failure::Unavailable), ("502 Bad Gateway", Failure::Unanswered)] {
        let network = Stub::start(Behaviour::Says(http(said, ""))).await;
        assert_eq!(network.exchange().refresh(Network::X, refresh()).await.err(), Some(meaning), "{said}");
        assert_eq!(network.asked(), 1, "a refresh token is sent once");
    }
}

// S55
#[tokio::test]
async fn a_request_is_sent_on_a_connection_of_its_own_and_never_by_the_client_again() {
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{TOKEN}", TOKEN.len()).into_bytes();
    let network = Stub::start(Behaviour::SaysOnce(answer)).await;
    let exchange = network.exchange();
    for refreshes in 1..=3 {
        // on the connection of the one before it would be lost, with a refresh token in it
        assert!(exchange.refresh(Network::X, refresh()).await.is_ok());
        assert_eq!(network.asked(), refreshes);
    }
}

// S52, S55
#[tokio::test]
async fn only_a_question_that_changes_nothing_is_asked_again() {
    for (behaviour, failure) in [
        (Behaviour::HangsUp, Failure::Unanswered),
        (Behaviour::Says(http("503 Busy", "")), Failure::Unavailable),
        (Behaviour::Says(b"no HTTP".to_vec()), Failure::Unanswered),
    ] {
        for of in Network::ALL {
            let network = Stub::start(behaviour.clone()).await;
            assert_eq!(network.run(of, redeem(of)).await.err(), Some(failure));
            assert_eq!(network.asked(), 1, "a code is sent once");
            assert_eq!(network.run(of, identify(of)).await.err(), Some(failure));
            assert_eq!(network.asked(), 4, "who it is may be asked three times");
            if of.provider().revocation_reach() != Reach::Nothing {
                let revoked = network.run(of, of.provider().revoke(&app(of), &grant(), "42")).await;
                assert_eq!(revoked.err(), Some(failure));
                assert_eq!(network.asked(), 5, "a revocation has its own way to be repeated");
            }
        }
    }
}

// S18
#[tokio::test]
async fn a_conversation_reaches_the_hosts_of_its_own_network_alone() {
    let network = Stub::start(Behaviour::Says(http("200 OK", ME))).await;
    let crossed = network.run(Network::Facebook, identify(Network::X)).await;
    assert_eq!((crossed.err(), network.asked()), (Some(Failure::Unavailable), 0));
}
