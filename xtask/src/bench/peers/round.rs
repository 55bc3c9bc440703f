//! Who runs after whom, and which runs are a pair.
//!
//! ```text
//!   one setting of pogu       P a b P c d P e        each peer stands directly before or behind a run of pogu
//!   two settings              P a Q b P c Q d P      each peer stands between the two
//! ```
//!
//! So half as many runs of pogu do as there are pairs, and what else the machine does falls on both sides of each. From round
//! to round the peers move on by one place, so that none is always the first.

use super::super::contender::Contender;
use super::super::load::Run;

/// The runs of one round, one after the other.
#[derive(Clone, Debug, Default)]
pub struct Round {
    pub runs: Vec<Run>,
}

/// Two runs, one right after the other.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'a> {
    pub pogu: &'a Run,
    pub other: &'a Run,
}

/// The order of round `number` (from 0).
pub fn order(settings: &[Contender], others: &[Contender], number: usize) -> Vec<Contender> {
    let mut others = others.to_vec();
    let places = others.len().max(1);
    others.rotate_left(number % places);
    match settings {
        [only] => beside_one(*only, &others),
        // Which of the two begins changes, too.
        [one, other] if number.is_multiple_of(2) => between_two([*one, *other], &others),
        [one, other] => between_two([*other, *one], &others),
        _ => others,
    }
}

fn beside_one(pogu: Contender, others: &[Contender]) -> Vec<Contender> {
    let mut order = vec![pogu];
    for pair in others.chunks(2) {
        order.extend(pair);
        // Of a single one the run before is the neighbour.
        order.extend((pair.len() == 2).then_some(pogu));
    }
    order
}

fn between_two(pogu: [Contender; 2], others: &[Contender]) -> Vec<Contender> {
    let mut turns = pogu.into_iter().cycle();
    let mut order: Vec<Contender> = others.iter().flat_map(|other| turns.next().into_iter().chain([*other])).collect();
    order.extend(turns.next());
    if others.is_empty() {
        order.extend(turns.next());
    }
    order
}

impl Round {
    /// The pair of `other` and of `pogu`, if both have run side by side.
    pub fn pair(&self, pogu: Contender, other: Contender) -> Option<Pair<'_>> {
        let at = self.runs.iter().position(|run| run.contender == other)?;
        let neighbours = [at.checked_sub(1), at.checked_add(1)].into_iter().flatten();
        let beside = neighbours.filter_map(|index| self.runs.get(index)).find(|run| run.contender == pogu)?;
        Some(Pair { pogu: beside, other: self.runs.get(at)? })
    }

    pub fn of(&self, contender: Contender) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(move |run| run.contender == contender)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::contender::{Peer, Setting};
    use super::super::super::load::tests::run_of;
    use super::*;

    const PEERS: [Peer; 5] = [Peer::Tokio, Peer::Smol, Peer::Asio, Peer::Libuv, Peer::Limit];

    fn contenders(count: usize) -> Vec<Contender> {
        PEERS.iter().take(count).map(|peer| Contender::Peer(*peer)).collect()
    }

    fn ran(order: Vec<Contender>) -> Round {
        Round { runs: order.into_iter().map(|contender| run_of(contender, |_| {})).collect() }
    }

    #[test]
    fn each_peer_has_a_neighbour_of_each_setting_in_every_round() {
        let two = [Contender::window(0), Contender::window(10)];
        for settings in [&two[..1], &two] {
            for (count, number) in (1..=5).flat_map(|count| (0..6).map(move |number| (count, number))) {
                let others = contenders(count);
                let round = ran(order(settings, &others, number));
                for (pogu, other) in settings.iter().flat_map(|pogu| others.iter().map(move |other| (pogu, other))) {
                    let pair = round.pair(*pogu, *other).expect("a pair");
                    assert_eq!((pair.pogu.contender, pair.other.contender), (*pogu, *other));
                }
                for contender in &others {
                    assert_eq!(round.of(*contender).count(), 1);
                }
            }
        }
    }

    #[test]
    fn pogu_runs_half_as_often_as_its_peers_beside_one_setting() {
        let pogu = Contender::Pogu(Setting::default());
        let shown = |count| {
            let order = order(&[pogu], &contenders(count), 0);
            order.iter().map(|contender| if contender.is_pogu() { 'P' } else { 'x' }).collect::<String>()
        };
        assert_eq!([shown(0), shown(1), shown(4), shown(5)], ["P", "Px", "PxxPxxP", "PxxPxxPx"]);
    }

    #[test]
    fn two_settings_take_turns_and_change_who_begins() {
        let (one, two) = (Contender::window(0), Contender::window(10));
        let others = contenders(2);
        assert_eq!(order(&[one, two], &others, 0), [one, others[0], two, others[1], one]);
        assert_eq!(order(&[one, two], &others, 1), [two, others[1], one, others[0], two]);
        assert_eq!(order(&[one, two], &[], 0), [one, two]);
    }

    #[test]
    fn runs_that_are_not_neighbours_are_no_pair() {
        let pogu = Contender::window(0);
        let [a, b, c] = [0, 1, 2].map(|index| contenders(3)[index]);
        let round = ran(vec![pogu, a, b, c]);
        assert!(round.pair(pogu, a).is_some());
        assert!(round.pair(pogu, b).is_none() && round.pair(pogu, c).is_none());
        assert!(round.pair(Contender::window(10), a).is_none());
    }
}
