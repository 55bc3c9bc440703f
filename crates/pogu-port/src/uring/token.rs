//! What travels through the kernel with every operation and comes back with its completion: which kind of operation it
//! was, and the name of what it belongs to. A completion whose name has become stale is late, and is told apart by its
//! generation.
//!
//! ```text
//!   63        56 55                32 31                    0
//!   [   kind    |     generation     |         slot         ]
//! ```
//!
//! A request to cancel travels as the token of what it cancels, with one more bit.

use crate::identity::Name;

/// Accepts that one listener can have outstanding; each has a number, which travels in the kind.
pub(super) const ACCEPTS_MAX: u8 = 32;

const GENERATION_BITS: u32 = 24;
const FIRST_ACCEPT: u8 = 0x80;
const CANCEL_OF: u64 = 0x40 << 56;

/// The kind of an operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// The read of the eventfd that ends a wait.
    Wake,
    /// A request to cancel another operation.
    Cancel,
    Receive,
    Send,
    Connect,
    /// One of the accepts of a listener: its number.
    Accept(u8),
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Wake => "wake",
            Kind::Cancel => "cancel",
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
}

impl Token {
    pub(super) const WAKE: Token = Token { kind: Kind::Wake, name: Name { slot: 0, generation: 0 } };
    pub(super) const CANCEL: Token = Token { kind: Kind::Cancel, name: Name { slot: 0, generation: 0 } };

    pub(super) const fn receive(name: Name) -> Token {
        Token { kind: Kind::Receive, name }
    }

    pub(super) const fn send(name: Name) -> Token {
        Token { kind: Kind::Send, name }
    }

    pub(super) const fn connect(name: Name) -> Token {
        Token { kind: Kind::Connect, name }
    }

    pub(super) const fn accept(name: Name, number: u8) -> Token {
        Token { kind: Kind::Accept(number), name }
    }

    pub(super) fn encode(self) -> u64 {
        let kind = match self.kind {
            Kind::Wake => 1,
            Kind::Cancel => 2,
            Kind::Receive => 3,
            Kind::Send => 4,
            Kind::Connect => 5,
            Kind::Accept(number) => FIRST_ACCEPT | number,
        };
        u64::from(kind) << 56 | u64::from(self.name.generation) << 32 | u64::from(self.name.slot)
    }

    /// What the request to cancel `target` carries.
    pub(super) fn cancel_of(target: u64) -> u64 {
        target | CANCEL_OF
    }

    /// What the request that carried `user_data` was to cancel, if it was one.
    pub(super) fn target_of_cancel(user_data: u64) -> Option<Token> {
        if user_data & CANCEL_OF == 0 { None } else { Token::decode(user_data ^ CANCEL_OF) }
    }

    /// `None` if no operation of this driver carries such a value.
    pub(super) fn decode(user_data: u64) -> Option<Token> {
        if let Some(Token { name, .. }) = Token::target_of_cancel(user_data) {
            return Some(Token { kind: Kind::Cancel, name });
        }
        let [kind, ..] = user_data.to_be_bytes();
        let generation = (user_data >> 32) as u32 & ((1 << GENERATION_BITS) - 1);
        let kind = match kind {
            1 => Kind::Wake,
            2 => Kind::Cancel,
            3 => Kind::Receive,
            4 => Kind::Send,
            5 => Kind::Connect,
            accept if (FIRST_ACCEPT..FIRST_ACCEPT + ACCEPTS_MAX).contains(&accept) => {
                Kind::Accept(accept - FIRST_ACCEPT)
            }
            _ => return None,
        };
        Some(Token { kind, name: Name { slot: user_data as u32, generation } })
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
            let cancel = Token::cancel_of(Token::send(name).encode());
            assert_eq!(Token::target_of_cancel(cancel), Some(Token::send(name)));
            assert_eq!(Token::decode(cancel), Some(Token { kind: Kind::Cancel, name }));
            assert_eq!(Token::target_of_cancel(Token::CANCEL.encode()), None);
            let others = [Token::receive(name), Token::send(name), Token::connect(name), Token::WAKE, Token::CANCEL];
            for token in others.into_iter().chain(accepts) {
                assert_eq!(Token::decode(token.encode()), Some(token));
            }
        }
        assert_eq!(Token::decode(0), None);
        assert_eq!(Token::decode(u64::MAX), None);
    }
}
