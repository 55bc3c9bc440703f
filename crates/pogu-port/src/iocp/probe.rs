//! What the system does when the memory of an operation goes while it is in flight.

use std::net::{TcpListener, TcpStream};
use std::io::{Read, Write};
use std::time::Duration;
use std::sync::Arc;
use std::collections::VecDeque;
use socket2::Socket;
use windows_sys::Win32::Networking::WinSock::*;
use windows_sys::Win32::System::IO::{OVERLAPPED, GetQueuedCompletionStatusEx, OVERLAPPED_ENTRY, CreateIoCompletionPort};
use windows_sys::Win32::Foundation::INVALID_HANDLE_VALUE;
use std::os::windows::io::AsRawSocket;

fn region(bytes: usize) -> *mut u8 {
    use windows_sys::Win32::System::Memory::*;
    unsafe { VirtualAlloc(std::ptr::null(), bytes, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE).cast() }
}
fn shut(p: *mut u8, bytes: usize) {
    use windows_sys::Win32::System::Memory::*;
    let mut old = 0;
    assert!(unsafe { VirtualProtect(p.cast(), bytes, PAGE_NOACCESS, &mut old) } != 0);
}

#[test]
#[ignore]
fn child() {
    let case = std::env::var("POGU_PROBE").unwrap();
    let l = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut peer = TcpStream::connect(l.local_addr().unwrap()).unwrap();
    let (s, _) = l.accept().unwrap();
    let raw = s.as_raw_socket() as SOCKET;
    unsafe {
        let port = CreateIoCompletionPort(INVALID_HANDLE_VALUE, std::ptr::null_mut(), 0, 1);
        CreateIoCompletionPort(raw as *mut _, port, 7, 0);
        let op = region(4096).cast::<OVERLAPPED>();
        let mem = region(8 << 20);
        let mut flags = Box::new(0u32);
        let wait = |ms| {
            let mut e = [OVERLAPPED_ENTRY::default(); 4];
            let mut n = 0;
            let ok = GetQueuedCompletionStatusEx(port, e.as_mut_ptr(), 4, &mut n, ms, 0);
            println!("wait: ok {ok} n {n} status {:#x} bytes {} overlapped {}", e[0].Internal, e[0].dwNumberOfBytesTransferred, !e[0].lpOverlapped.is_null());
        };
        match case.as_str() {
            "overlapped" => {
                let b = WSABUF { len: 0, buf: mem };
                let r = WSARecv(raw, &b, 1, std::ptr::null_mut(), &mut *flags, op, None);
                println!("WSARecv {r} {}", WSAGetLastError());
                shut(op.cast(), 4096);
                peer.write_all(b"hello").unwrap();
                wait(1000);
            }
            "receive" => {
                let b = WSABUF { len: 4096, buf: mem };
                let r = WSARecv(raw, &b, 1, std::ptr::null_mut(), &mut *flags, op, None);
                println!("WSARecv {r} {}", WSAGetLastError());
                shut(mem, 8 << 20);
                peer.write_all(b"hello").unwrap();
                wait(1000);
            }
            "receive-call" => {
                peer.write_all(b"hello").unwrap();
                std::thread::sleep(Duration::from_millis(50));
                shut(mem, 8 << 20);
                let r = recv(raw, mem, 100, 0);
                println!("recv {r} {}", WSAGetLastError());
            }
            "send-call" => {
                shut(mem, 8 << 20);
                let b = WSABUF { len: 100, buf: mem };
                let r = WSASend(raw, &b, 1, std::ptr::null_mut(), 0, op, None);
                println!("WSASend {r} {}", WSAGetLastError());
                wait(300);
            }
            "send" => {
                let b = WSABUF { len: 8 << 20, buf: mem };
                let r = WSASend(raw, &b, 1, std::ptr::null_mut(), 0, op, None);
                println!("WSASend {r} {}", WSAGetLastError());
                wait(300);
                shut(mem, 8 << 20);
                peer.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
                let mut v = vec![0; 16 << 20]; let mut t = 0;
                while let Ok(n) = peer.read(&mut v) { if n == 0 { break } t += n; }
                println!("peer read {t}");
                wait(1000);
            }
            _ => panic!(),
        }
        println!("alive");
    }
}

#[test]
fn probe() {
    for case in ["overlapped", "receive", "receive-call", "send-call", "send"] {
        let out = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "iocp::probe::child", "--ignored", "--nocapture", "--test-threads=1"]).env("POGU_PROBE", case).output().unwrap();
        println!("== {case}: {:?}\n{}\n{}", out.status.code(), String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    }
}
