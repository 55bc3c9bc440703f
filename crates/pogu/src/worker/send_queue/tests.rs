use super::*;

fn at(milliseconds: u64) -> Time {
    Time::from_nanos(milliseconds * 1_000_000)
}

fn frame(bytes: usize) -> Bytes {
    vec![7; bytes].into()
}

fn order(keep: Keep) -> Order {
    Order { keep, seed: 1 }
}

fn plain() -> Order {
    order(Keep::All)
}

#[test]
fn the_memory_of_an_entry_is_charged() {
    assert!(size_of::<Entry>() <= 16);
    assert!(size_of::<SendQueue>() <= 144, "{}", size_of::<SendQueue>());
}

#[test]
fn every_byte_and_entry_is_charged_until_it_has_left() {
    let mut queue = SendQueue::default();
    queue.push(at(1), &frame(68), plain());
    queue.push(at(2), &frame(5000), plain());
    assert_eq!(queue.charged_bytes(), 68 + FRAME_OVERHEAD_BYTES + 5000 + LARGE_FRAME_OVERHEAD_BYTES);
    let batch = queue.take_batch(Gather::new).expect("something waits");
    assert_eq!((batch.len(), queue.oldest()), (5068, Some(at(1))));
    queue.push(at(3), &frame(10), plain());
    assert!(queue.take_batch(Gather::new).is_none(), "one send at a time");
    assert_eq!(queue.left(4000), Left { bytes: 1068, is_activity: true });
    assert_eq!(queue.charged_bytes(), 4000 + LARGE_FRAME_OVERHEAD_BYTES + 10 + FRAME_OVERHEAD_BYTES);
    assert_eq!((queue.oldest(), queue.frames()), (Some(at(2)), 2));
}

/// However much of a batch has left: what is charged, counted and dated is what a list of single frames says.
#[test]
fn frames_that_share_an_entry_are_charged_and_counted_one_by_one() {
    let heartbeat = 4;
    let frames =
        [(1, 100), (1, 100), (1, 100), (1, heartbeat), (1, heartbeat), (1, 100), (2, 100), (2, 7), (2, 7), (2, 2000)];
    let total: usize = frames.iter().map(|(_, bytes)| bytes).sum();
    for left in 0..=total {
        let mut queue = SendQueue::default();
        for (millisecond, bytes) in frames {
            match bytes == heartbeat {
                true => queue.push_heartbeat(at(millisecond), b"ping"),
                false => _ = queue.push(at(millisecond), &frame(bytes), plain()),
            }
        }
        assert_eq!(queue.entries.iter().count(), 6, "3 x 100, 2 x 4, 100, 100, 2 x 7, 2000");
        assert!(queue.take_batch(Gather::new).is_some());
        queue.left(total - left);
        let (mut gone, mut charged, mut count, mut oldest) = (left, 0, 0, None);
        for (millisecond, bytes) in frames {
            let unsent = bytes - gone.min(bytes);
            gone -= bytes - unsent;
            if unsent > 0 {
                charged += SendQueue::charge_of(bytes) - (bytes - unsent);
                count += usize::from(bytes != heartbeat);
                oldest = oldest.or(Some(at(millisecond)));
            }
        }
        assert_eq!(
            (queue.charged_bytes(), queue.frames(), queue.oldest()),
            (charged, count, oldest),
            "{left} have left"
        );
    }
}

#[test]
fn a_long_queue_leaves_in_batches_and_ages_by_its_oldest_frame() {
    let mut queue = SendQueue::default();
    for millisecond in 0..3000 {
        queue.push(at(millisecond), &frame(100), plain());
    }
    let (mut batches, mut bytes) = (0, 0);
    while let Some(batch) = queue.take_batch(Gather::new) {
        assert!(batch.len() < BATCH_BYTES + pogu_port::SEGMENT_BYTES_MAX);
        assert_eq!(queue.oldest(), Some(at(bytes / 100)), "a frame ages until its last byte has left");
        bytes += batch.len() as u64;
        batches += 1;
        queue.left(0);
    }
    assert_eq!((batches, bytes, queue.charged_bytes(), queue.frames()), (5, 300_000, 0, 0));
    assert!(queue.is_empty());
}

