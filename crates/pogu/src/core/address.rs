//! From a service's words to addresses and sockets, with errors that name what is wrong.

use std::net::SocketAddr;

use pogu_port::{BoundListener, Selection};

use crate::error::{Error, Result};
use crate::heartbeat::{Answer, Heartbeat};
use crate::service::{Role, Service};

/// Bytes of a heartbeat's body: what a send queue holds without an allocation of its own.
const HEARTBEAT_BYTES_MAX: usize = 1000;

const NOT_EMPTY: &str = "1 byte or more, where the frame format adds none";

pub(super) fn check(service: &Service) -> Result<()> {
    service.format.validate()?;
    let limits = &service.limits;
    limits.check()?;
    if let Some(heartbeat) = &service.heartbeat {
        check_heartbeat(service, heartbeat)?;
    }
    if let Some(answer) = service.answer {
        check_answer(service, answer)?;
    }
    check_refusal(service)?;
    if let Some(reconnect) = &service.reconnect {
        reconnect.check()?;
    }
    match (service.role, service.sessions) {
        (Role::Server, _) if service.reconnect.is_some() => {
            let value = "given".to_owned();
            return Err(Error::Configuration { field: "reconnect", value, allowed: "for a client service only" });
        }
        (Role::Server, Some(sessions)) => {
            let value = sessions.to_string();
            return Err(Error::Configuration { field: "sessions", value, allowed: "for a client service only" });
        }
        (Role::Client, Some(sessions)) if sessions > limits.sessions_max => {
            let value = sessions.to_string();
            return Err(Error::Configuration { field: "sessions", value, allowed: "at most sessions_max" });
        }
        _ => {}
    }
    Ok(())
}

fn check_heartbeat(service: &Service, heartbeat: &Heartbeat) -> Result<()> {
    let refuse = |field, value: String, allowed| Err(Error::Configuration { field, value, allowed });
    if heartbeat.interval.is_zero() {
        return refuse("the heartbeat's interval", "0".to_owned(), "more than 0");
    }
    if heartbeat.pong_timeout.is_some_and(|timeout| timeout.is_zero()) {
        return refuse("the heartbeat's timeout", "0".to_owned(), "more than 0");
    }
    let ids = [("the heartbeat's ping id", Some(heartbeat.ping_id)), ("the heartbeat's pong id", heartbeat.pong_id)];
    let fits = |id: u16| id <= service.format.id_max();
    if let Some((field, Some(id))) = ids.into_iter().find(|(_, id)| id.is_some_and(|id| !fits(id))) {
        return refuse(field, id.to_string(), "what fits the id field of the frame format");
    }
    let bytes = heartbeat.body.len();
    match service.format.encode(heartbeat.ping_id, &heartbeat.body, &mut Vec::new()) {
        Ok(0) => refuse("the heartbeat's body", format!("{bytes} bytes"), NOT_EMPTY),
        Ok(_) if bytes <= HEARTBEAT_BYTES_MAX => Ok(()),
        _ => refuse("the heartbeat's body", format!("{bytes} bytes"), "at most 1000, and what a frame can carry"),
    }
}

/// Two sides that answer each other's answers would never stop.
fn check_answer(service: &Service, answer: Answer) -> Result<()> {
    let refuse = |field, id: u16, allowed| Err(Error::Configuration { field, value: id.to_string(), allowed });
    for (field, id) in [("the answer's ping id", answer.ping_id), ("the answer's pong id", answer.pong_id)] {
        if id > service.format.id_max() {
            return refuse(field, id, "what fits the id field of the frame format");
        }
    }
    if answer.pong_id == answer.ping_id {
        return refuse("the answer's pong id", answer.pong_id, "another id than the ping's");
    }
    if service.heartbeat.as_ref().is_some_and(|heartbeat| heartbeat.pong_id == Some(answer.ping_id)) {
        return refuse("the answer's ping id", answer.ping_id, "another id than that of the heartbeat's pong");
    }
    Ok(())
}

fn check_refusal(service: &Service) -> Result<()> {
    let Some((id, body)) = service.full.packet() else { return Ok(()) };
    if id > service.format.id_max() {
        let (value, allowed) = (id.to_string(), "what fits the id field of the frame format");
        return Err(Error::Configuration { field: "the refusal's packet id", value, allowed });
    }
    match service.format.encode(id, body, &mut Vec::new()) {
        Ok(0) => {
            let value = format!("{} bytes", body.len());
            Err(Error::Configuration { field: "the refusal's body", value, allowed: NOT_EMPTY })
        }
        Ok(_) => Ok(()),
        Err(_) => {
            let (value, allowed) = (format!("{} bytes", body.len()), "what a frame can carry");
            Err(Error::Configuration { field: "the refusal's body", value, allowed })
        }
    }
}

pub(super) fn bind(selection: &Selection, service: &Service) -> Result<(BoundListener, SocketAddr)> {
    if service.role != Role::Server {
        let reason = "a client service connects: start it with `connect`".to_owned();
        return Err(Error::Address { address: service.address.clone(), reason });
    }
    let mut refused = None;
    for address in resolve(selection, &service.address)? {
        match selection.bind(address, &service.listen) {
            Ok(listener) => {
                let bound = listener.local_address();
                return Ok((listener, bound));
            }
            Err(error) => refused = Some(Error::Listen { address, error }),
        }
    }
    Err(refused.unwrap_or_else(|| nothing_there(&service.address)))
}

fn resolve(selection: &Selection, address: &str) -> Result<Vec<SocketAddr>> {
    selection
        .resolve(address)
        .map_err(|error| Error::Address { address: address.to_owned(), reason: error.to_string() })
}

fn nothing_there(address: &str) -> Error {
    Error::Address { address: address.to_owned(), reason: "the name has no address".to_owned() }
}
