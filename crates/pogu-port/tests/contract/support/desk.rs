//! Submit calls, watched by the checker.

use std::net::SocketAddr;

use pogu_port::{
    BoundListener, ConnectionId, Detached, Gather, ListenerId, Operations, Owner, Refused, StreamOptions, SubmitError,
};

use super::checker::Checker;

const LISTENER: Owner = Owner(1);
const CONNECTION: Owner = Owner(2);

/// See the [module](self).
pub struct Desk<'a, 'b> {
    pub operations: &'a mut Operations<'b>,
    pub checker: &'a mut Checker,
}

impl Desk<'_, '_> {
    pub fn listen(&mut self, listener: BoundListener) -> ListenerId {
        let listener = self.operations.listen(LISTENER, listener).expect("the port listens");
        self.checker.listens(listener, LISTENER);
        listener
    }

    pub fn adopt(&mut self, stream: Detached) -> ConnectionId {
        self.adopt_with(stream, &StreamOptions::default()).expect("the port adopts")
    }

    pub fn adopt_with(
        &mut self,
        stream: Detached,
        options: &StreamOptions,
    ) -> Result<ConnectionId, Box<Refused<Detached>>> {
        let sends = stream.unsent_bytes() > 0;
        let connection = self.operations.adopt(CONNECTION, stream, options)?;
        self.checker.opened(connection, CONNECTION, false, sends);
        Ok(connection)
    }

    pub fn connect(&mut self, address: SocketAddr) -> ConnectionId {
        let connection = self.operations.connect(CONNECTION, address, &StreamOptions::default()).expect("it starts");
        self.checker.opened(connection, CONNECTION, true, false);
        connection
    }

    pub fn receive(&mut self, connection: ConnectionId) -> Result<(), SubmitError> {
        self.operations.receive(connection)?;
        self.checker.received_is_on(connection);
        Ok(())
    }

    pub fn pause(&mut self, connection: ConnectionId) -> Result<(), SubmitError> {
        self.operations.pause(connection)?;
        self.checker.paused(connection);
        Ok(())
    }

    pub fn send(&mut self, connection: ConnectionId, bytes: &[u8]) {
        let mut gather = Gather::new();
        gather.push(bytes);
        self.send_gather(connection, gather).expect("nothing is in flight");
    }

    pub fn send_gather(&mut self, connection: ConnectionId, gather: Gather) -> Result<(), Refused<Gather>> {
        self.operations.send(connection, gather)?;
        self.checker.sends(connection);
        Ok(())
    }

    pub fn shut(&mut self, connection: ConnectionId) -> Result<(), SubmitError> {
        self.operations.shut(connection)
    }

    pub fn close(&mut self, connection: ConnectionId) -> Result<(), SubmitError> {
        self.operations.close(connection)?;
        self.checker.ends(connection);
        Ok(())
    }

    pub fn abort(&mut self, connection: ConnectionId) -> Result<(), SubmitError> {
        self.operations.abort(connection)?;
        self.checker.ends(connection);
        Ok(())
    }

    pub fn detach(&mut self, connection: ConnectionId) -> Result<(), SubmitError> {
        self.operations.detach(connection)?;
        self.checker.ends(connection);
        Ok(())
    }
}
