//! After a proxy nothing is left. Alone in its process: others would open descriptors of their own meanwhile.
#![cfg(target_os = "linux")]

mod support;

use std::io::Write;

use pogu_chaos::{Mistreatment, Proxy};
use support::{Target, connect, on_each_driver};

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("Linux has it").count()
}

#[test]
fn a_stopped_proxy_gives_every_descriptor_back_whatever_its_pairs_were_doing() {
    // Nothing is cut, so that every pair is there to the end.
    let mistreatment = Mistreatment { resets_per_minute: 0.0, half_closes_per_minute: 0.0, ..Mistreatment::default() };
    on_each_driver(|driver| {
        // A first one, for what the process opens once.
        for round in 0..3 {
            let before = descriptors();
            let target = Target::bind();
            let proxy = Proxy::start(&target.name(), driver, mistreatment.clone()).expect("a proxy");
            let ends: Vec<_> = (0..50).map(|_| (connect(&proxy), target.accept())).collect();
            for (index, (client, server)) in ends.iter().enumerate() {
                let mut end = if index % 2 == 0 { client } else { server };
                end.write_all(&[1; 5_000]).expect("connected");
            }
            let account = if round == 1 {
                drop(proxy);
                None
            } else {
                Some(proxy.stop().expect("an account"))
            };
            drop((ends, target));
            if let Some(account) = account {
                assert_eq!((account.counts.accepted, account.counts.stopped), (50, 50), "{account:?}");
            }
            assert!(round == 0 || descriptors() == before, "{before} before, {} after", descriptors());
        }
    });
}
