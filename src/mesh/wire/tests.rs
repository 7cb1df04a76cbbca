//! Frames come out as they went in; nothing that arrives makes the decoder panic or grow.

use rand::{Rng as _, RngCore as _, SeedableRng as _};

use super::*;
use crate::world::entropy::Rng;

fn samples() -> Vec<Frame> {
    let body = Bytes::from(vec![7; 300]);
    vec![
        Frame::Hello { protocol: 1, class: Class::Watch, generation: u64::MAX },
        Frame::Call { id: 70_000, actor: "store".into(), version: 3, deadline_ms: 5_000, body: body.clone() },
        Frame::Cast { actor: "x".repeat(MAX_ACTOR_NAME).into(), version: 0, body: Bytes::new() },
        Frame::Answer { id: 1 << 40, body: Bytes::from(vec![1; 70_000]) },
        Frame::Refused { id: 9, refusal: Refusal::Version { asked: 4, oldest: 1, newest: 3 } },
        Frame::Refused { id: 200, refusal: Refusal::UnknownActor("nobody".into()) },
        Frame::Refused { id: 200, refusal: Refusal::Busy },
        Frame::Cancel { id: 128 },
        Frame::Watch { id: 255, actor: "agent".into() },
        Frame::Unwatch { id: 256 },
        Frame::Ended { id: 65_535 },
        Frame::Open { actor: "logs".into(), class: Class::Bulk, version: 1, deadline_ms: u32::MAX, body: body.clone() },
        Frame::Granted { body },
    ]
}

fn encoded(frame: &Frame) -> BytesMut {
    let mut out = BytesMut::new();
    frame.encode(MAX_RAFT_FRAME, &mut out).expect("within the limit");
    out
}

#[test]
fn every_frame_comes_out_as_it_went_in_however_it_is_cut() {
    let frames = samples();
    let mut all = BytesMut::new();
    for frame in &frames {
        frame.encode(MAX_RAFT_FRAME, &mut all).expect("within the limit");
    }
    for step in [1, 3, 1_000, all.len()] {
        let decoder = Decoder::new(MAX_RAFT_FRAME);
        let (mut buffer, mut read) = (BytesMut::new(), Vec::new());
        for piece in all.chunks(step) {
            buffer.extend_from_slice(piece);
            while let Some(frame) = decoder.feed(&mut buffer).expect("sound frames") {
                read.push(frame);
            }
        }
        assert_eq!(read, frames, "cut into pieces of {step}");
        assert!(buffer.is_empty());
    }
}

#[test]
fn the_body_is_messagepack_that_others_can_read() {
    let frame = encoded(&Frame::Cast { actor: "a".into(), version: 2, body: Bytes::from_static(b"xyz") });
    let read: (u8, u16, String, Bytes) = rmp_serde::from_slice(&frame[LENGTH_BYTES..]).expect("MessagePack");
    assert_eq!(read, (2, 2, "a".to_owned(), Bytes::from_static(b"xyz")));
    assert_eq!(rmp_serde::to_vec(&read).expect("MessagePack"), frame[LENGTH_BYTES..].to_vec());
}

#[test]
fn bytes_of_the_bytes_crate_are_messagepack_bytes() {
    assert_eq!(rmp_serde::to_vec(&Bytes::from_static(&[1, 2])).expect("encodes"), [0xc4, 2, 1, 2]);
}

#[test]
fn a_frame_over_the_limit_is_refused_at_its_length_and_at_its_sender() {
    let mut liar = BytesMut::from(&(1_048_577_u32).to_be_bytes()[..]);
    let refused = Decoder::new(MAX_CONTROL_FRAME).feed(&mut liar);
    assert_eq!(refused, Err(FrameError::TooLarge { length: 1_048_577, limit: MAX_CONTROL_FRAME }));
    let mut out = BytesMut::from(&b"before"[..]);
    let large = Frame::Answer { id: 1, body: Bytes::from(vec![0; MAX_CONTROL_FRAME]) };
    assert!(matches!(large.encode(MAX_CONTROL_FRAME, &mut out), Err(FrameError::TooLarge { .. })));
    assert_eq!(&out[..], b"before");
}

#[test]
fn a_long_refusal_is_cut_and_an_unknown_one_stays_a_refusal() {
    let long = Frame::Refused { id: 1, refusal: Refusal::Failed("ä".repeat(10_000)) };
    let read = Decoder::new(MAX_HEADER_FRAME).feed(&mut encoded(&long)).expect("sound").expect("whole");
    let Frame::Refused { refusal: Refusal::Failed(text), .. } = read else { panic!("{read:?}") };
    assert!(text.len() <= MAX_REASON && text.chars().all(|letter| letter == 'ä'));
    let mut later = BytesMut::new();
    let unknown = rmp_serde::to_vec(&"Tomorrow").expect("encodes");
    put_numbers(&mut later, 3, &[REFUSED, 1]);
    pack::put_bytes(&mut later, &unknown);
    assert!(matches!(Frame::decode(later.freeze()), Ok(Frame::Refused { id: 1, refusal: Refusal::Failed(_) })));
}

#[test]
fn fields_too_many_or_too_few_are_an_error() {
    for bytes in [&[0x92, 5][..], &[0x91, 5, 1], &[0x93, 5, 1, 1], &[0x92, 5, 1, 1], &[0x92, 99, 1], &[0xc0], &[]] {
        assert!(Frame::decode(Bytes::copy_from_slice(bytes)).is_err(), "{bytes:?}");
    }
}

#[test]
fn two_hundred_thousand_damaged_inputs_are_survived() {
    let mut rng = Rng::seed_from_u64(3);
    let sound: Vec<BytesMut> = samples().iter().filter(|frame| frame.payload() < 5_000).map(encoded).collect();
    let mut refused = 0_u32;
    for round in 0..200_000 {
        let mut input = sound[round % sound.len()].clone();
        for _ in 0..rng.random_range(1..4) {
            let at = rng.random_range(0..input.len().min(40));
            input[at] = rng.next_u32().to_le_bytes()[0];
        }
        input.truncate(rng.random_range(0..=input.len()));
        let mut buffer = input.clone();
        match Decoder::new(MAX_CONTROL_FRAME).feed(&mut buffer) {
            Ok(_) => {}
            Err(_) => refused += 1,
        }
        if round % 16 == 0 {
            fuzz(&input);
        }
    }
    assert!(refused > 10_000, "only {refused} were refused");
}

#[test]
fn noise_is_survived() {
    let mut rng = Rng::seed_from_u64(4);
    let mut noise = [0; 64];
    for _ in 0..20_000 {
        rng.fill_bytes(&mut noise);
        noise[..2].fill(0);
        let _ = Decoder::new(MAX_HEADER_FRAME).feed(&mut BytesMut::from(&noise[..]));
        let _ = Frame::decode(Bytes::copy_from_slice(&noise));
    }
}
