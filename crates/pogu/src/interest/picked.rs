//! Those of a grid's list to whom something can be sent.

use std::fmt;

/// A list made from a grid's: of players and monsters in one [`Grid`](super::Grid), the sessions of the players. It is kept
/// between two uses, so nothing is allocated while lists are as long as before.
///
/// ```no_run
/// use pogu::interest::{Grid, Picked, Position};
/// use pogu::{Context, Delivery, SessionId};
///
/// #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
/// enum Being {
///     Player(SessionId),
///     Monster(u32),
/// }
///
/// impl Being {
///     fn session(self) -> Option<SessionId> {
///         if let Being::Player(session) = self { Some(session) } else { None }
///     }
/// }
///
/// /// A monster walks: the players who see it are told, other monsters are not.
/// fn walk(cx: &mut Context<'_>, world: &mut Grid<Being>, players: &mut Picked<SessionId>, monster: u32, to: Position) {
///     let Ok(change) = world.move_to(Being::Monster(monster), to) else { return };
///     for (id, viewers) in [(20, change.begin), (21, change.go_on), (22, change.cease)] {
///         let _ = cx.send_to_many(players.of(viewers, Being::session), Delivery::PROMPT, id, &monster.to_le_bytes());
///     }
/// }
/// ```
#[derive(Clone)]
pub struct Picked<T> {
    list: Vec<T>,
}

impl<T> Picked<T> {
    /// With nothing in it.
    pub fn new() -> Picked<T> {
        Picked { list: Vec::new() }
    }

    /// What `pick` makes of these keys, in their order, without those of which it makes nothing. What was there before is gone.
    pub fn of<K: Copy>(&mut self, keys: &[K], pick: impl FnMut(K) -> Option<T>) -> &[T] {
        self.list.clear();
        self.list.extend(keys.iter().copied().filter_map(pick));
        &self.list
    }
}

impl<T> Default for Picked<T> {
    fn default() -> Picked<T> {
        Picked::new()
    }
}

impl<T> fmt::Debug for Picked<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Picked").field("len", &self.list.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interest::{Grid, GridConfig, Position};

    /// Players are even numbers, monsters odd ones.
    fn player(being: u32) -> Option<u32> {
        being.is_multiple_of(2).then_some(being * 100)
    }

    #[test]
    fn of_those_who_see_a_step_the_players_are_picked_and_nothing_is_left_from_before() {
        let mut world = Grid::new(GridConfig::new(10.0), 7).expect("values that make sense");
        let at = |x: i32| Position::new(x, 0).expect("finite");
        for (beings, x) in [(0..6, 5), (6..10, 45)] {
            beings.for_each(|being| assert!(world.enter(being, at(x)).is_ok()));
        }
        let mut players = Picked::new();
        let change = world.move_to(1, at(45)).expect("it is inside");
        assert_eq!(change.cease.len(), 5);
        assert_eq!(sorted(players.of(change.cease, player)), [0, 200, 400]);
        assert_eq!(sorted(players.of(change.begin, player)), [600, 800]);
        assert_eq!(players.of(change.go_on, player), [0; 0]);
    }

    fn sorted(list: &[u32]) -> Vec<u32> {
        let mut list = list.to_vec();
        list.sort_unstable();
        list
    }
}
