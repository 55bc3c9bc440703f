//! Two servers in one process, linked by a client service. A player logs in at one and is handed a ticket for the other.
//!
//! ```text
//!   player --LOGIN name--> login server --TICKET number, name--> [link] --> game server      (remembers it)
//!   player <--TICKET number-- login server <--TICKET number-- [link] <------/                (only then)
//!   player --ENTER number--> game server --WELCOME name-->                                    (a ticket lets in one)
//! ```
//!
//! `cargo run --example login_and_game`

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pogu::{Cause, Context, Core, Heartbeat, Packet, Reconnect, Service, Session, SessionId, Time};

const LOGIN: u16 = 1;
const TICKET: u16 = 2;
const ENTER: u16 = 3;
const WELCOME: u16 = 4;
const PING: u16 = 900;
const PONG: u16 = 901;

/// A ticket that nobody uses is void after this time.
const TICKET_LIFETIME: Duration = Duration::from_secs(10);

/// Tickets that may wait for their players. More logins than that are asked to come again.
const TICKETS_MAX: usize = 10_000;

/// What the game server knows: who may come in with which ticket, and until when.
type Tickets = Arc<Mutex<HashMap<u64, (String, Time)>>>;

/// What the login server knows: its link to the game server, and whom each ticket is for.
#[derive(Default)]
struct Office {
    link: Option<SessionId>,
    asked: HashMap<u64, SessionId>,
}

/// A player at the login server.
struct Visitor {
    office: Arc<Mutex<Office>>,
    asked: Option<u64>,
}

impl Session for Visitor {
    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        if packet.id() != LOGIN || packet.body().is_empty() || packet.body().len() > 32 {
            return cx.violation(packet.id(), "expected 1 (LOGIN) with a name of 1 to 32 bytes");
        }
        let mut office = self.office.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(earlier) = self.asked {
            office.asked.remove(&earlier);
        }
        let Some(link) = office.link.filter(|_| office.asked.len() < TICKETS_MAX) else {
            return cx.disconnect("the game server cannot be reached just now");
        };
        let ticket = pogu::entropy();
        office.asked.insert(ticket, cx.id());
        self.asked = Some(ticket);
        if !cx.send_to(link, TICKET, &[&ticket.to_le_bytes(), packet.body()].concat()).is_accepted() {
            cx.disconnect("the game server cannot be reached just now");
        }
    }

    fn on_disconnected(&mut self, _cx: &mut Context<'_>, _cause: &Cause) {
        if let Some(asked) = self.asked {
            self.office.lock().unwrap_or_else(PoisonError::into_inner).asked.remove(&asked);
        }
    }
}

/// The login server's end of the link.
struct ToGame {
    office: Arc<Mutex<Office>>,
    linked: Sender<()>,
}

impl Session for ToGame {
    fn on_connected(&mut self, cx: &mut Context<'_>) {
        self.office.lock().unwrap_or_else(PoisonError::into_inner).link = Some(cx.id());
        // Only the first link is waited for.
        let _ = self.linked.send(());
    }

    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        let Ok(ticket) = packet.reader().u64() else { return cx.violation(packet.id(), "expected a ticket") };
        let visitor = self.office.lock().unwrap_or_else(PoisonError::into_inner).asked.remove(&ticket);
        // A visitor who has left meanwhile needs no ticket: sending to a name that is gone reaches nobody.
        if let Some(visitor) = visitor {
            cx.send_to(visitor, TICKET, packet.body());
        }
    }

    fn on_disconnected(&mut self, _cx: &mut Context<'_>, _cause: &Cause) {
        *self.office.lock().unwrap_or_else(PoisonError::into_inner) = Office::default();
    }
}

/// The game server's end of the link.
struct FromLogin(Tickets);

impl Session for FromLogin {
    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        let Some((ticket, name)) = packet.body().split_first_chunk::<8>() else {
            return cx.violation(packet.id(), "expected a ticket and a name");
        };
        let now = cx.now();
        let mut tickets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tickets.retain(|_, (_, until)| *until > now);
        if tickets.len() < TICKETS_MAX {
            let name = String::from_utf8_lossy(name).into_owned();
            tickets.insert(u64::from_le_bytes(*ticket), (name, now + TICKET_LIFETIME));
            cx.send(TICKET, ticket);
        }
    }
}

/// A player at the game server.
struct Player(Tickets);

impl Session for Player {
    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        let ticket = packet.reader().u64().ok().filter(|_| packet.id() == ENTER);
        let mut tickets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let holder = ticket.and_then(|ticket| tickets.remove(&ticket));
        match holder.filter(|(_, until)| *until > cx.now()) {
            Some((name, _)) => drop(cx.send(WELCOME, name.as_bytes())),
            None => cx.violation(packet.id(), "expected 3 (ENTER) with a ticket that is good"),
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let core = Core::start()?;
    let (office, tickets) = (Arc::<Mutex<Office>>::default(), Tickets::default());
    let speaks_first = |address| Service::server(address).clients_speak_first(Duration::from_secs(10));
    let game = core.serve(speaks_first("127.0.0.1:0"), {
        let tickets = Arc::clone(&tickets);
        move |_| Player(tickets.clone())
    })?;
    // Nobody may log in for hours: the answers keep the link from the idle timeouts of both ends.
    let heartbeat = Heartbeat::every(Duration::from_secs(10), PING).pong_required(PONG, Duration::from_secs(20));
    let inner = Service::server("127.0.0.1:0").heartbeat(heartbeat);
    let inner = core.serve(inner, move |_| FromLogin(tickets.clone()))?;
    let link = Service::client(inner.address()).answer_heartbeats(PING, PONG).reconnect(Reconnect::default());
    let (linked, link_made) = channel();
    core.connect(link, {
        let office = Arc::clone(&office);
        move |_| ToGame { office: office.clone(), linked: linked.clone() }
    })?;
    let login = core.serve(speaks_first("127.0.0.1:0"), {
        let office = Arc::clone(&office);
        move |_| Visitor { office: office.clone(), asked: None }
    })?;
    link_made.recv_timeout(Duration::from_secs(10))?;

    let ticket = ask(login.address(), LOGIN, b"Bori")?.expect("a ticket");
    println!("login server {}: a ticket of {} bytes", login.address(), ticket.len());
    let wrong = ask(game.address(), TICKET, &ticket)?;
    println!("the ticket in another packet: {}", if wrong.is_none() { "refused" } else { "let in" });
    let welcome = ask(game.address(), ENTER, &ticket)?.expect("a welcome");
    println!("game server {}: welcome, {}", game.address(), String::from_utf8(welcome)?);
    let again = ask(game.address(), ENTER, &ticket)?;
    println!("the same ticket once more: {}", if again.is_none() { "refused" } else { "let in" });
    core.stop(Duration::from_secs(5))?;
    Ok(())
}

/// A player's program: one packet, one answer; `None` if the server ends the connection instead.
fn ask(server: SocketAddr, id: u16, body: &[u8]) -> std::io::Result<Option<Vec<u8>>> {
    let mut stream = TcpStream::connect(server)?;
    let size = u16::try_from(body.len() + 4).map_err(std::io::Error::other)?;
    stream.write_all(&[&size.to_le_bytes(), &id.to_le_bytes(), body].concat())?;
    let mut header = [0; 4];
    if stream.read(&mut header[..1])? == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut header[1..])?;
    let mut answer = vec![0; usize::from(u16::from_le_bytes([header[0], header[1]])).saturating_sub(4)];
    stream.read_exact(&mut answer)?;
    Ok(Some(answer))
}
