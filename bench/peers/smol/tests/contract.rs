//! This peer keeps the contract of all peers (`bench/peers/README.md`).

#[test]
fn all_promises_are_kept() {
    peer_contract::assert_kept(env!("CARGO_BIN_EXE_peer-smol"));
}
