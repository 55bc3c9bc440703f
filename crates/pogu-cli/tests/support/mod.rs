//! The binary under test as a process, and clients that speak to it through `std::net`.
#![allow(dead_code)] // each test file uses its own part

pub mod simulated;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use pogu::{Core, DriverChoice};

pub const JOIN: u16 = 1;
pub const SAY: u16 = 2;
pub const ECHO: u16 = 3;

/// Nothing under test takes so long.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Nobody listens there. Not a port that was free a moment ago: another test may have it by now, and whoever connects to it may
/// be given it for its own end.
pub const NOBODY: &str = "127.0.0.1:1";

/// The driver that runs on every machine with this system, and one of another system.
pub const PLAIN_DRIVER: &str = if cfg!(windows) { "iocp" } else { "readiness" };
pub const FOREIGN_DRIVER: &str = if cfg!(windows) { "readiness" } else { "iocp" };

/// The drivers that can run here.
pub fn drivers() -> &'static [&'static str] {
    static DRIVERS: LazyLock<Vec<&str>> = LazyLock::new(|| {
        let uring = Core::builder().workers(1).driver(DriverChoice::Uring).start();
        if uring.is_ok() { vec![PLAIN_DRIVER, "uring"] } else { vec![PLAIN_DRIVER] }
    });
    &DRIVERS
}

/// Runs a test once per driver, all at the same time.
pub fn on_each_driver(test: impl Fn(&str) + Sync) {
    std::thread::scope(|scope| {
        for driver in drivers() {
            let test = &test;
            scope.spawn(move || {
                println!("driver {driver}");
                test(driver);
            });
        }
    });
}

pub fn pogu(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pogu"));
    command.args(arguments).stdin(Stdio::null()).env_remove("RUST_LOG");
    command
}

