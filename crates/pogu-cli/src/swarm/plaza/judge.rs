//! Whether every bot heard exactly what it had to hear.
//!
//! ```text
//!   bots, in their workers                 the judge, in a thread of its own, every 20 ms
//!
//!   asked: WALK          --notes-->        acknowledged actions by their order    4 5 6 _ 8 9
//!   heard: WALKED 5, VANISHED 5                replayed up to the first that may yet come ^
//!                                              --> what each bot has to hear of them (Sight), against what it heard (Ear)
//! ```
//!
//! Every action of a bot is acknowledged with its order, so the judge can do them all once more, one after the other.
//! It may go on as long as no acknowledgement with a smaller order can come. One that is outstanding has a larger order
//! than everything that its bot has heard, and than everything that anybody had heard before it was asked for; so has
//! one that will be asked for. Orders that nobody acknowledges are actions of players who are not of this swarm, or
//! ends of bots that were cut off, or of one that has left: see [`departure`].
//!
//! "Before it was asked for" is known to the judge in rounds: workers write their notes independently, but what all of
//! them had written two rounds ago was there before anything that one of them wrote in this round.
//!
//! What is kept is bounded by how far the slowest answer is behind; [`Judge::waiting`] tells, and the bots wait when it
//! is too much.

mod departure;

use std::collections::{BTreeMap, VecDeque};
use std::mem::discriminant;

use super::counts::Counts;
use super::ear::{Ear, Heard, Right};
use super::findings::{Finding, Wrong};
use super::sight::{Change, Sight, Standing};
use crate::plaza::{Request, What};
use departure::Departure;

/// What a bot writes down. Of texts their hashes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Note {
    /// It asks for this.
    Asked(Request<u64>),
    Heard(Heard),
    /// It is going to end its connection. It has all of its answers, and asks again over another connection.
    Left,
    /// It has ended before it was asked to.
    CutOff,
}

/// See the [module](self).
pub(super) struct Judge {
    bots: Vec<Bot>,
    sight: Sight,
    /// Actions by their order, those that have not been replayed.
    acknowledged: BTreeMap<u64, Act>,
    /// Everything before it has been replayed.
    replayed_until: u64,
    /// The bot that is away, if one is.
    departure: Departure,
    /// How many have come back.
    returned: u64,
    /// Nobody was cut off, whose end would be an order that nobody acknowledges, too.
    knows_all_orders: bool,
    /// Bots that were cut off and whose last actions have not been replayed.
    leaving: Vec<u32>,
    /// The largest order that anybody has heard of: until now, until the last round, and until the one before.
    newest: [u64; 3],
    change: Change,
    counts: Counts,
    right: Right,
    wrong: Wrong,
    /// What bots that were cut off still had to hear.
    unanswered: u64,
}

#[derive(Default)]
struct Bot {
    ear: Ear,
    /// Without an answer, oldest first; with the largest order that anybody had heard of before.
    asked: VecDeque<(Request<u64>, u64)>,
    entity: Option<u32>,
    heard_until: u64,
    acknowledged_until: u64,
    is_cut_off: bool,
}

#[derive(Clone, Copy)]
struct Act {
    bot: u32,
    entity: u32,
    request: Request<u64>,
}

/// What came of it.
pub(super) struct Verdict {
    pub(super) counts: Counts,
    pub(super) right: u64,
    /// Lost, duplicated, reordered, altered, foreign.
    pub(super) wrong: [u64; 5],
    pub(super) unanswered: u64,
}

impl Judge {
    /// For so many bots, who are alone on the plaza or not.
    pub(super) fn new(bots: usize, is_alone: bool) -> Judge {
        Judge {
            bots: (0..bots).map(|_| Bot::default()).collect(),
            sight: Sight::new(bots),
            acknowledged: BTreeMap::new(),
            replayed_until: 0,
            departure: Departure::None,
            returned: 0,
            knows_all_orders: true,
            leaving: Vec::new(),
            newest: [0; 3],
            change: Change::default(),
            counts: Counts::default(),
            right: Right::default(),
            wrong: Wrong::new(is_alone),
            unanswered: 0,
        }
    }

    /// Takes what bots have written since the last round: all of one worker behind each other, in the order of writing.
    pub(super) fn note(&mut self, number: u32, note: Note) {
        let Some(bot) = self.bots.get_mut(number as usize).filter(|bot| !bot.is_cut_off) else { return };
        match note {
            Note::Asked(request) => bot.asked.push_back((request, self.newest[2])),
            Note::Heard(event) => self.heard(number, event),
            Note::Left => self.left(number),
            Note::CutOff => self.cut_off(number),
        }
    }