#[test]
fn a_frame_of_no_bytes_is_no_entry() {
    let mut queue = SendQueue::default();
    queue.push(at(1), &frame(10), plain());
    queue.push(at(2), &frame(0), plain());
    queue.push_heartbeat(at(3), b"");
    assert!(queue.encode(at(4), 0, plain(), &mut LargeSpares::default(), |_| Ok::<usize, ()>(0)).is_ok());
    assert_eq!((queue.frames(), queue.charged_bytes()), (1, 10 + FRAME_OVERHEAD_BYTES));
    assert!(queue.take_batch(Gather::new).is_some());
    queue.left(0);
    assert!(queue.is_empty() && queue.is_clean());
}

#[test]
fn a_frame_is_charged_what_was_asked_for_it_whichever_way_it_comes() {
    for bytes in [1, 68, INLINE_MAX - 1, INLINE_MAX, INLINE_MAX + 1, 5000] {
        let expected = bytes + if bytes <= 1024 { FRAME_OVERHEAD_BYTES } else { LARGE_FRAME_OVERHEAD_BYTES };
        assert_eq!(SendQueue::charge_of(bytes), expected);
        let mut pushed = SendQueue::default();
        pushed.push(at(1), &frame(bytes), plain());
        let mut encoded = SendQueue::default();
        let encode = |out: &mut Vec<u8>| {
            out.resize(out.len() + bytes, 7);
            Ok::<usize, ()>(bytes)
        };
        assert!(encoded.encode(at(1), bytes, plain(), &mut LargeSpares::default(), encode).is_ok());
        for queue in [&mut pushed, &mut encoded] {
            assert_eq!(queue.charged_bytes(), expected, "{bytes}");
            assert_eq!(queue.take_batch(Gather::new).map(|batch| batch.len()), Some(bytes));
            assert_eq!((queue.left(0).bytes, queue.charged_bytes()), (bytes, 0));
        }
    }
}

#[test]
fn a_large_encoded_frame_holds_what_it_is_charged() {
    let mut spares = LargeSpares::default();
    spares.keep(Vec::with_capacity(60_000));
    for (bytes, held) in [(29_000, 29_000), (54_000, 60_000)] {
        let mut queue = SendQueue::default();
        let encode = |out: &mut Vec<u8>| {
            out.resize(bytes, 7);
            Ok::<usize, ()>(out.capacity())
        };
        let mut capacity = 0;
        let measured = |out: &mut Vec<u8>| encode(out).inspect(|bytes| capacity = *bytes);
        assert!(queue.encode(at(1), bytes, plain(), &mut spares, measured).is_ok());
        assert_eq!((capacity, queue.charged_bytes()), (held, bytes + LARGE_FRAME_OVERHEAD_BYTES));
        // A small one behind it goes into a segment of its own, without a detour.
        assert!(
            queue
                .encode(at(1), 4, plain(), &mut spares, |out| {
                    assert!(out.is_empty());
                    out.resize(4, 7);
                    Ok::<usize, ()>(4)
                })
                .is_ok()
        );
        let batch = queue.take_batch(Gather::new).expect("both wait");
        assert_eq!(batch.slices().map(<[u8]>::len).collect::<Vec<_>>(), [bytes, 4]);
    }
}

#[test]
fn small_encoded_frames_leave_no_holes_between_them() {
    let mut queue = SendQueue::default();
    for _ in 0..300 {
        let encode = |out: &mut Vec<u8>| {
            out.resize(out.len() + 100, 7);
            Ok::<usize, ()>(100)
        };
        assert!(queue.encode(at(1), 100, plain(), &mut LargeSpares::default(), encode).is_ok());
    }
    let batch = queue.take_batch(Gather::new).expect("something waits");
    let segments: Vec<usize> = batch.slices().map(<[u8]>::len).collect();
    let (last, full) = segments.split_last().expect("segments");
    assert!(full.iter().all(|bytes| *bytes == pogu_port::SEGMENT_BYTES_MAX), "{segments:?}");
    assert_eq!(full.len() * pogu_port::SEGMENT_BYTES_MAX + last, 30_000);
}

