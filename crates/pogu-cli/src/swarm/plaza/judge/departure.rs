//! The bot that has left the plaza by ending its connection: by which order.
//!
//! ```text
//!   orders     17    18      19       20     21    22
//!   of         WALK  WALK    (none)   CHAT   WALK  ENTER        bot 4 is on the map, leaves, and comes back as another entity
//!   of bot     2     4       .        7      2     4
//!                    last             ^ no acknowledgement with a smaller order can come: so 19 is the end of bot 4
//! ```
//!
//! Nobody acknowledges the end of a connection, but the server does it before it ends its half, and the bot asks for nothing
//! over another connection before it has seen that. So the end is behind the bot's last action and before its next one, and
//! there is one order that nobody acknowledges. If there is none, the world has not put it off the map.
//!
//! Once somebody was cut off there may be other such orders. From then on nothing is found in what comes of one that has left.

use super::super::findings::Finding;
use super::{Act, Judge};
use crate::plaza::Request;

/// See the [module](self).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Departure {
    None,
    /// By which order is not known yet.
    Left {
        bot: u32,
        entity: u32,
        /// Of the last action that it knows of.
        last: u64,
    },
    /// It is off the map, and has not come back.
    Gone {
        bot: u32,
    },
}

impl Departure {
    /// Ends if this bot is the one; says whether it was.
    pub(super) fn ends_with(&mut self, returning: u32) -> bool {
        let is_it = matches!(self, Departure::Gone { bot } if *bot == returning);
        if is_it {
            *self = Departure::None;
        }
        is_it
    }
}

impl Judge {
    /// A bot is ending its connection.
    pub(super) fn left(&mut self, number: u32) {
        let Some(bot) = self.bots.get_mut(number as usize) else { return };
        let last = bot.acknowledged_until;
        self.departure = match bot.entity.take() {
            Some(entity) => Departure::Left { bot: number, entity, last },
            None => Departure::Gone { bot: number },
        };
        if !self.knows_all_orders {
            self.excuse_departure();
        }
    }

    /// What comes of one whose end is not known can be told by nobody.
    pub(super) fn excuse_departure(&mut self) {
        if let Departure::Left { entity, last, .. } = self.departure {
            self.wrong.cut_off(entity, last);
        }
    }

    /// Whatever was before `order` has happened, and everything of it that is acknowledged has been replayed. At `order` this
    /// bot acts, or nobody is known to.
    pub(super) fn depart_before(&mut self, order: u64, actor: Option<u32>) {
        let Departure::Left { bot, entity, last } = self.departure else { return };
        let gap = self.replayed_until.max(last.saturating_add(1));
        if gap < order {
            self.depart(gap);
        } else if actor == Some(bot) && order > last {
            // It is back, and nothing has happened in between.
            self.wrong.add(Finding::Lost, entity, order);
            self.depart(order);
        }
    }

    /// Nothing more will come: what has happened last may have been its end.
    pub(super) fn end_departure(&mut self) {
        let Departure::Left { last, .. } = self.departure else { return };
        self.depart(self.replayed_until.max(last.saturating_add(1)));
    }

    /// Puts it off the map. Those who see it have to hear that.
    fn depart(&mut self, order: u64) {
        let Departure::Left { bot, entity, .. } = self.departure else { return };
        self.departure = Departure::Gone { bot };
        self.sight.exit(bot, &mut self.change);
        self.wrong.leave(entity);
        self.counts.left += 1;
        if let Some(leaver) = self.bots.get_mut(bot as usize) {
            leaver.ear.leave(order, &mut self.right, &mut self.wrong);
        }
        if self.knows_all_orders {
            self.owe_others(order, Act { bot, entity, request: Request::Exit });
        }
    }
}