    /// Goes on as far as is certain. At the end of a round.
    pub(super) fn advance(&mut self) {
        let [newest, last, _] = self.newest;
        self.newest = [newest, newest, last];
        self.replay(self.certain_until());
        for bot in &mut self.bots {
            bot.ear.compare(self.replayed_until, &mut self.right, &mut self.wrong);
        }
    }

    /// What is kept: actions, what bots have to hear or have heard, and the end of one that has left.
    pub(super) fn waiting(&self) -> usize {
        let of_bots: usize = self.bots.iter().map(|bot| bot.asked.len() + bot.ear.waiting()).sum();
        self.acknowledged.len() + of_bots + usize::from(matches!(self.departure, Departure::Left { .. }))
    }

    /// How many bots have left and come back, as far as is known.
    pub(super) fn returned(&self) -> u64 {
        self.returned
    }

    /// True if an order that nobody acknowledges can only be the end of a bot that has left.
    pub(super) fn knows_all_orders(&self) -> bool {
        self.knows_all_orders
    }

    /// What was heard that had to be heard, so far.
    pub(super) fn right(&self) -> u64 {
        self.right.due + self.right.walks
    }

    /// Nothing more will come.
    pub(super) fn end(mut self) -> Verdict {
        for bot in &mut self.bots {
            // Before it has entered it has no entity: the number is that of none.
            let (entity, order) = (bot.entity.unwrap_or(0), bot.heard_until);
            bot.asked.drain(..).for_each(|_| self.wrong.add(Finding::Lost, entity, order));
        }
        self.replay(u64::MAX);
        self.end_departure();
        self.bots.iter_mut().for_each(|bot| bot.ear.end(&mut self.right, &mut self.wrong));
        let right = self.right();
        let Judge { counts, right: Right { walks, replaced, .. }, wrong, unanswered, .. } = self;
        let counts = Counts { seen_walking: walks, replaced, strangers: wrong.strangers(), ..counts };
        Verdict { counts, right, wrong: wrong.counts(), unanswered }
    }

    fn heard(&mut self, number: u32, event: Heard) {
        self.newest[0] = self.newest[0].max(event.order);
        let Some(bot) = self.bots.get_mut(number as usize) else { return };
        bot.heard_until = bot.heard_until.max(event.order);
        bot.ear.hear(event);
        let is_own = bot.entity == Some(event.entity);
        let answered = match event.what {
            What::Entered(spot) => Request::Enter(spot),
            What::Walked(spot) if is_own => Request::Walk(spot),
            What::Said(text) if is_own => Request::Chat(text),
            What::Exited if is_own => Request::Exit,
            What::Appeared(_) => return self.counts.appeared += 1,
            What::Vanished => return self.counts.vanished += 1,
            _ => return,
        };
        // What comes too late to be an answer is found to be foreign when it is compared, and its action to be lost.
        if event.order >= self.replayed_until && !self.acknowledged.contains_key(&event.order) {
            self.acknowledge(number, event, answered);
        }
    }

    fn acknowledge(&mut self, number: u32, Heard { order, entity, .. }: Heard, answered: Request<u64>) {
        let Some(bot) = self.bots.get_mut(number as usize) else { return };
        // An answer that says something else is that of the oldest action all the same: what is wrong with it is found
        // when it is compared.
        let is_like = |asked: Request<u64>| discriminant(&asked) == discriminant(&answered);
        let exact = bot.asked.iter().position(|(request, _)| *request == answered);
        let place = exact.or_else(|| bot.asked.front().filter(|(request, _)| is_like(*request)).map(|_| 0));
        let Some(place) = place else { return };
        bot.asked.drain(..place).for_each(|_| self.wrong.add(Finding::Lost, entity, order));
        let Some((request, _)) = bot.asked.pop_front() else { return };
        match request {
            Request::Enter(_) => {
                bot.entity = Some(entity);
                self.wrong.own(entity);
            }
            Request::Exit => bot.entity = None,
            Request::Walk(_) | Request::Chat(_) => {}
        }
        bot.acknowledged_until = order;
        self.acknowledged.insert(order, Act { bot: number, entity, request });
    }

    fn cut_off(&mut self, number: u32) {
        let Some(bot) = self.bots.get_mut(number as usize) else { return };
        bot.is_cut_off = true;
        if bot.asked.iter().any(|(request, _)| matches!(request, Request::Enter(_))) {
            self.wrong.excuse_strangers();
        }
        self.knows_all_orders = false;
        self.excuse_departure();
        let Some(bot) = self.bots.get_mut(number as usize) else { return };
        self.unanswered += (bot.asked.len() + bot.ear.owed()) as u64;
        bot.asked.clear();
        bot.ear = Ear::default();
        if let Some(entity) = bot.entity {
            self.wrong.cut_off(entity, bot.acknowledged_until);
        }
        self.leaving.push(number);
    }

