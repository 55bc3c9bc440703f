//! Sessions that tell their names, for tests that reach them from elsewhere.

use std::sync::mpsc::{Receiver, Sender, channel};

use pogu::{Cause, Context, Incoming, Packet, ServiceHandle, Session, SessionId, SessionRef};

use super::support::{ECHO, PATIENCE};

/// Says hello to its peer and its name to the test, echoes, and keeps count.
pub struct Named {
    names: Sender<SessionRef<Named>>,
    ends: Sender<Cause>,
    pub packets: u32,
}

impl Session for Named {
    fn on_connected(&mut self, cx: &mut Context<'_>) {
        cx.send(ECHO, b"hello");
        let _ = self.names.send(cx.reference(self));
    }

    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        self.packets += 1;
        cx.send(packet.id(), packet.body());
    }

    fn on_disconnected(&mut self, _cx: &mut Context<'_>, cause: &Cause) {
        let _ = self.ends.send(cause.clone());
    }
}

/// What the sessions of one factory tell.
pub struct Told {
    names: Receiver<SessionRef<Named>>,
    ends: Receiver<Cause>,
}

impl Told {
    pub fn name(&self) -> SessionRef<Named> {
        self.names.recv_timeout(PATIENCE).expect("a name")
    }

    pub fn end(&self) -> Cause {
        self.ends.recv_timeout(PATIENCE).expect("an end")
    }

    pub fn ends_so_far(&self) -> Vec<Cause> {
        self.ends.try_iter().collect()
    }
}

pub fn named() -> (impl Fn(Incoming) -> Named + Clone + Send + Sync + 'static, Told) {
    let ((names, told), (ends, ended)) = (channel(), channel());
    let make = move |_| Named { names: names.clone(), ends: ends.clone(), packets: 0 };
    (make, Told { names: told, ends: ended })
}

/// Asks for the names of a service's sessions; they come, in order, with how many workers could not be asked.
pub fn ask(service: &ServiceHandle) -> Receiver<(Vec<SessionId>, usize)> {
    let (answer, answered) = channel();
    let outcome = service.enumerate(move |list| {
        let mut sessions = list.sessions;
        sessions.sort();
        let _ = answer.send((sessions, list.workers_missed.len()));
    });
    assert!(outcome.is_posted(), "{outcome:?}");
    answered
}
