//! Interest management: who sees whom in a world that is too large to tell everybody everything (area of interest, AOI; a
//! sector or zone grid; with a view distance of 1 the "nine cells").
//!
//! N players who all hear of each other's every step cost N x N messages per tick. A [`Grid`] divides the plane into cells and
//! answers, for each step, who begins to see the one that moves, who ceases to, and who goes on: those are told, nobody else.
//!
//! ```text
//!   +---+---+---+---+---+        A is seen from the nine cells    +---+---+---+---+
//!   |   | x | x | x |   |        around its own (view_cells 1)    | c | g | g | b |
//!   +---+---+---+---+---+                                         +---+---+---+---+
//!   |   | x | A | x |   |        A steps to the right:            | c | g | A | b |
//!   +---+---+---+---+---+          c  see it no more (cease)      +---+---+---+---+
//!   |   | x | x | x |   |          g  still see it   (go_on)      | c | g | g | b |
//!   +---+---+---+---+---+          b  begin to       (begin)      +---+---+---+---+
//! ```
//!
//! # What always holds
//!
//! **Two see each other exactly if the cells that they are assigned to are at most `view_cells` apart along both axes.** So
//! sight is mutual, nothing is remembered about pairs, and the lists of a [`Change`] are the difference of before and after.
//!
//! **Along an axis, something keeps its assigned cell until it is more than the hysteresis beyond the cell's border.** So between
//! two changes it has gone farther than the hysteresis: whoever dances on a border makes nobody appear and vanish.
//!
//! ```text
//!         cell 3               |               cell 4
//!   ---------------------------|---------------------------
//!                    |<-- h -->|<-- h -->|
//!                    ^                   ^
//!       from 4 to 3: here             from 3 to 4: here
//! ```
//!
//! What that means in the world's units: two that are nearer than [`GridConfig::seen_within`] along both axes see each other for
//! sure, and two that are farther than [`GridConfig::unseen_beyond`] along one do not. (The world has no border. What is more
//! than 2^30 cells from the origin is in the outermost cell, which has no end.)
//!
//! # How it is used
//!
//! The grid knows keys and cells. Positions, and how fast one may walk, are the game's: a step that is too long is a teleport,
//! which is allowed. One grid is one world (a map, a channel) and lives where its players are handled, in one worker. Where
//! monsters walk among players, [`Picked`] makes of a list the sessions to send to.
//!
//! ```no_run
//! use pogu::interest::{Grid, Position};
//! use pogu::{Context, Delivery, Packet, ReadError, SessionId};
//!
//! const APPEAR: u16 = 20;
//! const MOVE: u16 = 21;
//! const VANISH: u16 = 22;
//!
//! /// A client walks: those who see it are told where it is, those who do not any more to forget it, newcomers what it is.
//! fn on_walk(cx: &mut Context<'_>, world: &mut Grid<SessionId>, packet: Packet<'_>) -> Result<(), ReadError> {
//!     let mut reader = packet.reader();
//!     let (x, y) = (reader.f32()?, reader.f32()?);
//!     let me = cx.id();
//!     let Ok(position) = Position::new(x, y) else {
//!         cx.violation(packet.id(), "coordinates are finite");
//!         return Ok(());
//!     };
//!     let Ok(change) = world.move_to(me, position) else { return Ok(()) };
//!     // One packet for each list. Sight is mutual: who begins to see me is whom I begin to see.
//!     for (id, viewers) in [(APPEAR, change.begin), (MOVE, change.go_on), (VANISH, change.cease)] {
//!         let _ = cx.send_to_many(viewers, Delivery::PROMPT, id, packet.body());
//!     }
//!     Ok(())
//! }
//! ```
//!
//! The same with names that can be read:
//!
//! ```
//! use pogu::interest::{Grid, GridConfig, Position};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut world = Grid::new(GridConfig::new(10.0), pogu::entropy())?;
//! assert!(world.enter("anna", Position::new(5, 5)?)?.begin.is_empty());
//! assert_eq!(world.enter("bela", Position::new(15, 5)?)?.begin, ["anna"]);
//! assert_eq!(world.enter("cyra", Position::new(25, 5)?)?.begin, ["bela"]);
//!
//! let change = world.move_to("bela", Position::new(28, 5)?)?;
//! assert_eq!((change.begin, change.go_on, change.cease), (&[][..], &["cyra"][..], &["anna"][..]));
//!
//! // Back over the border, but not farther than the hysteresis (an eighth of a cell): nothing changes.
//! assert_eq!(world.move_to("bela", Position::new(19, 5)?)?.go_on, ["cyra"]);
//! assert_eq!(world.list_viewers(Position::new(31, 5)?), ["cyra", "bela"]);
//! assert_eq!(world.leave("cyra")?.cease, ["bela"]);
//! # Ok(())
//! # }
//! ```
//!
//! # What it costs
//!
//! A step inside of a cell puts together one list; a step to the next cell looks at two strips of cells besides. A cell without
//! anybody does not exist, so a step into one makes it; otherwise nothing is allocated while lists are as long as before.
//! Memory comes back.
//!
//! 5,000 in one world, one step of one of them: finding whom to tell, and visiting each of those once, without sending. *All
//! pairs* gives the same lists by looking at everybody. The last column is what 5,000 take who step ten times a second.
//!
//! | world (units), cells, step | told | grid | all pairs | share of one core |
//! |---|---:|---:|---:|---:|
//! | field, 1,000 x 1,000, nine cells of 40, step 0.5 | 69 | 0.20 us | 12.5 us | 0.9 % |
//! | field, 25 cells of 24, step 0.5 | 68 | 0.37 us | 12.3 us | 2.1 % |
//! | riders, as the field, step 45: a cell each time | 101 | 0.35 us | 14.6 us | 1.8 % |
//! | market, 240 x 240, nine cells of 40, step 0.5 | 993 | 0.55 us | 31.2 us | 3.0 % |
//!
//! Telling everybody, without a look at where they are, visits 4,999 (1.5 us), and then sends to them: in the field 73 times as
//! much. To find one who is told takes 1 to 6 ns: what is sent to them decides. Who stands in a crowd is seen by the whole crowd,
//! so where thousands may gather in one cell, the game must tell them less often, or make them fewer.
//!
//! The figures are times on a processor of a virtual machine, from `cargo bench --bench interest` in `bench/`, which compares all
//! lists of the two before it measures.

mod cells;
mod change;
mod config;
mod grid;
mod lattice;
mod picked;
mod position;

pub use change::{Change, Event};
pub use config::{GridConfig, VIEW_CELLS_MAX};
pub use grid::{AlreadyInside, Grid, NotInside};
pub use picked::Picked;
pub use position::{NotFinite, Position};
