//! What travels through the kernel with every operation and comes back with its completion: which kind of operation it
//! was, and the name of what it belongs to. A completion whose name has become stale is late, and is told apart by its
//! generation.
//!
//! ```text
//!   63        56 55                32 31                    0
//!   [   kind    |     generation     |         slot         ]
//!     ^ one bit of it: not the operation, but the request to cancel it
//! ```

use crate::identity::Name;

/// Accepts that one listener can have outstanding; each has a number, which travels in the kind.
pub(super) const ACCEPTS_MAX: u8 = 64;

const GENERATION_BITS: u32 = 24;
const ACCEPT: u8 = 0x80;
const CANCEL: u8 = 0x40;

/// The kind of an operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// No operation, but what a cancel of everything is aimed at.
    Everything,
    /// The read of the eventfd that ends a wait.
    Wake,
    /// The wait for sockets that take bytes again.
    Writable,
    Receive,
    Send,
    Connect,
    /// One of the accepts of a listener: its number.
    Accept(u8),
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Everything => "everything",
            Kind::Wake => "wake",
            Kind::Writable => "writable",
            Kind::Receive => "receive",
            Kind::Send => "send",
            Kind::Connect => "connect",
            Kind::Accept(_) => "accept",
        }
    }
}

/// See the [module](self).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) name: Name,
    /// The request to cancel that operation, rather than the operation.
    pub(super) cancels: bool,
}

/// The name of what belongs to the whole port.
const PORT: Name = Name { slot: 0, generation: 0 };

impl Token {
    pub(super) const WAKE: Token = Token::new(Kind::Wake, PORT);
    pub(super) const WRITABLE: Token = Token::new(Kind::Writable, PORT);
    pub(super) const CANCEL_ALL: Token = Token { kind: Kind::Everything, name: PORT, cancels: true };

    const fn new(kind: Kind, name: Name) -> Token {
        Token { kind, name, cancels: false }
    }

    pub(super) const fn receive(name: Name) -> Token {
        Token::new(Kind::Receive, name)
    }

    pub(super) const fn send(name: Name) -> Token {
        Token::new(Kind::Send, name)
    }

    pub(super) const fn connect(name: Name) -> Token {
        Token::new(Kind::Connect, name)
    }

    pub(super) const fn accept(name: Name, number: u8) -> Token {
        Token::new(Kind::Accept(number), name)
    }

    pub(super) fn encode(self) -> u64 {
        let kind = match self.kind {
            Kind::Everything => 0,
            Kind::Wake => 1,
            Kind::Writable => 2,
            Kind::Receive => 3,
            Kind::Send => 4,
            Kind::Connect => 5,
            Kind::Accept(number) => ACCEPT | number,
        };
        let kind = if self.cancels { kind | CANCEL } else { kind };
        u64::from(kind) << 56 | u64::from(self.name.generation) << 32 | u64::from(self.name.slot)
    }

    /// `None` if no operation of this driver carries such a value.
    pub(super) fn decode(user_data: u64) -> Option<Token> {
        let [byte, ..] = user_data.to_be_bytes();
        let generation = (user_data >> 32) as u32 & ((1 << GENERATION_BITS) - 1);
        let cancels = byte & CANCEL != 0;
        let kind = match byte & !CANCEL {
            0 if cancels => Kind::Everything,
            1 => Kind::Wake,
            2 => Kind::Writable,
            3 => Kind::Receive,
            4 => Kind::Send,
            5 => Kind::Connect,
            accept if (ACCEPT..ACCEPT + ACCEPTS_MAX).contains(&accept) => Kind::Accept(accept - ACCEPT),
            _ => return None,
        };
        Some(Token { kind, name: Name { slot: user_data as u32, generation }, cancels })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_comes_back_as_it_went() {
        let names = [Name { slot: 0, generation: 1 }, Name { slot: u32::MAX - 1, generation: (1 << 24) - 1 }];
        for name in names {
            let accepts = (0..ACCEPTS_MAX).map(|number| Token::accept(name, number));
            let others = [Token::receive(name), Token::send(name), Token::connect(name), Token::WAKE, Token::WRITABLE];
            for token in others.into_iter().chain(accepts) {
                assert_eq!(Token::decode(token.encode()), Some(token));
                let cancel = Token { cancels: true, ..token };
                assert_eq!(Token::decode(cancel.encode()), Some(cancel));
                assert_ne!(cancel.encode(), token.encode());
            }
        }
        assert_eq!(Token::decode(Token::CANCEL_ALL.encode()), Some(Token::CANCEL_ALL));
        assert_eq!(Token::decode(0), None);
        assert_eq!(Token::decode(u64::MAX >> 2), None);
    }
}