#[test]
fn a_window_is_filled_by_frames_that_wait_and_not_by_those_that_were_replaced() {
    let mut queue = SendQueue::default();
    for key in 0..128 {
        (0..10).for_each(|_| _ = queue.push(at(1), &frame(1), order(Keep::Latest(key))));
        assert_eq!((queue.frames(), queue.fills_window()), (key as usize + 1, key == 127));
    }
    let newest = Keep::Newest { class: 1, frames_max: 1 };
    let mut queue = SendQueue::default();
    (0..126).for_each(|_| _ = queue.push(at(1), &frame(1), plain()));
    (0..10).for_each(|_| _ = queue.push(at(1), &frame(1), order(newest)));
    assert!(!queue.fills_window());
    queue.push(at(1), &frame(1), plain());
    assert!(queue.fills_window(), "126, one of a class, and one behind it");
}

#[test]
fn a_queue_with_an_entry_or_a_charge_is_not_clean() {
    let mut queue = SendQueue::default();
    assert!(queue.is_clean());
    queue.charged_bytes = 1;
    assert!(!queue.is_clean());
    queue.charged_bytes = 0;
    queue.push(at(1), &frame(10), plain());
    assert!(queue.take_batch(Gather::new).is_some());
    assert!(!queue.is_clean() && !queue.is_empty());
}

#[test]
fn an_empty_queue_knows_what_it_holds_on_to() {
    let mut used = Gather::new();
    used.push(&[7; 3000]);
    used.advance(3000);
    let memory = used.spare_bytes();
    assert!(memory >= 3000);
    let mut queue = SendQueue::default();
    (0..64).for_each(|millisecond| {
        queue.push(at(millisecond), &frame(10), plain());
    });
    assert!(queue.take_batch(|| used).is_some());
    queue.left(0);
    let of_entries = queue.spare_bytes() - memory;
    assert!((64 * size_of::<Entry>()..4096).contains(&of_entries), "{of_entries}");
}

#[test]
fn an_empty_backlog_is_among_what_a_queue_holds_on_to() {
    let mut queue = SendQueue::default();
    queue.push(at(1), &frame(10), order(Keep::Latest(1)));
    assert!(queue.take_batch(Gather::new).is_some());
    queue.left(0);
    let of_backlog = queue.backlog.as_ref().map_or(0, |backlog| backlog.spare_bytes());
    assert!(of_backlog > 0);
    assert_eq!(queue.spare_bytes(), queue.waiting.spare_bytes() + queue.entries.held_bytes() + of_backlog);
}

#[test]
fn a_frame_that_may_be_replaced_is_charged_until_it_has_left() {
    let latest = |queue: &mut SendQueue, bytes| queue.push(at(1), &frame(bytes), order(Keep::Latest(7)));
    let mut queue = SendQueue::default();
    assert_eq!(queue.charged_with(10, Keep::Latest(7)), 10 + REPLACEABLE_FRAME_OVERHEAD_BYTES);
    assert_eq!(latest(&mut queue, 10), Displaced::Nothing);
    assert_eq!(queue.charged_bytes(), 10 + REPLACEABLE_FRAME_OVERHEAD_BYTES);
    assert_eq!(queue.charged_with(3000, Keep::Latest(7)), 3000 + REPLACEABLE_FRAME_OVERHEAD_BYTES);
    assert_eq!(latest(&mut queue, 3000), Displaced::Older { bytes: 10 });
    queue.push(at(2), &frame(20), plain());
    assert_eq!(queue.charged_bytes(), 3020 + 2 * REPLACEABLE_FRAME_OVERHEAD_BYTES, "what comes behind waits there too");
    assert_eq!((queue.frames(), queue.oldest()), (2, Some(at(1))));
    assert_eq!(queue.take_batch(Gather::new).map(|batch| batch.len()), Some(3020));
    assert_eq!(queue.charged_bytes(), 3020 + LARGE_FRAME_OVERHEAD_BYTES + FRAME_OVERHEAD_BYTES);
    assert_eq!(latest(&mut queue, 5), Displaced::Nothing, "what is leaving is not replaced");
    queue.left(0);
    assert!(!queue.is_empty() && !queue.is_clean());
    assert_eq!(queue.take_batch(Gather::new).map(|batch| batch.len()), Some(5));
    queue.left(0);
    assert!(queue.is_empty() && queue.is_clean());
}

