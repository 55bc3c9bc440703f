//! What the set-up runs to see that Windows programs are built and run. No part of the tasks.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

fn main() {
    std::panic::set_hook(Box::new(|_| {}));
    let caught = std::panic::catch_unwind(|| panic!("on purpose"));
    let listener = TcpListener::bind("127.0.0.1:0").expect("an address is free");
    let address = listener.local_addr().expect("it is bound");
    let client = std::thread::spawn(move || {
        let mut stream = TcpStream::connect(address).expect("somebody listens");
        stream.write_all(std::env::consts::OS.as_bytes()).expect("somebody reads");
    });
    let mut heard = String::new();
    listener.accept().expect("a client comes").0.read_to_string(&mut heard).expect("it speaks");
    client.join().expect("it has spoken");
    // Its keys are shuffled by a seed of the system's.
    let words = HashMap::from([(caught.is_err(), heard)]);
    println!("this is {}", words[&true]);
}