/// Runs the command to its end.
pub fn output(arguments: &[&str]) -> Output {
    pogu(arguments).output().expect("the binary runs")
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The same command as a process that can be interrupted: by signals, or by a program that sends console events.
fn interruptible(arguments: &[&str]) -> Command {
    if !cfg!(windows) {
        return pogu(arguments);
    }
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_pogu"));
    // `cargo test` builds it with everything else.
    let leash = binary.with_file_name("examples").join("leash.exe");
    assert!(leash.exists(), "first run: cargo build --package pogu-port --example leash");
    let mut command = Command::new(leash);
    command.arg(binary).args(arguments).stdin(Stdio::piped()).env_remove("RUST_LOG");
    command
}

/// What a person at a terminal does, and what a system does that stops a service. On Windows: Ctrl-C and Ctrl-Break.
#[derive(Clone, Copy, Debug)]
pub enum Interruption {
    CtrlC,
    Terminate,
}

/// A running command whose output is read line by line.
pub struct Process {
    child: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
}

fn lines(source: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(source).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

impl Process {
    pub fn start(arguments: &[&str]) -> Process {
        let mut child =
            interruptible(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
        let stdout = lines(child.stdout.take().expect("piped"));
        let stderr = lines(child.stderr.take().expect("piped"));
        Process { child, stdout, stderr }
    }

    pub fn line(&self) -> String {
        self.stdout.recv_timeout(PATIENCE).expect("a line on stdout")
    }

    /// Waits for a line on stderr that contains these words.
    pub fn wait_for_error_line(&self, words: &str) {
        self.error_line(words);
    }

    /// The next line on stderr that contains these words.
    pub fn error_line(&self, words: &str) -> String {
        loop {
            let line = self.stderr.recv_timeout(PATIENCE).expect("a line on stderr");
            if line.contains(words) {
                return line;
            }
        }
    }

    #[cfg(unix)]
    pub fn interrupt(&self, interruption: Interruption) {
        use rustix::process::{Pid, Signal, kill_process};
        let signal = match interruption {
            Interruption::CtrlC => Signal::INT,
            Interruption::Terminate => Signal::TERM,
        };
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    #[cfg(windows)]
    pub fn interrupt(&self, interruption: Interruption) {
        self.tell(match interruption {
            Interruption::CtrlC => "ctrl-c",
            Interruption::Terminate => "ctrl-break",
        });
    }

    /// An event of its console. After `close` (its window) and `shutdown` (the machine) it has some seconds left.
    #[cfg(windows)]
    pub fn tell(&self, event: &str) {
        let mut leash = self.child.stdin.as_ref().expect("piped");
        leash.write_all(format!("{event}\n").as_bytes()).expect("it runs");
    }

    /// What it still says until it ends, and its exit code.
    pub fn finish(mut self) -> (String, Option<i32>) {
        let mut rest = Vec::new();
        while let Ok(line) = self.stdout.recv_timeout(PATIENCE) {
            rest.push(line);
        }
        let code = self.child.wait().expect("it was started").code();
        (rest.join("\n"), code)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // On Windows the child is the leash: without its standard input it ends what it holds, and then itself.
        if self.child.stdin.take().is_none() {
            // Harmless once it has been waited for.
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// A `pogu serve` that is ready.
pub struct Server {
    pub process: Process,
    pub ready_line: String,
    pub address: SocketAddr,
}

impl Server {
    pub fn start(driver: &str, more: &[&str]) -> Server {
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--driver", driver, "--workers", "2"];
        let process = Process::start(&[&arguments[..], more].concat());
        let ready_line = process.line();
        let address = ready_line.split([' ', ',']).find_map(|word| word.parse().ok()).expect("an address");
        Server { process, ready_line, address }
    }

    pub fn target(&self) -> String {
        self.address.to_string()
    }

    /// Asks it to stop. Its summary.
    pub fn stop(self) -> String {
        self.process.interrupt(Interruption::Terminate);
        let (summary, code) = self.process.finish();
        assert_eq!(code, Some(0), "{summary}");
        summary
    }
}

/// A client of the course's frames.
pub struct Client {
    pub stream: TcpStream,
}

pub fn frame(id: u16, body: &[u8]) -> Vec<u8> {
    let size = u16::try_from(body.len() + 4).expect("a frame's size");
    [&size.to_le_bytes(), &id.to_le_bytes(), body].concat()
}

impl Client {
    pub fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).expect("a server");
        stream.set_nodelay(true).expect("an option");
        stream.set_read_timeout(Some(PATIENCE)).expect("an option");
        stream.set_write_timeout(Some(PATIENCE)).expect("an option");
        Client { stream }
    }

    pub fn joined(address: SocketAddr, room: u32) -> Client {
        let mut client = Client::connect(address);
        client.join(room);
        client
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server reads");
    }

    pub fn send(&mut self, id: u16, body: &[u8]) {
        self.raw(&frame(id, body));
    }

    /// The next frame; `None` at the end of the stream.
    pub fn receive(&mut self) -> Option<(u16, Vec<u8>)> {
        self.try_receive().expect("a frame or an end, in time and whole")
    }

    pub fn try_receive(&mut self) -> std::io::Result<Option<(u16, Vec<u8>)>> {
        let mut header = [0; 4];
        let began = loop {
            match self.stream.read(&mut header[..1]) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        if began == 0 {
            return Ok(None);
        }
        self.stream.read_exact(&mut header[1..])?;
        let size = usize::from(u16::from_le_bytes([header[0], header[1]]));
        let mut body = vec![0; size - 4];
        self.stream.read_exact(&mut body)?;
        Ok(Some((u16::from_le_bytes([header[2], header[3]]), body)))
    }

    pub fn expect(&mut self, id: u16, body: &[u8]) {
        let (came_id, came_body) = self.receive().expect("the connection lives");
        assert_eq!((came_id, came_body.len()), (id, body.len()));
        assert!(came_body == body, "the body of a frame {id} was altered");
    }

    pub fn expect_end(&mut self) {
        assert_eq!(self.receive(), None, "only the end of the stream was to come");
    }

    /// Leaves in good order, and waits until the server has seen it.
    pub fn leave(mut self) {
        self.stream.shutdown(std::net::Shutdown::Write).expect("connected");
        self.expect_end();
    }

    pub fn join(&mut self, room: u32) {
        self.send(JOIN, &room.to_le_bytes());
        self.expect(JOIN, &room.to_le_bytes());
    }

    /// Sends ECHO and expects it back.
    pub fn echo(&mut self, body: &[u8]) {
        self.send(ECHO, body);
        self.expect(ECHO, body);
    }
}
