//! Promises about answers: frames and rooms.

use std::path::Path;

use crate::client::{Client, ECHO, SAY, frame, join};
use crate::server::Server;
use crate::{Failure, Verdict, ensure};

/// Messages that each speaker says; all that are on their way fit in what a peer lets wait.
const MESSAGES: u16 = 500;

pub fn echoes_frames_that_come_together(program: &Path) -> Verdict {
    let server = Server::start(program)?;
    let mut client = Client::connect(server.address)?;
    let small = (0..200u8).flat_map(|size| frame(ECHO, &vec![size; usize::from(size)])).collect::<Vec<u8>>();
    client.ask(&small)?;
    let smallest = frame(ECHO, &[]).repeat(1000);
    client.ask(&smallest)?;
    client.ask(&small)
}

pub fn echoes_frames_that_come_in_pieces(program: &Path) -> Verdict {
    let server = Server::start(program)?;
    let mut client = Client::connect(server.address)?;
    let (before, largest) = (frame(ECHO, b"before"), frame(ECHO, &pattern(65_531)));
    for whole in [frame(ECHO, b"in pieces"), largest.clone()] {
        for cut in [1, 2, 3, 4, 5, whole.len() / 2, whole.len() - 1] {
            // The answer to the frame before tells that the piece behind it has been received.
            client.send(&[&before, &whole[..cut]].concat())?;
            client.expect(&before)?;
            client.send(&whole[cut..])?;
            client.expect(&whole)?;
        }
    }
    client.ask(&[&before[..], &largest, &before, &largest].concat())
}

/// Bytes that differ from their neighbours and from those a frame away.
fn pattern(count_bytes: usize) -> Vec<u8> {
    (0..count_bytes).map(|place| (place % 251) as u8).collect()
}

pub fn has_one_order_for_a_room(program: &Path) -> Verdict {
    let server = Server::start(program)?;
    order_holds_in(&server)?;
    let cut_off = server.stop()?;
    ensure(cut_off == 0, || format!("{cut_off} sessions were ended that read"))
}

/// Two speak at the same time, and a third one listens: all hear the same. Who is in another room hears nothing.
pub fn order_holds_in(server: &Server) -> Verdict {
    let [first, second, listener] = [(); 3].map(|()| Client::joined(server.address, 7));
    let mut members = [first?, second?, listener?];
    let mut stranger = Client::joined(server.address, 8)?;
    for speaker in [0, 1] {
        members[speaker].send(&messages(speaker as u8).concat())?;
    }
    let heard_bytes = 2 * messages(0).concat().len();
    let heard = members.iter_mut().map(|member| member.receive(heard_bytes)).collect::<Result<Vec<_>, Failure>>()?;
    ensure(heard.iter().all(|one| *one == heard[0]), || "two members heard different orders".to_owned())?;
    for speaker in [0, 1] {
        let of_speaker = heard[0].chunks(7).filter(|said| said[4] == speaker).collect::<Vec<_>>();
        ensure(of_speaker == messages(speaker), || "what one speaker said came in another order".to_owned())?;
    }
    // What it gets next is this: nothing was said to it.
    stranger.ask(&frame(ECHO, b"silence"))
}

/// What a speaker says: its number, and the number of the message.
fn messages(speaker: u8) -> Vec<Vec<u8>> {
    let message = |number: u16| frame(SAY, &[&[speaker][..], &number.to_le_bytes()].concat());
    (0..MESSAGES).map(message).collect()
}

pub fn moves_between_rooms(program: &Path) -> Verdict {
    let server = Server::start(program)?;
    let (mut mover, mut stayer) = (Client::joined(server.address, 7)?, Client::joined(server.address, 7)?);
    let said = frame(SAY, b"to whom is here");
    mover.ask(&said)?;
    stayer.expect(&said)?;
    mover.ask(&join(8))?;
    // Neither hears the other one any more; each hears itself.
    stayer.ask(&said)?;
    mover.ask(&frame(SAY, b"elsewhere"))?;
    stayer.ask(&frame(ECHO, b"silence"))?;
    mover.ask(&join(7))?;
    stayer.ask(&said)?;
    mover.expect(&said)
}