    /// No acknowledgement with a smaller order can come.
    fn certain_until(&self) -> u64 {
        let before = |bot: &Bot| match bot.asked.front() {
            Some((_, known)) => bot.heard_until.max(*known),
            None => self.newest[2],
        };
        let present = self.bots.iter().filter(|bot| !bot.is_cut_off);
        present.map(before).min().map_or(u64::MAX, |order| order.saturating_add(1))
    }

    fn replay(&mut self, until: u64) {
        while let Some((order, act)) = self.acknowledged.pop_first() {
            if order >= until {
                self.acknowledged.insert(order, act);
                break;
            }
            self.depart_before(order, Some(act.bot));
            self.forget_those_who_left(order);
            self.act(order, act);
            self.replayed_until = self.replayed_until.max(order.saturating_add(1));
        }
        self.forget_those_who_left(until);
        if until < u64::MAX {
            self.depart_before(until, None);
            self.replayed_until = self.replayed_until.max(until);
        }
    }

    /// Those who were cut off are gone, at the latest before an action with this order.
    fn forget_those_who_left(&mut self, order: u64) {
        let Judge { bots, leaving, sight, change, .. } = self;
        leaving.retain(|bot| {
            let is_later = bots.get(*bot as usize).is_some_and(|bot| bot.acknowledged_until >= order);
            if !is_later {
                sight.exit(*bot, change);
            }
            is_later
        });
    }

    /// Does an action once more.
    fn act(&mut self, order: u64, act: Act) {
        let Act { bot, entity, request } = act;
        let change = &mut self.change;
        match request {
            Request::Enter(spot) => {
                self.sight.enter(bot, entity, spot, change);
                self.returned += u64::from(self.departure.ends_with(bot));
            }
            Request::Walk(spot) => self.sight.walk(bot, spot, change),
            Request::Chat(_) => self.sight.speak(bot, change),
            Request::Exit => {
                self.sight.exit(bot, change);
                self.wrong.leave(entity);
            }
        }
        self.counts.count(&request, self.change.begin.len() + self.change.go_on.len());
        self.owe_actor(order, act);
        self.owe_others(order, act);
    }

    /// What the one that acts has to hear: first its answer, then of others in the order of their entities.
    fn owe_actor(&mut self, order: u64, Act { bot, entity, request }: Act) {
        let Judge { bots, sight, change, .. } = self;
        let Some(actor) = bots.get_mut(bot as usize).filter(|bot| !bot.is_cut_off) else { return };
        let (answer, sees_others) = match request {
            Request::Enter(spot) => (What::Entered(spot), true),
            Request::Walk(spot) => (What::Walked(spot), true),
            Request::Chat(text) => (What::Said(text), false),
            Request::Exit => (What::Exited, false),
        };
        actor.ear.owe(Heard { order, entity, what: answer });
        if !sees_others {
            return;
        }
        let sorted = |list: &[u32]| {
            let mut others: Vec<Standing> = list.iter().filter_map(|other| sight.standing(*other)).collect();
            others.sort_unstable_by_key(|other| other.entity);
            others
        };
        for Standing { entity, .. } in sorted(&change.cease) {
            actor.ear.owe(Heard { order, entity, what: What::Vanished });
        }
        for Standing { entity, spot, .. } in sorted(&change.begin) {
            actor.ear.owe(Heard { order, entity, what: What::Appeared(spot) });
        }
    }

    /// What those have to hear who see, saw or begin to see the one that acts.
    fn owe_others(&mut self, order: u64, Act { entity, request, .. }: Act) {
        let Judge { bots, change, .. } = self;
        let mut owe = |others: &[u32], what: What<u64>| {
            for other in others {
                let other = bots.get_mut(*other as usize).filter(|bot| !bot.is_cut_off);
                match (other, what) {
                    (Some(other), What::Walked(spot)) => other.ear.owe_walk(order, entity, spot),
                    (Some(other), what) => other.ear.owe(Heard { order, entity, what }),
                    (None, _) => {}
                }
            }
        };
        owe(&change.cease, What::Vanished);
        match request {
            Request::Enter(spot) => owe(&change.begin, What::Appeared(spot)),
            Request::Walk(spot) => {
                owe(&change.go_on, What::Walked(spot));
                owe(&change.begin, What::Appeared(spot));
            }
            Request::Chat(text) => owe(&change.go_on, What::Said(text)),
            Request::Exit => {}
        }
    }
}

#[cfg(test)]
mod tests;
