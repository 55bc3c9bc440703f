//! Where a bot goes, and what else it does.
//!
//! ```text
//!   of 1,000 actions on the map:  5 EXIT (the next one is an ENTER)   20 CHAT   30 leaps, of up to the longest step
//!   all others are steps of up to 1.5 m along each axis; every fifth bot dances to and fro on a border of its cell instead
//! ```
//!
//! All bots keep to a square in the middle of the map, as large as the swarm needs for each to see some twenty others.

use super::super::check::mixed;
use crate::plaza::{CELL_SIDE, HYSTERESIS, MAP_SIDE, Request, STEP_MAX, Spot};

/// Of so many actions ...
const ACTIONS: u64 = 1000;
const EXITS: u64 = 5;
const CHATS: u64 = 20;
const LEAPS: u64 = 30;

/// One of so many bots dances on borders.
const DANCERS: u64 = 5;

/// The longest step of one that walks, along one axis: ten times a second that is 15 m/s.
const PACE_MAX: i32 = 150;

/// Ground for each bot: of the nine cells of 16 m, which one sees, so many fit 24 bots.
const GROUND_PER_BOT: u64 = 960_000;

/// The square that the bots keep to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ground {
    first: i32,
    side: i32,
}

impl Ground {
    /// For so many bots.
    pub(super) fn of(bots: usize) -> Ground {
        let side = (bots as u64).saturating_mul(GROUND_PER_BOT).isqrt();
        let side = i32::try_from(side).unwrap_or(MAP_SIDE).clamp(CELL_SIDE, MAP_SIDE);
        Ground { first: (MAP_SIDE - side) / 2, side }
    }

    fn keep(self, coordinate: i32) -> i32 {
        coordinate.clamp(self.first, self.first + self.side - 1)
    }
}

/// What one bot does, one action after the other.
#[derive(Clone, Debug)]
pub(super) struct Stroll {
    ground: Ground,
    random: u64,
    is_dancer: bool,
    at: Option<Spot>,
}

impl Stroll {
    /// Of the bot with this number in a run.
    pub(super) fn new(ground: Ground, run: u64, number: usize) -> Stroll {
        let random = mixed(run ^ mixed(number as u64));
        Stroll { ground, random, is_dancer: random.is_multiple_of(DANCERS), at: None }
    }

    /// True from an ENTER to the next EXIT.
    pub(super) fn is_on_map(&self) -> bool {
        self.at.is_some()
    }

    /// The next action. A CHAT's text is a number of up to 64 bits.
    pub(super) fn next(&mut self) -> Request<u64> {
        let Some(at) = self.at else {
            let spot = Spot { x: self.somewhere(), y: self.somewhere() };
            self.at = Some(spot);
            return Request::Enter(spot);
        };
        let draw = self.draw() % ACTIONS;
        if draw < EXITS {
            self.at = None;
            return Request::Exit;
        }
        if draw < EXITS + CHATS {
            return Request::Chat(self.draw());
        }
        let spot = match draw < EXITS + CHATS + LEAPS {
            true => Spot { x: self.step(at.x, STEP_MAX), y: self.step(at.y, STEP_MAX) },
            false if self.is_dancer => Spot { x: self.dance(at.x), y: self.step(at.y, PACE_MAX) },
            false => Spot { x: self.step(at.x, PACE_MAX), y: self.step(at.y, PACE_MAX) },
        };
        self.at = Some(spot);
        Request::Walk(spot)
    }

    fn draw(&mut self) -> u64 {
        self.random = mixed(self.random);
        self.random
    }

    fn somewhere(&mut self) -> i32 {
        let Ground { first, side } = self.ground;
        first + (self.draw() % u64::from(side.unsigned_abs())) as i32
    }

    fn step(&mut self, from: i32, most: i32) -> i32 {
        let step = (self.draw() % (2 * u64::from(most.unsigned_abs()) + 1)) as i32 - most;
        self.ground.keep(from + step)
    }

    /// Around the nearest border, exactly as far as a cell is kept, or a little farther.
    fn dance(&mut self, from: i32) -> i32 {
        const PLACES: [i32; 6] = [-HYSTERESIS - 1, -HYSTERESIS, -1, 0, HYSTERESIS, HYSTERESIS + 1];
        let border = (from + CELL_SIDE / 2).div_euclid(CELL_SIDE) * CELL_SIDE;
        let place = PLACES.get(self.draw() as usize % PLACES.len()).copied().unwrap_or(0);
        self.ground.keep(border + place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_one_that_the_server_allows() {
        for bots in [1, 300, 5_000, 200_000] {
            let ground = Ground::of(bots);
            for number in 0..20 {
                let mut stroll = Stroll::new(ground, 3, number);
                let mut at: Option<Spot> = None;
                let mut seen = [0; 4];
                for _ in 0..3_000 {
                    let request = stroll.next();
                    match (request, at) {
                        (Request::Enter(spot), None) => at = Some(spot),
                        (Request::Walk(spot), Some(from)) => {
                            assert!(spot.is_within_step_of(from));
                            at = Some(spot);
                        }
                        (Request::Exit, Some(_)) => at = None,
                        (Request::Chat(_), Some(_)) => {}
                        wrong => panic!("{wrong:?}"),
                    }
                    assert!(at.is_none_or(Spot::is_on_map));
                    let kind = match request {
                        Request::Enter(_) => 0,
                        Request::Walk(_) => 1,
                        Request::Chat(_) => 2,
                        Request::Exit => 3,
                    };
                    seen[kind] += 1;
                }
                assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
            }
        }
    }

    #[test]
    fn the_ground_grows_with_the_swarm_up_to_the_map() {
        let side = |bots| Ground::of(bots).side;
        assert_eq!([side(1), side(400), side(1_000_000)], [CELL_SIDE, 19_595, MAP_SIDE]);
    }
}