#[test]
fn a_batch_takes_no_more_of_the_backlog_than_it_has_room_for() {
    let mut queue = SendQueue::default();
    for key in 0..3000 {
        queue.push(at(key), &frame(100), order(Keep::Latest(key)));
    }
    let batch = queue.take_batch(Gather::new).expect("something waits");
    assert!((BATCH_BYTES..BATCH_BYTES + 100).contains(&batch.len()), "{}", batch.len());
    assert_eq!(queue.push(at(1), &frame(50), order(Keep::Latest(2999))), Displaced::Older { bytes: 100 });
    assert!(queue.is_wanted(), "the rest follows");
}

#[test]
fn so_many_frames_or_bytes_do_not_wait_for_the_end_of_a_window() {
    for keep in [Keep::All, Keep::Newest { class: 1, frames_max: u16::MAX }] {
        let frames = |count: u32, bytes| {
            let mut queue = SendQueue::default();
            (0..count).for_each(|_| {
                queue.push(at(1), &frame(bytes), order(keep));
            });
            queue.fills_window()
        };
        assert_eq!((frames(127, 1), frames(128, 1)), (false, true), "{keep:?}");
        assert_eq!((frames(16, 1023), frames(16, 1024)), (false, true), "{keep:?}");
    }
    let mut queue = SendQueue::default();
    (0..128).for_each(|_| {
        queue.push(at(1), &frame(1), plain());
    });
    assert!(queue.take_batch(Gather::new).is_some());
    assert!(!queue.fills_window() && !queue.is_wanted());
    queue.want();
    assert!(!queue.is_wanted(), "nothing waits");
}

#[test]
fn a_frame_behind_a_heartbeat_is_no_activity_before_it_leaves() {
    let mut queue = SendQueue::default();
    queue.push_heartbeat(at(1), b"ping");
    queue.push(at(2), &frame(10), plain());
    assert!(queue.take_batch(Gather::new).is_some());
    assert_eq!(queue.left(10), Left { bytes: 4, is_activity: false });
    assert_eq!((queue.frames(), queue.oldest()), (1, Some(at(2))));
}

#[test]
fn a_heartbeat_is_no_activity_and_no_frame() {
    let mut queue = SendQueue::default();
    queue.push_heartbeat(at(1), b"ping");
    assert_eq!((queue.frames(), queue.charged_bytes()), (0, 4 + FRAME_OVERHEAD_BYTES));
    assert!(queue.take_batch(Gather::new).is_some());
    assert_eq!(queue.left(0), Left { bytes: 4, is_activity: false });
}

#[test]
fn what_is_displaced_is_charged_no_more_and_everything_else_is() {
    let charge = |bytes: usize| bytes + REPLACEABLE_FRAME_OVERHEAD_BYTES;
    let of_class = |frames_max| Keep::Newest { class: 1, frames_max };
    let mut queue = SendQueue::default();
    queue.push(at(1), &frame(1000), order(Keep::Latest(2)));
    queue.push(at(1), &frame(10), order(Keep::Latest(1)));
    assert_eq!(queue.charged_with(30, Keep::Latest(1)), charge(1000) + charge(30));
    (0..3).for_each(|_| _ = queue.push(at(1), &frame(10), order(of_class(3))));
    assert_eq!(queue.charged_bytes(), charge(1000) + 4 * charge(10));
    let rest = charge(1000) + charge(10) + charge(5);
    assert_eq!(queue.charged_with(5, of_class(1)), rest);
    assert_eq!(queue.push(at(1), &frame(5), order(of_class(1))), Displaced::Oldest { frames: 3, bytes: 30 });
    assert_eq!(queue.charged_bytes(), rest);
}

#[test]
fn whatever_waits_can_be_wanted() {
    for keep in [Keep::All, Keep::Latest(1)] {
        let mut queue = SendQueue::default();
        queue.push(at(1), &frame(10), order(keep));
        assert!(!queue.is_wanted());
        queue.want();
        assert!(queue.is_wanted(), "{keep:?}");
    }
}
