//! A peer of threads, right but for one fault: two threads per connection, and a bounded queue between them.

use std::collections::HashMap;
use std::io::{BufWriter, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::exit;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use signal_hook::consts::SIGTERM;
use signal_hook::iterator::Signals;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    None,
    SilentName,
    TakesNonsense,
    RefusesWithOne,
    EndsWithOne,
    AltersEmpty,
    AltersLarge,
    /// The third member of a room hears the first message behind the second.
    Swaps,
    /// In its old room, too.
    Stays,
    AnswersViolations,
    SaysGoodbye,
    DiesOfResets,
    DiesWithoutDescriptors,
}

const QUEUE_FRAMES: usize = 4096;

static CUT_OFF: AtomicU64 = AtomicU64::new(0);

struct Connection {
    stream: TcpStream,
    is_cut_off: AtomicBool,
}

#[derive(Clone)]
struct Member {
    connection: Arc<Connection>,
    queue: SyncSender<Vec<u8>>,
}

impl Member {
    fn push(&self, frame: Vec<u8>) {
        if let Err(TrySendError::Full(_)) = self.queue.try_send(frame)
            && !self.connection.is_cut_off.swap(true, Ordering::Relaxed)
        {
            CUT_OFF.fetch_add(1, Ordering::Relaxed);
            // It may have gone by itself.
            let _ = self.connection.stream.shutdown(Shutdown::Both);
        }
    }

    fn is(&self, other: &Member) -> bool {
        Arc::ptr_eq(&self.connection, &other.connection)
    }
}

#[derive(Default)]
struct Room {
    members: Vec<Member>,
    delayed: Option<Vec<u8>>,
    said: usize,
}

type Rooms = Mutex<HashMap<u32, Room>>;

fn locked(rooms: &Rooms) -> MutexGuard<'_, HashMap<u32, Room>> {
    rooms.lock().unwrap_or_else(PoisonError::into_inner)
}

pub fn serve(fault: Fault) {
    let mut arguments = std::env::args().skip(1);
    let mut listen = String::new();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--listen" => listen = arguments.next().unwrap_or_default(),
            _ if fault == Fault::TakesNonsense && argument == "--nonsense" => {}
            _ => {
                eprintln!("{argument} is refused");
                exit(if fault == Fault::RefusesWithOne { 1 } else { 2 });
            }
        }
    }
    let mut signals = Signals::new([SIGTERM]).expect("a signal");
    let listener = TcpListener::bind(listen).expect("an address");
    let name = if fault == Fault::SilentName { "" } else { "faulty" };
    println!("{name} serves on {}, 1 workers", listener.local_addr().expect("it is bound"));
    thread::spawn(move || accept(&listener, fault));
    signals.forever().next();
    println!("{} sessions did not read and were ended", CUT_OFF.load(Ordering::Relaxed));
    exit(i32::from(fault == Fault::EndsWithOne));
}

fn accept(listener: &TcpListener, fault: Fault) {
    let rooms: Arc<Rooms> = Arc::default();
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                let rooms = Arc::clone(&rooms);
                thread::spawn(move || session(stream, &rooms, fault));
            }
            Err(_) if fault == Fault::DiesWithoutDescriptors => exit(3),
            Err(_) => thread::yield_now(),
        }
    }
}

fn session(stream: TcpStream, rooms: &Rooms, fault: Fault) {
    stream.set_nodelay(true).expect("an open socket");
    let connection = Arc::new(Connection { stream, is_cut_off: AtomicBool::new(false) });
    let (queue, frames) = sync_channel(QUEUE_FRAMES);
    let member = Member { connection: Arc::clone(&connection), queue };
    thread::spawn(move || drain(&connection.stream, &frames));
    let mut room = None;
    let ended = read(&member, rooms, &mut room, fault).map_err(|error| error.kind());
    leave(&member, rooms);
    match (fault, ended, room) {
        (Fault::DiesOfResets, Err(ErrorKind::ConnectionReset), Some(_)) => exit(3),
        (Fault::SaysGoodbye, Err(ErrorKind::UnexpectedEof), None) => member.push(b"goodbye".to_vec()),
        _ => {}
    }
}

fn leave(member: &Member, rooms: &Rooms) {
    locked(rooms).values_mut().for_each(|room| room.members.retain(|other| !other.is(member)));
}

fn drain(stream: &TcpStream, frames: &Receiver<Vec<u8>>) {
    let mut writer = BufWriter::new(stream);
    while let Ok(frame) = frames.recv() {
        let mut written = writer.write_all(&frame);
        while let Ok(frame) = frames.try_recv() {
            written = written.and_then(|()| writer.write_all(&frame));
        }
        if written.and_then(|()| writer.flush()).is_err() {
            break;
        }
    }
    // Who has gone hears of no end.
    let _ = stream.shutdown(Shutdown::Both);
}

fn read(member: &Member, rooms: &Rooms, room: &mut Option<u32>, fault: Fault) -> std::io::Result<()> {
    let mut stream = &member.connection.stream;
    loop {
        let mut frame = vec![0; 4];
        stream.read_exact(&mut frame)?;
        let [size, id] = [[frame[0], frame[1]], [frame[2], frame[3]]].map(u16::from_le_bytes);
        let is_violation = size < 4 || !(1..=3).contains(&id) || (id, *room) == (2, None);
        if is_violation && fault == Fault::AnswersViolations {
            member.push(frame.clone());
        }
        if is_violation {
            return Ok(());
        }
        frame.resize(usize::from(size), 0);
        stream.read_exact(&mut frame[4..])?;
        match (id, *room) {
            (1, _) => *room = Some(join(member, rooms, frame, fault)),
            (2, Some(room)) => say(locked(rooms).entry(room).or_default(), &frame, fault),
            _ => member.push(altered(frame, fault)),
        }
    }
}

fn join(member: &Member, rooms: &Rooms, frame: Vec<u8>, fault: Fault) -> u32 {
    if fault != Fault::Stays {
        leave(member, rooms);
    }
    let room = frame[4..].try_into().map(u32::from_le_bytes).expect("a room is four bytes");
    locked(rooms).entry(room).or_default().members.push(member.clone());
    member.push(frame);
    room
}

fn say(room: &mut Room, frame: &[u8], fault: Fault) {
    room.said += 1;
    for (place, member) in room.members.iter().enumerate() {
        match (fault, place, room.said) {
            (Fault::Swaps, 2, 1) => room.delayed = Some(frame.to_vec()),
            _ => member.push(frame.to_vec()),
        }
        if place == 2 && room.said == 2 {
            room.delayed.take().into_iter().for_each(|delayed| member.push(delayed));
        }
    }
}

fn altered(mut frame: Vec<u8>, fault: Fault) -> Vec<u8> {
    match (fault, frame.len()) {
        (Fault::AltersEmpty, 4) => frame[2] ^= 1,
        (Fault::AltersLarge, 60_000..) => frame[50_000] ^= 1,
        _ => {}
    }
    frame
}
