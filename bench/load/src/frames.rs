//! Cuts what comes into frames of one form. A frame that comes in pieces is kept until it is whole; nothing else is copied.

use crate::message::{Form, HEADER_BYTES};

/// The beginning of a frame.
#[derive(Default)]
pub struct Unfinished(Vec<u8>);

/// Something has come that is no frame of this form. What follows cannot be understood.
#[derive(PartialEq, Eq, Debug)]
pub struct Unreadable;

impl Unfinished {
    /// Hands over the body of each frame that is whole now.
    pub fn feed(&mut self, form: Form, piece: &[u8], mut each: impl FnMut(&[u8])) -> Result<(), Unreadable> {
        let mut rest = self.complete(form, piece, &mut each)?;
        while let Some((header, _)) = rest.split_first_chunk::<HEADER_BYTES>() {
            if *header != form.header {
                return Err(Unreadable);
            }
            let Some((frame, more)) = rest.split_at_checked(form.frame_bytes()) else { break };
            each(frame.get(HEADER_BYTES..).unwrap_or_default());
            rest = more;
        }
        self.0.extend_from_slice(rest);
        Ok(())
    }

    /// Brings the frame that has begun to its end, if there is one and the piece is enough. What is left of the piece.
    fn complete<'a>(
        &mut self,
        form: Form,
        piece: &'a [u8],
        each: &mut impl FnMut(&[u8]),
    ) -> Result<&'a [u8], Unreadable> {
        if self.0.is_empty() {
            return Ok(piece);
        }
        let lacking = form.frame_bytes().saturating_sub(self.0.len());
        let (continuation, rest) = piece.split_at_checked(lacking).unwrap_or((piece, &[]));
        self.0.extend_from_slice(continuation);
        if self.0.first_chunk().is_some_and(|header| *header != form.header) {
            return Err(Unreadable);
        }
        if self.0.len() == form.frame_bytes() {
            each(self.0.get(HEADER_BYTES..).unwrap_or_default());
            self.0.clear();
        }
        Ok(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{ECHO, Message};

    const FORM_BODY_BYTES: usize = 40;

    fn stream(form: Form) -> Vec<u8> {
        let mut stream = Vec::new();
        (0..7).for_each(|number| Message { due: 9, speaker: 1, number }.write(form, &mut stream));
        stream
    }

    #[test]
    fn frames_are_whole_however_they_are_cut() {
        let form = Form::new(ECHO, FORM_BODY_BYTES);
        let stream = stream(form);
        for piece_bytes in 1..=stream.len() {
            let (mut unfinished, mut numbers) = (Unfinished::default(), Vec::new());
            for piece in stream.chunks(piece_bytes) {
                let fed =
                    unfinished.feed(form, piece, |body| numbers.push(Message::read(body).map(|read| read.number)));
                assert_eq!(fed, Ok(()));
            }
            assert_eq!(numbers, (0..7).map(Some).collect::<Vec<_>>(), "pieces of {piece_bytes}");
        }
    }

    #[test]
    fn another_header_is_unreadable_wherever_it_is_cut_and_what_came_before_counts() {
        let form = Form::new(ECHO, FORM_BODY_BYTES);
        for place in 0..HEADER_BYTES {
            let mut stream = stream(form);
            stream[2 * form.frame_bytes() + place] ^= 1;
            for piece_bytes in 1..=stream.len() {
                let (mut unfinished, mut whole) = (Unfinished::default(), 0);
                let mut pieces = stream.chunks(piece_bytes);
                let readable = pieces.all(|piece| unfinished.feed(form, piece, |_| whole += 1).is_ok());
                assert_eq!((readable, whole), (false, 2), "byte {place}, pieces of {piece_bytes}");
            }
        }
    }
}
