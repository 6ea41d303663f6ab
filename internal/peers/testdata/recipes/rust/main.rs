// SPDX-License-Identifier: Apache-2.0

// Asks itself over TCP, and says what it is made for.
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

fn main() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let mut peer = listener.accept().unwrap().0;
        let mut question = [0; 4];
        peer.read_exact(&mut question).unwrap();
        peer.write_all(b"pong").unwrap();
    });
    let mut peer = TcpStream::connect(address).unwrap();
    peer.write_all(b"ping").unwrap();
    let mut answer = String::new();
    peer.read_to_string(&mut answer).unwrap();
    server.join().unwrap();
    println!("{} from {}", answer, std::env::consts::ARCH);
}
